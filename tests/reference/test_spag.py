"""SPAG: its weights, its rate on quadratics, what it answers with, its searches, its optimum."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st
from mpi4py import MPI

from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.methods.gains import Adaptive, Doubling, warmed, weigh
from mpiopt.methods.spag import spag
from mpiopt.problems.penalties import L1, L2
from mpiopt.problems.surrogate import Reference
from tests.problem_sets import Data

RULES = ({}, {"line_search": True}, {"adaptive": True})
EXACT = 1e-12


def walk(method, team, count):
    """The runs after 0, 1, ..., count trials, and x of each."""
    steps = rounds(method, team, np.zeros(team.dim))
    runs = [next(steps) for _ in range(count + 1)]
    return runs, [run.points[0].x for run in runs]


@given(st.floats(0, 0.9), st.floats(1, 4), st.integers(1, 40))
def test_the_weights_are_those_of_the_recurrence(sigma, gain, count):
    a_sum, b_sum, ratio = 0.0, 1.0, 0.0
    for _ in range(count):
        weights = weigh(ratio, gain, sigma)
        coefficients = (gain - sigma, -(b_sum + a_sum * sigma), -a_sum * b_sum)
        a = max(np.roots(coefficients))
        assert a * a * gain == pytest.approx((a_sum + a) * (b_sum + a * sigma))
        a_sum, b_sum, ratio = a_sum + a, b_sum + a * sigma, weights.ratio
        assert weights[:3] == pytest.approx((a / a_sum, a * sigma / b_sum, a / b_sum))
        assert ratio == pytest.approx(a_sum / b_sum)
        assert sum(weights.towards_v) == pytest.approx(1)
    assert warmed(count, gain, sigma) == ratio


@given(st.integers(0, 200), st.sampled_from([1.0, 1e-5, 1e-10]))
def test_bregman_terms_do_not_cancel(seed, scale):
    data = Data(rows=40, intercept=True)
    phi = Reference.of(data.linear(0, 40), L2(0.1, free=1), 0.01)
    rng = np.random.default_rng(seed)
    at, step = rng.standard_normal(data.dim), scale * rng.standard_normal(data.dim)
    start, to = phi.loss.point(at), phi.loss.point(at + step)
    found = phi.bregman(to, start)
    if scale == 1.0:
        naive = phi.loss.value(to) + phi.energy(to.x) - phi.loss.value(start) - phi.energy(at) - phi.grad(start) @ step
        assert found == pytest.approx(naive, rel=1e-10)
    else:  # the integral form of the remainder by its one-point Gauss rule, exact to third order
        assert found == pytest.approx(0.5 * step @ phi.hessian(phi.loss.point(at + step / 3))(step), rel=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_quadratics_keep_the_bound_of_theorem_1(worlds, rule):
    """F(x_t) - F* <= D_phi(x*, x_0) / A_t, with mu = lambda_max(H - H_0), L = 1 and the exact sigma."""
    data, l2, n = Data(rows=400, features=30, loss="least_squares"), 0.01, 100
    a = data.a.toarray()
    h, h0 = (b.T @ b / len(b) + l2 * np.eye(30) for b in (a, a[:n]))
    mu = scipy.linalg.eigvalsh(h - h0)[-1]
    sigma = scipy.linalg.eigh(h, h0 + mu * np.eye(30), eigvals_only=True)[0]
    best = np.linalg.solve(h, a.T @ data.y / 400)
    team = data.team(worlds(workers=3), L2(l2))
    runs, xs = walk(spag(n, mu, sigma=sigma, accuracy=EXACT, **rule), team, 25)
    distance, grown, weight = 0.5 * best @ (h0 + mu * np.eye(30)) @ best, 0.0, 1.0
    for before, x, after in zip(runs, xs, xs[1:], strict=False):
        if after is not x:
            gain = before.states.gain
            a = max(np.roots((gain - sigma, -(weight + grown * sigma), -grown * weight)))
            grown, weight = grown + a, weight + a * sigma
        error = 0.5 * (after - best) @ h @ (after - best)
        assert error <= distance / grown * (1 + 1e-9) + 1e-28
    assert error < 1e-6 * distance


def test_the_line_search_keeps_g_at_1_on_quadratics(worlds):
    data = Data(loss="least_squares")
    fixed, searched = (
        walk(spag(20, 0.3, accuracy=EXACT, line_search=search), data.team(worlds(workers=2), L2(0.01)), 30)[1]
        for search in (False, True)
    )
    np.testing.assert_array_equal(fixed, searched)


@pytest.mark.parametrize("rule", RULES)
def test_the_record_is_of_x(worlds, rule):
    data, penalty = Data(rows=80, weighted=True), L2(1e-2)
    team, method = data.team(worlds(workers=3), penalty), spag(20, 0.1, **rule)
    runs, xs = walk(method, team, 8)
    for run, x in zip(runs, xs, strict=True):
        value, gradient = data.objective(x, penalty)
        measured = method.measure(run, team)
        assert measured.objective == pytest.approx(value, rel=1e-13)
        assert measured.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-9)
        for site, at in zip(team.sites, run.points, strict=True):
            np.testing.assert_allclose(at.margins, site.loss.margins(x), atol=1e-12)


def test_a_rejected_trial_moves_nothing_but_the_gain(worlds):
    data = Data(rows=300)
    team = data.team(worlds(workers=3), L2(1e-3))
    runs, xs = walk(spag(20, 1e-3, adaptive=True), team, 40)
    rejected = [i for i in range(40) if xs[i + 1] is xs[i]]
    assert rejected and len(rejected) < 20
    for i in rejected:
        before, after = runs[i].states, runs[i + 1].states
        assert after.v is before.v and after.ratio == before.ratio
        assert 1.3 * before.gain <= after.gain <= 4 * before.gain


def test_rules_judge_as_they_say():
    server = np.array([1.0, 0.4])
    assert Doubling(2.0).judge(4.0, 0.0, server) == (False, 8.0)
    assert Doubling(2.0).judge(8.0, 0.0, server) == (True, 4.0)
    assert Doubling(2.0).judge(2.0, 0.0, np.array([0.1, 0.4])) == (True, 2.0)
    assert Adaptive().judge(1.0, 0.39, server) == (True, 0.9)
    assert Adaptive().judge(1.0, 0.8, server) == (False, pytest.approx(2.1))
    assert Adaptive().judge(1.0, 0.41, server) == (False, 1.3)
    assert Adaptive().judge(1.0, 1.0, np.array([1.0, 0.0])) == (False, 4.0)


def test_adaptive_survives_a_mu_below_the_cliff(worlds):
    data, penalty = Data(rows=400, features=30, density=0.1), L2(1e-4)
    team = data.team(worlds(workers=2), penalty)
    best = data.objective(data.optimum(penalty), penalty)[0]
    gaps = [
        solve(spag(40, 1e-4, **rule), team, np.zeros(data.dim), Stop(rounds=150)).final.objective - best
        for rule in ({}, {"adaptive": True})
    ]
    assert gaps[0] > 1e-2 and gaps[1] < 1e-6


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
@pytest.mark.parametrize(("intercept", "weighted"), [(False, False), (True, True)])
def test_the_defaults_find_the_optimum(worlds, rule, loss, intercept, weighted):
    data = Data(rows=400, loss=loss, intercept=intercept, weighted=weighted)
    penalty = L2(1e-2, free=int(intercept))
    found = solve(spag(**rule), data.team(worlds(workers=3), penalty), np.zeros(data.dim), Stop(rounds=400, gradient=1e-9))
    assert found.reason is Reason.GRADIENT, found.reason_text
    np.testing.assert_allclose(found.x, data.optimum(penalty), atol=1e-6)
    assert found.final.vector_rounds == 2 * found.final.round


def test_one_worker_that_knows_all_is_quick(worlds):
    data, penalty = Data(), L2(1e-2)
    found = solve(
        spag(accuracy=EXACT), data.team(worlds(workers=1), penalty), np.zeros(data.dim), Stop(gradient=1e-10, rounds=9)
    )
    assert found.reason is Reason.GRADIENT and found.final.round <= 5


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("rule", RULES)
def test_ranks_do_not_change_the_answer(worlds, rule):
    data, penalty = Data(rows=60, weighted=True), L2(1e-3)
    alone = World(MPI.COMM_SELF, workers=3, deterministic=True)
    serial, ordered, free = (
        walk(spag(12, 0.05, **rule), data.team(world, penalty), 12)[1][-1]
        for world in (alone, worlds(workers=3, deterministic=True), worlds(workers=3))
    )
    alone.free()
    np.testing.assert_array_equal(ordered, serial)
    np.testing.assert_allclose(free, serial, rtol=1e-12)


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("mu", [None, 0.1])
def test_a_sample_beyond_worker_0_is_refused_on_every_rank(worlds, mu):
    team = Data(rows=60).team(worlds(workers=3), L2(1e-2))
    with pytest.raises(UsageError, match=r"61 rows was asked for, but worker 0 holds \d+: the sample is the first rows"):
        spag(61, mu).init(np.zeros(team.dim), team)


def test_what_it_cannot_do_is_refused(worlds):
    with pytest.raises(CapabilityError, match="fista"):
        team = Data().team(worlds(workers=1), L1(0.1))
        spag().init(np.zeros(team.dim), team)
    for given_numbers in ({"t0": -1}, {"smoothness": 0.0}, {"sigma": -0.1}, {"line_search": True, "adaptive": True}):
        with pytest.raises(UsageError, match=next(iter(given_numbers))):
            spag(**given_numbers)
