"""CoCoA+: plain dual coordinate ascent on one worker, an exact primal image, a certificate, the optimum, refusals."""

from itertools import pairwise

import numpy as np
import pytest
from mpi4py import MPI

from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.methods.cocoa import cocoa
from mpiopt.problems.linear import EXACTLY
from mpiopt.problems.penalties import L1, L2, ElasticNet
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
        whole.dual_descent(alpha, z, l2, 0.0, seed, 2, 0.0, EXACTLY)
    np.testing.assert_allclose(run.points[0].x, z, rtol=1e-12)
    np.testing.assert_allclose(run.states.alpha[0], alpha, rtol=1e-12)


def local_optimum(data, lo, hi, alpha, w, l2, spread):
    """argmax of G_k^sigma'(D; w, alpha) over the changes D of the dual variables of rows lo <= i < hi, with dense matrices.

    G = -(1/W) sum w_i loss*(-s_i (alpha_i + D_i)) - (1/W) w.A^T S D - (sigma' / 2 l2) |A^T S D|^2 / W^2 up to a constant, S =
    diag(w_i s_i): concave, by Newton's method with a search.
    """
    a, weights, total = data.a[lo:hi].toarray(), data.w[lo:hi], data.w.sum()
    a = signs(data)[lo:hi, None] * a  # rows times their signs
    coupling = spread / (l2 * total) * (weights[:, None] * a) @ (weights[:, None] * a).T
    logistic, m, d = data.family.name == "logistic", a @ w, np.zeros(hi - lo)

    def gradient(d):
        b = alpha + d
        own = np.log1p(-b) - np.log(b) if logistic else data.y[lo:hi] - b
        return weights * (own - m) - coupling @ d

    for _ in range(200):
        b, slope = alpha + d, gradient(d)
        bend = weights / (b * (1 - b)) if logistic else weights
        step, size = np.linalg.solve(np.diag(bend) + coupling, slope), 1.0
        while logistic and not (((b + size * step) > 0) & ((b + size * step) < 1)).all():
            size /= 2
        while abs(step @ gradient(d + size * step)) > abs(step @ slope) and size > 1e-9:
            size /= 2
        d = d + size * step
    return d


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("workers", [1, 3, 5])
def test_enough_epochs_solve_the_local_subproblem_of_the_paper(worlds, loss, workers):
    """Which an independent solver finds: sigma' is the number of workers, no more and no less."""
    data, l2 = Data(rows=40, features=6, loss=loss), 3e-2
    team = data.team(worlds(workers=workers), L2(l2))
    before, after = (walk(cocoa(2000), team, k) for k in (0, 1))
    bounds = np.concatenate(([0], np.cumsum([site.loss.rows for site in team.sites])))
    w, start = before.points[0].x, before.states.alpha
    change = np.zeros(data.dim)
    for k, (lo, hi) in enumerate(pairwise(bounds.tolist())):
        d = local_optimum(data, lo, hi, start[k], w, l2, workers)
        np.testing.assert_allclose(after.states.alpha[k] - start[k], d, atol=1e-9)
        change += data.a[lo:hi].T @ (signs(data)[lo:hi] * d) / (l2 * len(data.y))
    np.testing.assert_allclose(after.points[0].x, w + change, atol=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("l2", [1e-6, 1e-2, 10.0])
def test_a_step_is_the_row_s_maximum_to_rounding(worlds, loss, l2):
    """One row a worker, one epoch: the equation that the new dual variable solves, its error in units of rounding."""
    data = Data(rows=7, features=4, density=0.9, loss=loss)
    team = data.team(worlds(workers=7), L2(l2))
    run = walk(cocoa(), team, 3)
    done = walk(cocoa(), team, 4)
    for site, old, new in zip(team.sites, run.states.alpha, done.states.alpha, strict=True):
        row, y = site.loss.matrix, site.loss.y[0]
        square = 7 * float((row.data.astype(float) ** 2).sum()) / (l2 * 7)  # sigma' |a|^2 / (l2 W)
        sign = y if loss == "logistic" else 1.0
        t = sign * float(row.data.astype(float) @ run.points[0].x[row.indices]) + square * (new[0] - old[0])
        wanted = 1 / (1 + np.exp(t)) if loss == "logistic" else y - t
        slack = 1e-14 * (1 + square) * (1 + abs(old[0])) + 1e-15 * abs(t)
        assert abs(new[0] - wanted) <= slack * (0.25 if loss == "logistic" else 1) + 1e-15


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("workers", [1, 4])
def test_w_stays_the_image_of_the_dual_variables(worlds, loss, workers):
    data, l2 = Data(loss=loss, weighted=True), 1e-2
    start = np.random.default_rng(1).standard_normal(data.dim)
    run = walk(cocoa(3), data.team(worlds(workers=workers), L2(l2)), 7, start)
    alpha = np.concatenate(run.states.alpha)
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
        found, x, alpha = method.measure(run, team), run.points[0].x, np.concatenate(run.states.alpha)
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
