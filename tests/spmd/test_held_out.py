"""solve --test: figures of rows that are not trained on, in the history and of the answer, on any number of ranks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.solve import run


def converted(world, folder, name, rows, seed, like=None, label=lambda y: y):
    """A data set of some rows, and these by hand: matrix, labels, offsets."""
    rng = np.random.default_rng(seed)
    a = np.round(rng.standard_normal((rows, 5)), 4)
    offset = np.round(rng.standard_normal(rows), 4)
    y = np.where(a @ [1, -2, 0.5, 0, 1] + offset + rng.standard_normal(rows) > 0, 7, 2)
    if world.rank == 0:
        lines = [f"{label(t)} " + " ".join(f"{j + 1}:{v}" for j, v in enumerate(x)) for t, x in zip(y, a, strict=True)]
        (folder / f"{name}.svm").write_text("\n".join(lines))
        (folder / "o.txt").write_text("\n".join(map(str, offset)))
    world.barrier()
    options = TextOptions(values="float64", offset=folder / "o.txt", like=like, overwrite=True)
    convert(world, [folder / f"{name}.svm"], folder / f"{name}.h5", options)
    return a, y, offset


@pytest.mark.ranks(1, 2)
def test_the_history_has_the_figures_of_held_out_rows(world, shared_tmp):
    converted(world, shared_tmp, "train", 120, 0)
    a, y, offset = converted(world, shared_tmp, "test", 50, 1, like=shared_tmp / "train.h5")
    job = Solve(
        data=str(shared_tmp / "train.h5"), test=str(shared_tmp / "test.h5"), l2=1e-3, intercept=True, out=shared_tmp / "r.h5"
    )
    found = run(job, world, Console(first=world.rank == 0))
    x, b = read_solution(shared_tmp / "r.h5")
    m = a @ x + b + offset
    assert found["test_roc_auc"] == pytest.approx(roc_auc_score(y == 7, m), abs=1e-12)
    assert found["test_loss"] == pytest.approx(log_loss(y == 7, 1 / (1 + np.exp(-m))), rel=1e-9)
    assert found["test_accuracy"] == ((m > 0) == (y == 7)).mean()
    told = read_run(shared_tmp / "r.h5")
    assert told.attributes["test_loss"] == found["test_loss"]
    assert told.history["test_loss"][0] == pytest.approx(np.log1p(np.exp(-np.where(y == 7, 1, -1) * offset)).mean(), rel=1e-9)
    assert len(told.history["test_loss"]) == len(told.history["round"]) and np.isfinite(told.history["test_roc_auc"]).all()
    plain = run(replace(job, test=None, overwrite=True), world, Console(first=False))
    for name in ("objective", "bytes_sent", "vector_rounds"):
        np.testing.assert_array_equal(np.diff(plain["history"][name]), np.diff(told.history[name]))


@pytest.mark.ranks(1)
def test_a_run_that_goes_on_keeps_them(world, shared_tmp):
    converted(world, shared_tmp, "train", 120, 0)
    files = {"out": shared_tmp / "r.h5", "checkpoint": shared_tmp / "c.h5", "test": str(shared_tmp / "train.h5")}
    job = Solve(data=str(shared_tmp / "train.h5"), method="gradient", every_rounds=1, **files)
    run(replace(job, rounds=3), world, Console(first=False))
    before = read_run(shared_tmp / "r.h5").history["test_loss"]
    run(replace(job, rounds=5), world, Console(first=False))
    after = read_run(shared_tmp / "r.h5").history["test_loss"]
    np.testing.assert_array_equal(after[: len(before)], before)
    assert len(after) == 6 and np.isfinite(after).all()


@pytest.mark.ranks(1, 2)
def test_rows_of_another_kind_are_refused_before_any_is_read(world, shared_tmp):
    converted(world, shared_tmp, "train", 20, 0)
    converted(world, shared_tmp, "other", 20, 0, label=lambda y: y + 1)
    job = Solve(data=str(shared_tmp / "train.h5"), out=Path("none"))
    for test, error, said in (
        ("other.h5", DataError, "has the labels 3, 8, and the two of .*train.h5 are 7 and 2"),
        ("nowhere.h5", DataError, "nowhere.h5 does not exist"),
    ):
        with pytest.raises(error, match=said):
            run(replace(job, test=str(shared_tmp / test)), world, Console(first=False))
    with pytest.raises(UsageError, match=r"has 47,\d+ features, and .*train.h5 is a model of 5"):
        run(replace(job, test="rcv1:rows=20"), world, Console(first=False))
    assert Dataset.open(shared_tmp / "train.h5", world).index.beside == ("offset",)


@pytest.mark.ranks(1, 2)
def test_patience_ends_a_solve_whose_held_out_loss_rises(world, shared_tmp):
    """In the same round and with the same answer where it goes on from a checkpoint."""
    converted(world, shared_tmp, "train", 12, 0)
    converted(world, shared_tmp, "test", 50, 1, like=shared_tmp / "train.h5")
    names = {"data": str(shared_tmp / "train.h5"), "test": str(shared_tmp / "test.h5"), "out": shared_tmp / "r.h5"}
    job = Solve(**names, l2=1e-6, method="nesterov", patience=4, overwrite=True)
    found = run(job, world, Console(first=False))
    told = read_run(shared_tmp / "r.h5").history["test_loss"]
    least = int(np.argmin(told))
    assert found["reason"] == "HELD_OUT" and least + 5 == len(told) - 1
    assert f"4 rounds above {told[least]:.6g}, that of round {least}" in found["reason_text"]
    cut = replace(job, checkpoint=shared_tmp / "c.h5", rounds=least + 2, overwrite=True)
    run(cut, world, Console(first=False))
    again = run(replace(cut, rounds=job.rounds), world, Console(first=False))
    assert (again["reason"], again["reason_text"]) == ("HELD_OUT", found["reason_text"]) and again["resumed_after"] == least + 2
    assert len(read_run(shared_tmp / "r.h5").history["round"]) == len(told)
    assert again["objective"] == found["objective"]
    with pytest.raises(UsageError, match="--patience 4: give a whole number of rounds, at least 1, and --test"):
        run(replace(job, test=None), world, Console(first=False))
