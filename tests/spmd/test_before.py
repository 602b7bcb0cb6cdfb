"""Files that an earlier version wrote are read: data sets, runs and checkpoints, kept as tests/before/VERSION.tar.xz.

Each archive was written on 2 ranks in a folder of its own, from the rows.svm and pictures.npz that it holds. In 0.1.0-named
checkpoints name the parts of a state; before, they did not.

    convert rows.svm rows.h5;  convert pictures.npz pictures.h5
    solve rows.h5 --l2 1e-2 --intercept --out solve.h5 --deterministic --workers 2
    solve rows.h5 --l2 1e-2 --method lbfgs --rounds 3 --out part.h5 --deterministic --workers 2 --checkpoint solve.checkpoint.h5
    train --data blobs:rows=40,features=4 --model mlp:3 --epochs 2 --batch 4 --set period=2 --workers 2 --deterministic
          --out train.h5 --checkpoint train.checkpoint.h5 --method easgd
"""

import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpiopt.errors import DataError
from mpiopt.io.dataset.dense import open_dense
from mpiopt.io.dataset.source import open_source
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.cli.console import Console

ARCHIVES = sorted((Path(__file__).parents[1] / "before").glob("*.tar.xz"))
SOLVE = ["solve", "rows.h5", "--l2", "1e-2", "--deterministic", "--workers", "2"]
TRAIN = [
    "train",
    "--data",
    "blobs:rows=40,features=4",
    "--model",
    "mlp:3",
    "--method",
    "easgd",
    "--set",
    "period=2",
    "--batch",
    "4",
    "--deterministic",
    "--workers",
    "2",
]


@pytest.fixture(params=ARCHIVES, ids=lambda path: path.name.removesuffix(".tar.xz"))
def world(request, worlds, shared_tmp, monkeypatch):
    """Two workers in the folder where the archive's files lie."""
    made = worlds(workers=2, deterministic=True)
    with made.together("unpacking"):
        if made.rank == 0:
            with tarfile.open(request.param) as archive:
                archive.extractall(shared_tmp, filter="data")
    made.barrier()
    monkeypatch.chdir(shared_tmp)
    return made


def run(world, argv: list[str]) -> dict:
    """What a command line finds, here and now. Collective."""
    call = parse(argv)
    return call.run(call.job, world, Console(first=False))


def text_rows(path: str) -> list[tuple]:
    """Labels and dense rows of svmlight text, in the order of their values."""
    rows = [[float(word) for word in line.replace(":", " ").split()] for line in Path(path).read_text().splitlines()]
    return sorted((row[0], *(dict(zip(row[1::2], row[2::2], strict=True)).get(j, 0.0) for j in range(1, 13))) for row in rows)


@pytest.mark.ranks(1, 2)
def test_data_sets_are_read(world):
    source = open_source("rows.h5", world)
    matrix, labels, weight, *_ = source.read(0, source.rows, np.float64)
    dense = np.stack([matrix.dot(unit) for unit in np.eye(source.cols)], axis=1)
    assert sorted((y, *row) for y, row in zip(labels, dense, strict=True)) == text_rows("rows.svm") and weight is None
    pictures, given = open_dense("pictures.h5", world), np.load("pictures.npz")
    x, y = pictures.read(0, pictures.rows, np.float32)
    wanted = pictures.item.scaled(given["x"], np.float32)
    assert sorted((k, *a.ravel()) for k, a in zip(y, x, strict=True)) == sorted(
        (k, *a.ravel()) for k, a in zip(given["y"], wanted, strict=True)
    )


@pytest.mark.ranks(1)
def test_runs_are_read_and_repeated(world):
    before, trained = read_run("solve.h5"), read_run("train.h5")
    assert before.attributes["reason"] == "GAP" and trained.attributes["reason"] == "EPOCHS"
    assert before.history["gap"][-1] <= 1e-8 and before.history["round"][0] == 0 and trained.history["epoch"][-1] == 2
    assert run(world, ["describe", "rows.h5"])["rows"] == 24
    assert all(run(world, ["report", path]) for path in ("solve.h5", "part.h5", "train.h5"))
    again = run(world, ["solve", "--config", "solve.h5", "--out", "again.h5"])
    assert again["reason"] == "GAP"
    (x, intercept), (old, old_intercept) = read_solution("again.h5"), read_solution("solve.h5")
    np.testing.assert_allclose([*x, intercept], [*old, old_intercept], atol=1e-3)
    assert run(world, [*SOLVE, "--intercept", "--from", "solve.h5"])["rounds"] == 0


@pytest.mark.ranks(1, 2)
def test_checkpoints_go_on_or_are_refused_in_a_sentence(world):
    solving = [*SOLVE, "--method", "lbfgs", "--checkpoint", "solve.checkpoint.h5", "--resume", "must"]
    learning = [*TRAIN, "--epochs", "4", "--checkpoint", "train.checkpoint.h5", "--resume", "must"]
    with h5py.File("solve.checkpoint.h5") as file:
        nameless = file.attrs["schema_version"] < 3
    if nameless:
        for argv in (solving, learning):
            with pytest.raises(DataError, match="was written by an earlier mpiopt, which kept states in another form: go on"):
                run(world, argv)
        return
    found = run(world, solving)
    part = read_run("part.h5").history["objective"]
    assert (found["resumed_after"], found["reason"], found["exit_code"]) == (3, "GAP", 0)
    assert found["history"]["objective"][:4] == list(part) and found["rounds"] < 20
    found = run(world, learning)
    part = read_run("train.h5").history["objective"]
    assert (found["resumed_after"], found["reason"], found["exit_code"]) == (5, "EPOCHS", 0)
    assert found["history"]["objective"][1 : len(part)] == list(part)[1:] and found["objective"] < part[-1]
