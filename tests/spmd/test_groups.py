"""``--group-l1`` and ``--groups`` on ranks: what is found, kept and told, and one sentence for every file that cannot be."""

from pathlib import Path

import numpy as np
import pytest

from mpiopt.engine.stop import Reason
from mpiopt.errors import CapabilityError, DataError, UsageError
from mpiopt.estimators.fit import fit
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs import coef
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.reports.comparison import compare
from mpiopt.jobs.reports.solves import problem
from mpiopt.jobs.solve import run
from mpiopt.problems.grouped import GroupLasso
from tests.problem_sets import Data

ROWS, LINES = "default:rows=200,cols=12,per_row=5", [f"{j},{'abcd'[j % 4]}" for j in range(1, 13)]


def written(world, path, lines):
    """The file, on every rank."""
    if world.rank == 0:
        path.write_text("\n".join(lines) + "\n")
    world.barrier()
    return path


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("method", ["spcg", "fista"])
def test_from_the_command_line(world, shared_tmp, method):
    console, file = Console(first=world.rank == 0), written(world, shared_tmp / "g.csv", ["# four groups", "", *LINES])
    job = {"data": ROWS, "group_l1": 0.03, "groups": file, "l2": 1e-4, "intercept": True, "out": shared_tmp / "r.h5"}
    job |= {"overwrite": True, "method": method, "gap_tol": 1e-9}
    found = run(Solve(**job), world, console)
    assert found["reason"] == "GAP" and 0 < found["nonzero_groups"] < 4 and found["gap"] <= 1e-9
    if world.rank == 0:
        x, _ = read_solution(job["out"])
        lengths = GroupLasso.of(1.0, [line[-1] for line in LINES]).lengths(x)
        assert (lengths > 0).sum() == found["nonzero_groups"]
        told = read_run(job["out"]).attributes
        assert (told["group_l1"], told["groups"], told["group_count"]) == (0.03, str(file), 4)
        named = coef.run(coef.Coef(run=job["out"]), None, console)["nonzero"]
        assert named == np.count_nonzero(x) == found["nonzero_coefficients"]  # the intercept is not one of them
        assert "l2 0.0001 + group_l1 0.03" in problem(compare([read_run(job["out"])]))
    kept = {**job, "checkpoint": shared_tmp / "c.h5"}
    run(Solve(**kept, rounds=1), world, console)
    other = written(world, shared_tmp / "o.csv", [line.replace("a", "b") for line in LINES])
    with pytest.raises(UsageError, match="is of another run: groups was"):
        run(Solve(**{**kept, "groups": other}), world, console)
    assert run(Solve(**kept), world, console)["resumed_after"] == 1
    assert run(Solve(**{**job, "out": None}, dry_run=True), world, console)["fits"]


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize(
    ("lines", "error", "told"),
    [
        (LINES[:9], DataError, "names no group for 3 of 12 features, the first of them 10"),
        (LINES[1:], DataError, "names no group for 1 of 12 features, the first of them 1:"),
        ([*LINES, "3,a"], DataError, "line 13: 3 is in a group already, by line 3"),
        ([*LINES, "99,a"], UsageError, "there is no feature 99 to make a group of"),
        (["# nothing"], DataError, "names no group: write a line"),
        (["1"], DataError, "line 1: '1' is no feature and its group"),
        (["1,"], DataError, "line 1: '1,' is no feature and its group"),
    ],
)
def test_files_that_cannot_be(world, shared_tmp, lines, error, told):
    job = Solve(data=ROWS, group_l1=0.1, groups=written(world, shared_tmp / "g.csv", lines), method="fista")
    for dry in (False, True):
        with pytest.raises(error, match=told) as wrong:
            run(Solve(**{**vars(job), "dry_run": dry}), world, Console(first=world.rank == 0))
        assert "\n" not in str(wrong.value)


@pytest.mark.ranks(2)
@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"groups": None}, UsageError, "name by --groups a file"),
        ({"group_l1": 0.0}, UsageError, "says nothing without a penalty of groups: give --group-l1 above 0"),
        ({"group_l1": -1.0}, UsageError, "--group-l1 -1: give a number that is not negative"),
        ({"group_l1": np.inf}, UsageError, "--group-l1 inf: give a finite number"),
        ({"group_l1": np.nan}, UsageError, "--group-l1 nan: give a number"),
        (
            {"method": "lbfgs"},
            CapabilityError,
            "lbfgs takes no penalty of groups: with --group-l1 use .*fista or prox_gradient",
        ),
        ({"method": "owlqn"}, CapabilityError, "owlqn takes no penalty of groups"),
        ({"l1": 0.1}, UsageError, "leave it, or --l1 0.1, out"),
        ({"lower": 0.0}, UsageError, "leave it, or --lower 0.0, out"),
        ({"device": "gpu"}, CapabilityError, "--device gpu is for"),
        ({"inference": "hessian"}, CapabilityError, "--inference of a fit with --group-l1 0.1"),
        ({"multiclass": "ovr"}, CapabilityError, "--group-l1 is for one margin a row"),
        ({"groups": Path("gone.csv")}, DataError, "gone.csv cannot be read"),
    ],
)
def test_what_does_not_go_together(world, shared_tmp, given, error, told):
    job = {"data": ROWS, "group_l1": 0.1, "groups": written(world, shared_tmp / "g.csv", LINES), "method": "fista"}
    with pytest.raises(error, match=told) as wrong:
        run(Solve(**job | given), world, Console(first=world.rank == 0))
    assert "\n" not in str(wrong.value)


@pytest.mark.ranks(1, 2)
def test_from_python(world):
    data, labels = Data(weighted=True), np.array(list("aabbccddeeffggh"))
    job = {"group_l1": 0.05, "groups": labels, "sample_weight": data.w, "world": world, "tol": 1e-13}
    job["offset"] = np.random.default_rng(0).standard_normal(len(data.y))
    found, other = fit(data.a, data.y, **job), fit(data.a, data.y, solver="fista", **job)
    lengths = GroupLasso.of(1.0, labels).lengths(found.coef)
    assert found.solution.reason is Reason.GAP and 0 < (lengths > 0).sum() < 8
    np.testing.assert_allclose(found.coef, other.coef, atol=1e-5)
    assert found.intercept == pytest.approx(other.intercept, abs=1e-5)
    for given, told in (
        ({"group_l1": 0.1}, "go together"),
        ({"groups": labels}, "go together"),
        ({"group_l1": 0.1, "groups": labels, "l1": 0.1}, "neither l1"),
        ({"group_l1": 0.1, "groups": labels[:3]}, "15 features: give one a feature"),
        ({"group_l1": -0.1, "groups": labels}, "not negative"),
    ):
        with pytest.raises(UsageError, match=told):
            fit(data.a, data.y, world=world, **given)
