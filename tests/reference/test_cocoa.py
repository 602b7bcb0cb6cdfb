"""CoCoA+: plain dual coordinate ascent on one worker, an exact primal image, a certificate, the optimum, refusals."""

import numpy as np
import pytest
from mpi4py import MPI

from mpiopt.comm.world import World
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.methods.cocoa import cocoa
from mpiopt.problems.penalties import L1, L2, ElasticNet
from mpiopt.solve import rounds, solve
from mpiopt.stop import Reason, Stop
from tests.problem_sets import Data

LOSSES = ("logistic", "least_squares")


def walk(method, team, count, start=None):
    """The run after ``count`` rounds."""
    steps = rounds(method, team, np.zeros(team.dim) if start is None else start)
    for _ in range(count):
        next(steps)
    return next(steps)


def signs(data):
    """y of the dual map: labels for logistic, ones for least squares."""
    return data.y if data.family.name == "logistic" else np.ones(len(data.y))


@pytest.mark.parametrize("loss", LOSSES)
def test_one_worker_is_dual_coordinate_descent(worlds, loss):
    data, l2 = Data(loss=loss, weighted=True), 1e-2
    team = data.team(worlds(workers=1), L2(l2))
    run = walk(cocoa(2), team, 3)
    site, whole = team.sites[0], data.linear(0, 120)
    alpha = np.full(120, 1e-10 if loss == "logistic" else 0.0)
    z = whole.dual_point(alpha, np.zeros(data.dim), l2, 0.0)
    for k in range(3):
        seed = int(site.streams("dual ascent", k, 0).integers(1 << 62))
        whole.dual_descent(alpha, z, l2, 0.0, seed, 2, 0.0)
    np.testing.assert_allclose(run.points[0].x, z, rtol=1e-12)
    np.testing.assert_allclose(run.states[0], alpha, rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("workers", [1, 4])
def test_w_stays_the_image_of_the_dual_variables(worlds, loss, workers):
    data, l2 = Data(loss=loss, weighted=True), 1e-2
    start = np.random.default_rng(1).standard_normal(data.dim)
    run = walk(cocoa(3), data.team(worlds(workers=workers), L2(l2)), 7, start)
    alpha = np.concatenate(run.states)
    image = data.a.T @ (data.w * signs(data) * alpha) / (l2 * data.w.sum())
    np.testing.assert_allclose(run.points[0].x, image, rtol=1e-10)
    assert loss == "least_squares" or ((alpha > 0) & (alpha < 1)).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("workers", [1, 3])
def test_the_gap_is_the_duality_gap_and_bounds_the_true_one(worlds, loss, workers):
    data, penalty = Data(loss=loss, weighted=True), L2(3e-2)
    team, best = data.team(worlds(workers=workers), penalty), data.objective(data.optimum(penalty), penalty)[0]
    method = cocoa()
    for rounds_done in (1, 3, 10):
        run = walk(method, team, rounds_done)
        found, x, alpha = method.measure(run, team), run.points[0].x, np.concatenate(run.states)
        conjugate = (
            alpha * np.log(alpha) + (1 - alpha) * np.log1p(-alpha) if loss == "logistic" else alpha**2 / 2 - alpha * data.y
        )
        dual = -data.w @ conjugate / data.w.sum() - 0.5 * penalty.l2 * x @ x
        primal, gradient = data.objective(x, penalty)
        assert found.objective == pytest.approx(primal, rel=1e-13)
        assert found.gap == pytest.approx(min(primal - dual, gradient @ gradient / (2 * penalty.l2)), rel=1e-6, abs=1e-14)
        assert -1e-15 <= primal - best <= found.gap + 1e-15


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("workers", [1, 4])
def test_it_finds_the_optimum(worlds, loss, weighted, workers):
    data, penalty = Data(loss=loss, weighted=weighted), L2(1e-1)
    found = solve(cocoa(), data.team(worlds(workers=workers), penalty), np.zeros(data.dim), Stop(rounds=800, gap=1e-13))
    assert found.reason is Reason.GAP, found.reason_text
    np.testing.assert_allclose(found.x, data.optimum(penalty), atol=2e-6)
    assert found.final.vector_rounds == 1 + found.final.round


def test_adding_beats_what_averaging_could_do(worlds):
    """gamma = 1 with sigma' = K: within a factor of K of one worker's rounds, not stalled by the number of workers."""
    data, penalty = Data(rows=400), L2(1e-2)
    counts = [
        solve(cocoa(), data.team(worlds(workers=k), penalty), np.zeros(data.dim), Stop(rounds=2000, gap=1e-6)).final.round
        for k in (1, 8)
    ]
    assert counts[0] < counts[1] < 8 * counts[0]


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("loss", LOSSES)
def test_ranks_do_not_change_the_answer(worlds, loss):
    data, penalty = Data(rows=60, weighted=True, loss=loss), L2(1e-2)
    alone = World(MPI.COMM_SELF, workers=3, deterministic=True)
    serial, ordered, free = (
        walk(cocoa(2), data.team(world, penalty), 6).points[0].x
        for world in (alone, worlds(workers=3, deterministic=True), worlds(workers=3))
    )
    alone.free()
    np.testing.assert_array_equal(ordered, serial)
    np.testing.assert_allclose(free, serial, rtol=1e-12)


def test_workers_without_rows_just_work(worlds):
    data, penalty = Data(rows=5, features=4, density=0.9), L2(1e-1)
    found = solve(cocoa(), data.team(worlds(workers=9), penalty), np.zeros(data.dim), Stop(rounds=2000, gap=1e-12))
    np.testing.assert_allclose(found.x, data.optimum(penalty), atol=1e-5)


@pytest.mark.parametrize(
    ("penalty", "sentence"),
    [
        (L2(0.0), "l2 = 0"),
        (L1(0.1), "not smooth"),
        (ElasticNet(0.1, 0.1), "not smooth"),
        (L2(0.1, free=1), "no unpenalised intercept"),
    ],
)
def test_problems_without_this_dual_are_refused(worlds, penalty, sentence):
    team = Data(intercept=bool(penalty.free)).team(worlds(workers=2), penalty)
    with pytest.raises(CapabilityError, match=sentence):
        cocoa().init(np.zeros(team.dim), team)


def test_no_epochs_are_refused():
    with pytest.raises(UsageError, match="epochs is 0"):
        cocoa(0)
