"""``mpiopt score --noise``: the certificates of a trained network, the same on any number of ranks, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from mpiopt.errors import UsageError
from mpiopt.io.dataset.dense import open_dense
from mpiopt.io.runs.run_file import read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.score import Score, run
from mpiopt.jobs.train import run as train
from mpiopt.problems.examples import Dense
from mpiopt.problems.perceptron import Perceptron
from mpiopt.smoothing.certify import Ballot, average_radius, certified_rows
from mpiopt.smoothing.laws import Gaussian

ROWS = "blobs:rows=20,first=64,features=4"


@pytest.fixture
def trained(worlds, shared_tmp):
    """A run file of a training under noise."""
    path = shared_tmp / "run.h5"
    job = Train(data="blobs:rows=64,features=4", model="mlp:3", batch=4, epochs=2, workers=2, noise="gaussian:0.5", out=path)
    train(job, worlds(workers=2), Console())
    return path


@pytest.mark.ranks(1, 2)
def test_every_row_has_the_certificate_that_its_number_makes(world, trained):
    job = Score(files=(trained, Path(ROWS)), noise="gaussian:0.5", samples=40, every=3, out=trained.with_name("v.csv"))
    found = run(job, world, Console())
    x, source, numbers = read_solution(trained)[0].astype(np.float32), open_dense(ROWS, world), list(range(0, 20, 3))
    rows, y = source.read(0, 20)
    model = Perceptron(Dense(rows, y), (4, 3, source.classes))
    votes = list(certified_rows(lambda r: model.outputs(x, r), rows[numbers], numbers, Gaussian(0.5), Ballot(100, 40), 0))
    assert found["rows"] == 7 and found["average_radius"] == pytest.approx(average_radius(votes, y[numbers]), rel=1e-12)
    lines = trained.with_name("v.csv").read_text().splitlines()
    assert lines[0] == "row,class,guess,probability,radius" and len(lines) == 8
    assert [float(line.split(",")[4]) for line in lines[1:]] == [vote.radius for vote in votes]


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"files": (Path("run.h5"),)}, "one network is certified at a time"),
        ({"every": 0}, "--every 0: give a whole number of at least 1"),
        ({"samples": 5}, "`samples` is 5: at `alpha` 0.001 so many votes for one class certify nothing; give at least 10"),
        ({"noise": "gaussian:-1"}, "sigma is -1: give a number above 0"),
        ({"noise": "rotation:5"}, "rows of shape .4,. cannot be turned or shifted"),
        (
            {"files": (None, Path("blobs:rows=9,features=7"))},
            "the run has .* parameters, and mlp:3 for blobs.*: give rows of the kind",
        ),
    ],
)
def test_what_cannot_be_certified_is_one_sentence(world, trained, given, said):
    files = tuple(file or trained for file in given.pop("files", (None, Path(ROWS))))
    with pytest.raises(UsageError, match=said):
        run(Score(files=files, **{"noise": "gaussian:0.5", **given}), world, Console())
