"""Graphs and mixing matrices: what holds of every family, and known spectra; networkx, where it is, as a second opinion."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mpiopt.errors import CapabilityError, DataError, UsageError
from mpiopt.graphs.directed import Arrows
from mpiopt.graphs.families import Complete, ErdosRenyi, Listed, OnePeer, Path, RandomGeometric, Ring, Star
from mpiopt.graphs.graph import Graph, read_edges
from mpiopt.graphs.mixing import LAWS, Mixing, law
from mpiopt.graphs.topology import FAMILIES, PUSH, Topology, written

ANY = st.sampled_from(["ring", "path", "torus", "exponential", "star", "complete", "geometric:radius=0.6", "erdos_renyi:0.6"])
TEXTS = st.one_of(ANY, st.just("hypercube"), st.just("one_peer"), st.just("matching"))
SIZES = st.integers(1, 20)
FEW = settings(max_examples=40)
PAIRS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=25)


def made(text: str, nodes: int, turn: int = 0) -> Graph:
    """A graph of a family; of so many nodes, or of the next power of two where it must be one."""
    nodes = nodes if text not in ("hypercube", "one_peer") else 1 << (nodes - 1).bit_length()
    return Topology.of(text).family(nodes, turn)


# ---------------------------------------------------------------------------------------------- graphs
@FEW
@given(PAIRS)
def test_a_graph_has_every_edge_once_and_knows_who_hears_whom(pairs):
    graph = Graph.of(12, pairs)
    wanted = sorted({(min(p), max(p)) for p in pairs if p[0] != p[1]})
    assert graph.edges.tolist() == [list(edge) for edge in wanted]
    heard = [sorted({a + b - i for a, b in wanted if i in (a, b)}) for i in range(12)]
    assert [graph.neighbours(i).tolist() for i in range(12)] == heard
    assert graph.degrees.tolist() == [len(some) for some in heard]


@FEW
@given(PAIRS)
def test_components_are_what_paths_lead_to(pairs):
    reach = np.eye(12, dtype=bool)
    for a, b in pairs:
        reach[a, b] = reach[b, a] = True
    for _ in range(4):
        reach = reach @ reach
    graph = Graph.of(12, pairs)
    assert graph.components.tolist() == reach.argmax(axis=0).tolist()
    assert graph.connected == reach.all()
    if not graph.connected:
        with pytest.raises(UsageError, match=r"is not connected: from nodes? .* no path leads to node 0; add edges"):
            graph.demand_connected("mine", "add edges")


def test_components_agree_with_networkx():
    networkx = pytest.importorskip("networkx")
    rng = np.random.default_rng(0)
    for _ in range(20):
        graph = Graph.of(40, rng.integers(0, 40, (rng.integers(0, 60), 2)))
        other = networkx.Graph(graph.edges.tolist())
        other.add_nodes_from(range(40))
        found = {frozenset(np.flatnonzero(graph.components == c).tolist()) for c in set(graph.components.tolist())}
        assert found == {frozenset(part) for part in networkx.connected_components(other)}


def test_an_edge_to_nowhere_is_refused():
    with pytest.raises(DataError, match="the edge 2 - 5 does not fit 4 nodes: nodes are 0 to 3"):
        Graph.of(4, [(0, 1), (5, 2)])


def test_a_list_of_edges_is_read_and_a_bad_line_named():
    assert read_edges(["0 1", "# none", "", " 2\t1 # twice", "1 2"], "g.txt").edges.tolist() == [[0, 1], [1, 2]]
    for line in ("1", "0 1 2", "a b", "-1 2", "0 1.5", "0 ²", "0 99999999999999999999"):
        with pytest.raises(DataError, match=r"line 2 of g.txt is .*: give two nodes"):
            read_edges(["0 1", line], "g.txt")
    with pytest.raises(DataError, match=r"g.txt has no edges"):
        read_edges(["# nothing"], "g.txt")


@FEW
@given(PAIRS)
def test_a_graph_is_written_out_and_read_again(pairs):
    graph = Graph.of(12, [*pairs, (0, 11)])
    topology = Topology.of(written(graph), 2)
    assert topology.family(12).edges.tolist() == graph.edges.tolist() != []
    with pytest.raises(UsageError, match="the list of edges has 12 nodes for 5 workers"):
        topology.at(5, 0)
    with pytest.raises(DataError, match="line 2 of the list of edges is '3 x'"):
        Topology.of("edges:0-1 3-x")


# ---------------------------------------------------------------------------------------------- families
@FEW
@given(TEXTS, SIZES, st.integers(0, 3))
def test_every_family_is_connected_and_the_same_each_time(text, nodes, turn):
    try:
        graph = made(text, nodes, turn)
    except UsageError as error:  # a draw may never be
        assert "drawn 100 times" in str(error)
        assume(False)
    assert graph.edges.tolist() == made(text, nodes, turn).edges.tolist()
    assert graph.connected or text in ("one_peer", "matching")


@FEW
@given(ANY, st.integers(2, 20))
def test_a_fixed_family_keeps_its_shape_when_its_nodes_are_renamed(text, nodes):
    assume(text not in ("geometric:radius=0.6", "erdos_renyi:0.6"))
    first, later = made(text, nodes), made(text, nodes, 2)
    assert sorted(first.degrees.tolist()) == sorted(later.degrees.tolist())
    values = [Mixing(g, law("metropolis")(g)).spectrum for g in (first, later)]
    np.testing.assert_allclose(*values, atol=1e-8)


DEGREES = {
    "ring": [2] * 8,
    "path": [1, 2, 2, 2, 2, 2, 2, 1],
    "torus": [3] * 8,
    "hypercube": [3] * 8,
    "exponential": [5] * 8,
    "one_peer": [1] * 8,
    "matching": [1] * 8,
    "star": [7] + [1] * 7,
    "complete": [7] * 8,
}


@pytest.mark.parametrize("text", DEGREES)
def test_degrees_of_eight_nodes(text):
    assert made(text, 8).degrees.tolist() == DEGREES[text]


def test_every_family_has_its_degrees_or_is_drawn():
    assert set(FAMILIES) == {*DEGREES, *DIRECTED, "geometric", "erdos_renyi"}


def test_families_agree_with_networkx():
    networkx = pytest.importorskip("networkx")
    same = {
        "ring": networkx.cycle_graph(12),
        "path": networkx.path_graph(12),
        "star": networkx.star_graph(11),
        "complete": networkx.complete_graph(12),
        "torus": networkx.grid_2d_graph(3, 4, periodic=True),
        "exponential": networkx.circulant_graph(12, [1, 2, 4, 8]),
    }
    for text, other in same.items():
        graph = made(text, 12)
        values = np.linalg.eigvalsh(networkx.laplacian_matrix(other).toarray().astype(float))
        mine = np.linalg.eigvalsh(np.eye(12) - Mixing(graph, np.ones(len(graph.edges))).dense)
        np.testing.assert_allclose(mine, values, atol=1e-10)
    other = networkx.hypercube_graph(4)
    assert len(made("hypercube", 16).edges) == other.number_of_edges()


DIRECTED = ("directed_ring", "directed_exponential", "directed_one_peer", "arrows")


@pytest.mark.parametrize("text", DIRECTED)
def test_directed_graphs_lead_everywhere_and_push_all_that_there_is(text):
    topology = Topology.of(text, 1, PUSH)
    for nodes in (1, 2, 5, 8):
        topology.check(nodes)
        for turn in range(3):
            push = topology.at(nodes, turn)
            np.testing.assert_allclose(push.dense.sum(axis=0), 1, atol=1e-14)
            for node in range(nodes):
                who, much = push.row(node)
                np.testing.assert_array_equal(np.flatnonzero(push.dense[node]), who)
                np.testing.assert_allclose(push.dense[node, who], much)
    with pytest.raises(UsageError, match=r"is not strongly connected: there is no way from node .* to node 0 and back"):
        Arrows(probability=0.01)(9)


def test_matchings_lead_everywhere_after_some_turns_and_mix_in_halves():
    for nodes in (2, 3, 8, 11):
        family = Topology.of("matching", 1).family
        joint = family(nodes)
        for turn in range(1, family.together(nodes)):
            joint |= family(nodes, turn)
        assert joint.connected and family(nodes, 3).degrees.max() == 1 and family(nodes, 3).degrees.sum() == nodes - nodes % 2
    assert Topology.of("matching", 1).at(2, 5).dense.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_a_one_peer_graph_is_a_hypercube_by_turns():
    graphs = [OnePeer()(8, turn) for turn in range(6)]
    assert [graph.degrees.tolist() for graph in graphs] == [[1] * 8] * 6
    assert graphs[0].edges.tolist() == graphs[3].edges.tolist() != graphs[1].edges.tolist()
    assert (graphs[0] | graphs[1] | graphs[2]).edges.tolist() == made("hypercube", 8).edges.tolist()
    w = [Mixing(graph, law("metropolis")(graph)).dense for graph in graphs[:3]]
    np.testing.assert_allclose(w[0] @ w[1] @ w[2], np.full((8, 8), 1 / 8))  # the exact mean after three


def test_random_graphs_are_what_they_say():
    graph, other = RandomGeometric(1, 0.3)(60), RandomGeometric(2, 0.3)(60)
    assert graph.edges.tolist() != other.edges.tolist() != RandomGeometric(1, 0.3)(60, 1).edges.tolist()
    edges = [len(ErdosRenyi(seed, 0.5)(40).edges) for seed in range(20)]
    assert abs(np.mean(edges) - 0.5 * 780) < 5 * np.sqrt(780 / 4 / 20)


@pytest.mark.parametrize(
    ("family", "nodes", "told"),
    [
        (
            RandomGeometric(0, 0.01),
            10,
            r"the graph RandomGeometric\(.*\), drawn 100 times, of 10 nodes is not .* give a larger radius",
        ),
        (ErdosRenyi(0, 1e-9), 10, "is not connected: from .* give a larger probability"),
        (OnePeer(), 6, r"one_peer are for 1, 2, 4, 8, ... workers, not 6"),
        (Listed(0, Graph.of(3, [(0, 1)]), "g.txt"), 4, "g.txt has 3 nodes for 4 workers"),
    ],
)
def test_what_cannot_be_made_is_refused(family, nodes, told):
    with pytest.raises(UsageError, match=told):
        family(nodes)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rung", "there is no graph 'rung': choose one of ring, path"),
        ("ring:width=3", "ring takes seed; got 'width=3'"),
        ("geometric:radius=0", "the radius of a geometric graph is 0"),
        ("erdos_renyi:2", "the probability of an edge is 2"),
        ("geometric:radius=nan", "the radius of a geometric graph is nan"),
        ("torus:rows=x", "give a whole number"),
    ],
)
def test_what_a_text_cannot_say(text, told):
    with pytest.raises(UsageError, match=told):
        Topology.of(text)


def test_a_torus_has_the_rows_it_is_given():
    assert sorted(Topology.of("torus:rows=3").family(12).degrees.tolist()) == [4] * 12
    with pytest.raises(UsageError, match="a torus of 12 nodes cannot have 5 rows"):
        Topology.of("torus:5").family(12)


# ---------------------------------------------------------------------------------------------- mixing
@FEW
@given(ANY, SIZES, st.sampled_from(sorted(LAWS)))
def test_mixing_matrices_are_symmetric_and_keep_the_mean(text, nodes, weights):
    graph = made(text, nodes)
    w = Mixing(graph, law(weights)(graph))
    np.testing.assert_array_equal(w.dense, w.dense.T)
    np.testing.assert_allclose(w.dense.sum(axis=1), 1, atol=1e-14)
    who = [w.row(i) for i in range(nodes)]
    assert [(np.flatnonzero(w.dense[i] != 0) == [j for j, v in zip(*who[i], strict=True) if v]).all() for i in range(nodes)]
    np.testing.assert_array_equal([[*dict(zip(*row, strict=True)).values()] for row in who[:1]], [w.dense[0][who[0][0]]])
    values = np.linalg.eigvalsh(w.dense)
    found = w.spectrum
    if nodes > 1:
        np.testing.assert_allclose(found.lambda_max, 1 - values[0], rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(found.lambda_min, 1 - values[-2], rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(found.second, max(abs(values[0]), abs(values[-2])), rtol=1e-7, atol=1e-8)
    if weights in ("metropolis", "lazy", "degree"):
        assert found.second < 1
        assert (w.own > 0).all()
    if weights == "lazy":
        assert values[0] > -1e-12


def test_spectra_of_rings_stars_and_complete_graphs():
    n = 10
    ring = Topology(Ring(), weights="laplacian").spectrum(n)
    lowest = 2 - 2 * np.cos(2 * np.pi / n)
    np.testing.assert_allclose(ring[:2], [lowest / 4, 1], rtol=1e-8)
    np.testing.assert_allclose(ring.chi, 10.47, rtol=1e-3)
    np.testing.assert_allclose(Topology(Star(), weights="laplacian").spectrum(n)[:2], [1 / n, 1], rtol=1e-8)
    np.testing.assert_allclose(Topology(Complete()).spectrum(n)[:3], [1, 1, 0], atol=1e-9)
    path = Topology(Path(), weights="best").spectrum(n)
    np.testing.assert_allclose(2 - path.lambda_max, path.lambda_min, rtol=1e-7)  # as far from 1 on both sides
    assert Topology(Ring()).spectrum(1) == (1, 1, 0)


def test_unknown_weights_are_refused():
    with pytest.raises(UsageError, match="there are no mixing weights 'heavy': choose one of metropolis"):
        Topology(Ring(), weights="heavy")


# ---------------------------------------------------------------------------------------------- sequences
def test_graphs_change_when_they_are_told_to():
    def edges(every: int, time: int) -> list:
        return Topology(Ring(3), every).at(9, time).graph.edges.tolist()

    assert edges(0, 100) == edges(0, 0)
    assert edges(2, 0) == edges(2, 1) != edges(2, 2) == edges(2, 3)
    assert edges(1, 5) == edges(2, 10)
    with pytest.raises(UsageError, match="a new graph every -1 exchanges is not possible"):
        Topology(Ring(), -1)


def test_the_spectrum_of_a_sequence_holds_of_its_graphs():
    topology = Topology.of("geometric:radius=0.6,seed=2", 1)
    found = topology.spectrum(12)
    each = [topology.at(12, time).spectrum for time in range(20)]
    assert all(found.lambda_min <= one.lambda_min and found.lambda_max >= one.lambda_max for one in each)
    assert len({one.lambda_min for one in each}) > 1


def test_graphs_are_held_against_what_is_asked_of_them():
    Topology(OnePeer(), 1).check(8)
    Topology(Ring(), 1).check(8, each=True)
    Topology(Ring()).demand_fixed()
    with pytest.raises(CapabilityError, match="needs the same neighbours throughout: let the graph not change"):
        Topology(Ring(), 1).demand_fixed()
    with pytest.raises(UsageError, match=r"every graph has to be connected here, and those of OnePeer\(seed=0\) are only"):
        Topology(OnePeer(), 1).check(8, each=True)
    with pytest.raises(UsageError, match="lead everywhere only one after the other: let the graph change"):
        Topology(OnePeer()).check(8)
    with pytest.raises(UsageError, match=r"^mine of 4 nodes is not connected: from nodes 2, 3 no path leads to node 0; add"):
        Topology(Listed(0, Graph.of(4, [(0, 1), (2, 3)]), "mine")).check(4)
