"""Paths whose penalties have a factor for each feature: single fits with these, in any units, proved at every point."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt import LogisticRegressionCV
from mpiopt.comm.alone import SelfComm
from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import UsageError
from mpiopt.io.runs.beside_solution import read_buffers
from mpiopt.io.runs.run_file import read_run
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.path_options import PathOptions
from mpiopt.jobs.path import run
from mpiopt.methods import find
from mpiopt.paths.fitting import under
from mpiopt.paths.folds import folds, without_fold
from mpiopt.paths.lambdas import steepest
from mpiopt.paths.path import Along, PathFits, follow
from mpiopt.problems.certificate import certify
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.per_feature import PerFeature
from tests.problem_sets import Data

ROWS = "default:rows=200,cols=12,per_row=5"
SPCG, ONCE = find("spcg").make(), Stop(rounds=200, gap=1e-14)
P = np.tile([0.0, 1.0, 0.25, 4.0, 1.0], 3)  # of which some are 0


def followed(team, p, ratio, largest, shares, of=()):
    """The fits, and the state at the end of the path."""
    free = team.penalty.free
    nets = tuple(ElasticNet(ratio * largest * s, (1 - ratio) * largest * s, free) for s in shares)
    teams = (team, *(without_fold(team, of, k) for k in range(2 if of else 0)))
    fits = PathFits(SPCG, teams, of, (nets,), ONCE, factors=p)
    return fits, follow(fits, team.zeros(), Along(len(nets))).at.begun.states


@pytest.mark.ranks(1, 2, 3, limit=300)
@pytest.mark.parametrize(("ratio", "intercept", "p"), [(1.0, True, P), (0.0, True, P), (0.5, False, np.maximum(P, 0.5))])
def test_a_path_with_factors_is_single_fits_with_them(world, ratio, intercept, p):
    team = Data(intercept=intercept, weighted=True).team(world, ElasticNet(free=int(intercept)))
    fits, state = followed(team, p, ratio, 0.1, (1.0, 0.4), tuple(folds(team, 2)))
    assert (state.proved[:, 2] <= ONCE.gap).all()
    for each, x in zip(fits.teams, state.xs[-1], strict=True):
        one = solve(SPCG, under(each, fits.whole(fits.points[-1])), team.zeros(), ONCE)
        assert one.reason is Reason.GAP, one.reason_text
        np.testing.assert_allclose(x, one.x, atol=1e-6)


@settings(deadline=None, max_examples=10)
@given(st.floats(0.1, 10), st.sampled_from([0.0, 1.0]), st.booleans())
def test_factors_of_c_are_lambda_times_c(c, ratio, some):
    team, p = Data().team(World(SelfComm(), workers=2), ElasticNet()), P if some else np.ones(15)
    _, one = followed(team, c * p, ratio, 0.1 / c, (0.5, 0.1))
    _, other = followed(team, p, ratio, 0.1, (0.5, 0.1))
    np.testing.assert_allclose(one.path, other.path, atol=1e-6)
    assert c * steepest(team, c * p, SPCG) == pytest.approx(steepest(team, p, SPCG), rel=1e-9)


def test_a_path_begins_where_only_what_has_no_penalty_is_left(worlds):
    team = Data(intercept=True).team(worlds(workers=2), ElasticNet(free=1))
    _, state = followed(team, P, 1.0, steepest(team, P, SPCG), (1.001, 0.9))
    found = [set(np.flatnonzero(x).tolist()) for x in state.path]
    assert found[0] == {*np.flatnonzero(P == 0).tolist(), 15} and found[0] < found[1]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(0.02, 0.0), (0.0, 0.02), (0.02, 0.01)]), st.booleans(), st.floats(-6, 0))
def test_the_gap_is_an_upper_bound_without_penalties_too(seed, parts, intercept, far):
    team = Data(intercept=intercept).team(World(SelfComm(), workers=2), PerFeature(*parts, P, int(intercept)))
    best = solve(SPCG, team, team.zeros(), ONCE)
    assert best.reason is Reason.GAP
    rng = np.random.default_rng(seed)
    found = certify(team, best.x + 10**far * rng.standard_normal(best.x.size), 5)
    assert found.objective - best.certificate.objective <= found.gap + 1e-14


@pytest.mark.ranks(1, 2)
def test_from_the_command_line_and_on_from_a_checkpoint(world, shared_tmp):
    console, file = Console(first=world.rank == 0), shared_tmp / "p.csv"
    if world.rank == 0:
        file.write_text("1,0\n3,5\n")
    world.barrier()
    job = PathOptions(data=ROWS, lambdas="max:0.3:3", l1_ratio="1", folds=2, penalty_factors=file, out=shared_tmp / "w.h5")
    whole = run(job, world, console)
    assert whole["history"]["nonzero"][1] <= 2
    part = replace(job, out=shared_tmp / "p.h5", checkpoint=shared_tmp / "c.h5", overwrite=True)
    sent = whole["history"]["bytes_sent"]
    run(replace(part, bytes=sent[-1] + sent[2] - sent[0]), world, console)
    assert run(part, world, console)["resumed_after"] == 2
    if world.rank == 0:
        one, other = (read_buffers(each)["path"] for each in (job.out, part.out))
        assert (one == other).all() and (one[:, 0] != 0).all() and not one[:, 2].any()
        assert read_run(job.out).attributes["penalty_factors"] == str(file)
    world.barrier()


def test_what_cannot_be_is_said(worlds, tmp_path):
    world, file = worlds(workers=2), tmp_path / "p.csv"
    job = PathOptions(data=ROWS, l1_ratio="1", penalty_factors=file, out=tmp_path / "p.h5")
    file.write_text("".join(f"{k},0\n" for k in range(1, 13)))
    with pytest.raises(UsageError, match="all penalty factors are 0"):
        run(job, world, Console())
    file.write_text("77,0\n")
    with pytest.raises(UsageError, match="there is no feature 77"):
        run(job, world, Console())
    with pytest.raises(UsageError, match="at most 300"):
        PathFits(SPCG, (), (), (), ONCE, factors=np.append(np.zeros(301), 1.0))


def test_from_python():
    data, p = Data(), np.append(np.zeros(2), np.ones(13))
    X = data.a.toarray()
    given_ = {"cv": 3, "fit_intercept": False, "tol": 1e-12}
    found = LogisticRegressionCV([0.01, 0.1], l1_ratios=(1.0,), penalty_factors=p, **given_).fit(X, data.y)
    assert (found.coefs_paths_[0, :, :2] != 0).all()
    plain = LogisticRegressionCV([0.1, 1.0], penalty_factors=4 * np.ones(15), **given_).fit(X, data.y)
    same = LogisticRegressionCV([0.025, 0.25], **given_).fit(X, data.y)
    np.testing.assert_allclose(plain.coefs_paths_, same.coefs_paths_, atol=1e-6)
    np.testing.assert_allclose(plain.losses_, same.losses_, atol=1e-8)
    with pytest.raises(UsageError, match="shape"):
        LogisticRegressionCV(penalty_factors=[1.0]).fit(X, data.y)
