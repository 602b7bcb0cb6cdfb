"""The options that say who hears whom: on the way to a method, from a file, and in sentences."""

import pytest

from mpiopt.errors import DataError, UsageError
from mpiopt.graphs.topology import Topology
from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.running.training import method_of as training_of
from mpiopt.jobs.solve import method_of
from mpiopt.jobs.train import complete


def topology(method) -> Topology:
    return method.phases[0].exchange.topology


def test_the_graph_reaches_the_method_in_solve_and_in_train():
    options = ["--graph", "geometric:radius=0.7,seed=2", "--graph-every", "3"]
    wanted = Topology.of("geometric:radius=0.7,seed=2", 3)
    assert topology(method_of(parse(["solve", "--method", "diging", *options]).job)) == wanted
    method, given = training_of(complete(parse(["train", "--method", "d_psgd", *options]).job), 4, 10.0)
    assert topology(method) == wanted
    assert given == {"graph": "geometric:radius=0.7,seed=2", "graph_every": 3}  # as a checkpoint is known by


def test_a_graph_comes_from_a_file(tmp_path):
    path = tmp_path / "square.txt"
    path.write_text("# a square\n0 1\n1 2\n\n2 3\n3 0 # back\n")
    found = topology(method_of(Solve(method="dgd", graph=str(path))))
    assert found.at(4, 0).graph.edges.tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"0 1\n1 x\n", r"line 2 of .*g.txt is '1 x': give two nodes"),
        (b"\xff\xfe\x00", "cannot be read: it is no text"),
        (b"", r"g.txt has no edges"),
        (b"\n".join(b"0 %d" % i for i in range(1, 4003)), "has 4,002 edges: give at most 4,000"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path, text, told):
    (tmp_path / "g.txt").write_bytes(text)
    with pytest.raises(DataError, match=told):
        method_of(Solve(method="dgd", graph=str(tmp_path / "g.txt")))


def test_a_folder_and_a_name_that_is_none_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"the graph .* cannot be read: is a directory"):
        method_of(Solve(method="dgd", graph=str(tmp_path)))
    with pytest.raises(UsageError, match=r"there is no graph 'rung': choose one of ring, .*, or a list of edges such as"):
        method_of(Solve(method="dgd", graph="rung"))


def test_a_method_with_a_centre_refuses_a_graph():
    with pytest.raises(UsageError, match=r"spcg takes .*; got graph: leave that out"):
        method_of(Solve(method="spcg", graph="ring"))
