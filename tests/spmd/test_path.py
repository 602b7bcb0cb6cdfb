"""mpiopt path: the fits are those of single solves, the choice is scikit-learn's, and a path goes on bit for bit."""

from dataclasses import replace

import numpy as np
import pytest

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.runs.beside_solution import read_buffers
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.path_options import PathOptions
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.path import run
from mpiopt.jobs.report import Report
from mpiopt.jobs.report import run as report
from mpiopt.jobs.solve import run as solve
from mpiopt.paths.folds import folds
from mpiopt.problems.penalties import L2
from tests.problem_sets import Data

DATA = "default:rows=240,cols=30,per_row=6"


@pytest.mark.ranks(1, 2)
def test_a_path_has_the_coefficients_of_single_fits(world, shared_tmp):
    console = Console(first=world.rank == 0)
    job = PathOptions(data=DATA, lambdas="max:0.1:3", l1_ratio="0.5,1", intercept=True, out=shared_tmp / "p.h5", gap_tol=1e-13)
    found = run(job, world, console)
    if world.rank == 0:
        told, path = read_run(job.out), read_buffers(job.out)["path"]
        assert path.shape == (6, 31) and told.attributes["path"] == 6 and told.attributes["reason"] == "PATH"
        assert told.history["nonzero"][1] == 1 and (np.diff(told.history["nonzero"][1:4]) > 0).all()  # the intercept alone
        x, b = read_solution(job.out)
        np.testing.assert_allclose(np.append(x, b), path[-1], atol=1e-7)
        assert report(Report(runs=(job.out,)), None, Console())["chosen"] == found["chosen"] == 6
    for k in (2, 4):
        l1, l2 = (float(found["history"][name][k]) for name in ("l1", "l2"))
        one = shared_tmp / f"{k}.h5"
        solve(Solve(data=DATA, l1=l1, l2=l2, intercept=True, gap_tol=1e-13, out=one), world, console)
        if world.rank == 0:
            x, b = read_solution(one)
            np.testing.assert_allclose(path[k - 1], np.append(x, b), atol=1e-6)


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("kind", [{"lambdas": "1e-1:1e-3:4"}, {"lambdas": "max:0.2:4", "l1_ratio": "1"}], ids=["l2", "l1"])
def test_a_path_that_was_stopped_goes_on_bit_for_bit(world, shared_tmp, kind):
    console = Console(first=world.rank == 0)
    job = PathOptions(data=DATA, folds=3, out=shared_tmp / "whole.h5", **kind)
    whole = run(job, world, console)
    part = replace(job, out=shared_tmp / "part.h5", checkpoint=shared_tmp / "c.h5", overwrite=True)
    sent = whole["history"]["bytes_sent"]  # of one World, which counts on
    assert run(replace(part, bytes=sent[-1] + sent[2] - sent[0]), world, console)["reason"] == "BYTES"
    again = run(part, world, console)
    assert again["resumed_after"] == 2 and again["reason"] == "PATH" and again["chosen"] == whole["chosen"]
    if world.rank == 0:
        for place in (read_buffers, lambda path: {"x": read_solution(path)[0]}):
            one, other = place(job.out), place(part.out)
            assert all((one[name] == other[name]).all() for name in one)
    world.barrier()


def test_the_choice_is_scikit_learns(worlds, tmp_path):
    linear, metrics = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.metrics")
    world, rng = worlds(workers=2), np.random.default_rng(0)
    a = np.round(rng.standard_normal((160, 12)), 3)
    y = np.where(a @ rng.standard_normal(12) + 3 * rng.standard_normal(160) > 0, 1, 0)
    from mpiopt.io.text.convert import convert
    from mpiopt.io.text.options import TextOptions

    lines = [f"{t} " + " ".join(f"{j + 1}:{v}" for j, v in enumerate(x)) for t, x in zip(y, a, strict=True)]
    (tmp_path / "t.svm").write_text("\n".join(lines))
    convert(world, [tmp_path / "t.svm"], tmp_path / "t.h5", TextOptions(values="float64", shuffle=None))
    job = PathOptions(data=str(tmp_path / "t.h5"), lambdas="3:1e-4:8", folds=4, out=tmp_path / "p.h5", gap_tol=1e-12)
    found = run(job, world, Console())
    data = Data(rows=160, features=12)
    data.y = np.where(y > 0, 1.0, -1.0)
    of = np.concatenate(folds(data.team(worlds(workers=1), L2(0.0)), 4))
    losses = np.zeros((8, 4))
    for i, l2 in enumerate(found["history"]["l2"][1:]):
        for k in range(4):
            fit = linear.LogisticRegression(C=1 / (l2 * (of != k).sum()), fit_intercept=False, tol=1e-10, max_iter=1000)
            fit.fit(a[of != k], y[of != k])
            losses[i, k] = metrics.log_loss(y[of == k], fit.predict_proba(a[of == k]))
    np.testing.assert_allclose(found["history"]["test_loss"][1:], losses.mean(1), rtol=1e-5)
    assert found["chosen"] == np.argmin(losses.mean(1)) + 1 and 1 < found["chosen"] < 8


def test_what_is_no_path_is_said(worlds, tmp_path):
    world = worlds(workers=2)
    for given, error, told in (
        ({"lambdas": "1e-3,1e-2"}, UsageError, "ascend"),
        ({"lambdas": "a:b:c"}, UsageError, "cannot be read"),
        ({"lambdas": "1,-1"}, UsageError, "finite numbers above 0"),
        ({"lambdas": "max:0.1:3"}, UsageError, "l2 alone leaves coefficients"),
        ({"l1_ratio": "2"}, UsageError, "numbers from 0 to 1"),
        ({"folds": 1}, UsageError, "give at least 2"),
        ({"folds": 999}, UsageError, "999 folds cannot be made of"),
        ({"fold_by": "3"}, UsageError, "give --folds too"),
        ({"folds": 2, "fold_by": "77"}, UsageError, "there is no feature 77 to make folds of"),
        ({"folds": 2, "choose": "auc", "loss": "least_squares"}, UsageError, "losses of two classes"),
        ({"device": "gpu"}, CapabilityError, "on the CPU"),
    ):
        with pytest.raises(error, match=told):
            run(PathOptions(data=DATA, out=tmp_path / "p.h5", overwrite=True, **given), world, Console())
