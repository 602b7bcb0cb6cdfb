"""DANE, its server and heavy-ball forms and AIDE: equivalences, theory rates on quadratics, optima, refusals."""

import numpy as np
import pytest
import scipy.linalg
from mpi4py import MPI

from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.methods.catalyst import aide, extrapolation
from mpiopt.methods.dane import dane, hb_dane, heavy_ball, server_dane
from mpiopt.problems.penalties import L1, L2
from mpiopt.work.server import common_mu, server_mu
from tests.problem_sets import Data

FAMILY = {"dane": dane, "server_dane": server_dane, "hb_dane": hb_dane, "aide": aide}
EXACT = 1e-12


def iterates(method, team, count, start=None):
    """x after 0, 1, ..., count rounds."""
    walk = rounds(method, team, np.zeros(team.dim) if start is None else start)
    return [method.answer(next(walk), team).x.copy() for _ in range(count + 1)]


def hessians(data, n, l2):
    """(H of F, H of the first n rows with the penalty) of unweighted least squares."""
    a = data.a.toarray()
    return a.T @ a / len(a) + l2 * np.eye(data.dim), a[:n].T @ a[:n] / n + l2 * np.eye(data.dim)


@pytest.mark.parametrize("build", [dane, server_dane])
@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
@pytest.mark.parametrize("intercept", [False, True])
def test_one_worker_that_knows_all_needs_one_round(worlds, build, loss, intercept):
    data = Data(loss=loss, intercept=intercept, weighted=True)
    penalty = L2(1e-2, free=int(intercept))
    x = iterates(build(mu=0.0, accuracy=EXACT), data.team(worlds(workers=1), penalty), 1)[1]
    np.testing.assert_allclose(x, data.optimum(penalty), atol=1e-8)


@pytest.mark.parametrize("longest", [0, 99])
def test_the_default_mu_is_the_curvature_of_the_longest_row_wherever_it_lies(worlds, longest):
    data = Data(rows=100)
    a = data.a.tolil()
    a[longest] *= 1e3
    data.a = a.tocsr()
    size = 0.25 * data.a.multiply(data.a).sum(1).max()
    team = data.team(worlds(workers=1), L2(1e-2))
    assert server_mu(team, 20) == pytest.approx(size / 20 * 0.8)
    assert server_mu(team, None) == common_mu(team) == 0
    team = data.team(worlds(workers=4), L2(1e-2))
    assert server_mu(team, 7) == pytest.approx(size / 7 * 0.93)
    rows = team.sites[0].loss.rows
    assert server_mu(team, None) == pytest.approx(size / rows * (1 - rows / 100))
    assert common_mu(team) == pytest.approx(size * 3 / 100)


def test_hb_dane_without_momentum_is_server_dane(worlds):
    data, penalty = Data(), L2(1e-2)
    plain, heavy = (
        iterates(method, data.team(worlds(workers=3), penalty), 5)
        for method in (server_dane(20, 0.1), hb_dane(20, 0.1, beta=0.0))
    )
    np.testing.assert_array_equal(plain, heavy)


def test_aide_whose_tau_is_0_is_server_dane_with_mu_0(worlds):
    data, penalty = Data(), L2(1e-1)
    plain, accelerated = (
        iterates(method, data.team(worlds(workers=2), penalty), 5)
        for method in (server_dane(mu=0.0, accuracy=EXACT), aide(tau=0.0, accuracy=EXACT))
    )
    np.testing.assert_allclose(accelerated, plain, atol=1e-12)


@pytest.mark.parametrize(("l2", "n"), [(0.3, 100), (0.01, 200), (0.1, 60)])
def test_quadratic_rates_are_those_of_theory(worlds, l2, n):
    """In the slowest mode |x - x*| is (1 - sigma)^k, with momentum rho^k (1 + k sqrt(sigma)), rho = 1 - sqrt(sigma)."""
    data = Data(rows=400, features=30, loss="least_squares")
    team, (h, h0) = data.team(worlds(workers=1), L2(l2)), hessians(data, n, l2)
    mu = scipy.linalg.eigvalsh(h - h0)[-1]
    sigmas, modes = scipy.linalg.eigh(h, h0 + mu * np.eye(data.dim))
    assert sigmas[-1] <= 1 + 1e-12  # L = 1
    rho, best = 1 - np.sqrt(sigmas[0]), np.linalg.solve(h, data.a.T @ data.y / 400)
    theories = (
        (server_dane(n, mu, accuracy=EXACT), lambda k: (1 - sigmas[0]) ** k),
        (hb_dane(n, mu, beta=rho**2, accuracy=EXACT), lambda k: rho**k * (1 + k * np.sqrt(sigmas[0]))),
    )
    for method, theory in theories:
        found = [np.linalg.norm(x - best) for x in iterates(method, team, 10, best + modes[:, 0])]
        np.testing.assert_allclose(found, [found[0] * theory(k) for k in range(11)], rtol=1e-6)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
@pytest.mark.parametrize(("intercept", "weighted"), [(False, False), (True, True)])
def test_the_defaults_find_the_optimum(worlds, name, loss, intercept, weighted):
    data = Data(rows=400, loss=loss, intercept=intercept, weighted=weighted)
    penalty = L2(1e-1, free=int(intercept))
    team = data.team(worlds(workers=3), penalty)
    found = solve(FAMILY[name](), team, np.zeros(data.dim), Stop(rounds=600, gradient=1e-9))
    assert found.reason is Reason.GRADIENT, found.reason_text
    np.testing.assert_allclose(found.x, data.optimum(penalty), atol=1e-6)
    assert found.final.vector_rounds == 1 + 2 * found.final.round


def test_momentum_saves_rounds_where_the_sample_is_small(worlds):
    data, penalty = Data(rows=400, features=30), L2(1e-3)
    team = data.team(worlds(workers=2), penalty)
    counts = [
        solve(build(100), team, np.zeros(data.dim), Stop(rounds=2000, gradient=1e-6)).final.round
        for build in (server_dane, hb_dane, aide)
    ]
    assert max(counts[1:]) < 0.7 * counts[0]


def test_inexact_dane_ends_the_same(worlds):
    data, penalty = Data(rows=300), L2(1e-1)
    team = data.team(worlds(workers=3), penalty)
    ends = [solve(dane(accuracy=a), team, np.zeros(data.dim), Stop(rounds=600, gradient=1e-10)).x for a in (0.1, EXACT)]
    np.testing.assert_allclose(*ends, atol=1e-8)


@pytest.mark.parametrize("q", [0.0, 0.01, 0.5])
def test_extrapolation_solves_its_equation(q):
    zeta = np.sqrt(q) if q else 1.0
    for _ in range(5):
        following, weight = extrapolation(zeta, q)
        assert following**2 == pytest.approx((1 - following) * zeta**2 + q * following)
        assert weight == pytest.approx(zeta * (1 - zeta) / (zeta**2 + following))
        zeta = following
    assert heavy_ball(1.0, 0.0) == 0 and heavy_ball(1.0, 1.5) == pytest.approx(0.25)


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("name", FAMILY)
def test_ranks_do_not_change_the_answer(worlds, name):
    data, penalty = Data(rows=60, weighted=True), L2(1e-2)
    alone = World(MPI.COMM_SELF, workers=3, deterministic=True)
    serial, ordered, free = (
        iterates(FAMILY[name](), data.team(world, penalty), 5)[-1]
        for world in (alone, worlds(workers=3, deterministic=True), worlds(workers=3))
    )
    alone.free()
    np.testing.assert_array_equal(ordered, serial)
    np.testing.assert_allclose(free, serial, rtol=1e-12)


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("build", [server_dane, hb_dane, aide])
def test_a_sample_beyond_worker_0_is_refused_on_every_rank(worlds, build):
    team = Data(rows=60).team(worlds(workers=3), L2(1e-2))
    with pytest.raises(UsageError, match=r"61 rows was asked for, but worker 0 holds \d+: the sample is the first rows"):
        build(61).init(np.zeros(team.dim), team)


@pytest.mark.ranks(1, 2)
def test_a_server_without_rows_is_refused_on_every_rank(worlds):
    data = Data(rows=3, features=4, density=1.0)
    team = data.team(worlds(workers=9), L2(1e-2))
    with pytest.raises(UsageError, match="holds no rows of positive weight"):
        server_dane().init(np.zeros(team.dim), team)
    penalty = L2(0.5)  # for mu is large where a worker holds a row, and rounds are then as many
    found = solve(dane(), data.team(worlds(workers=9), penalty), np.zeros(data.dim), Stop(rounds=2000, gradient=1e-8))
    np.testing.assert_allclose(found.x, data.optimum(penalty), atol=1e-5)


@pytest.mark.parametrize("name", FAMILY)
def test_a_kink_is_refused(worlds, name):
    data = Data()
    with pytest.raises(CapabilityError, match="fista"):
        solve(FAMILY[name](), data.team(worlds(workers=2), L1(1e-2)), np.zeros(data.dim), Stop(rounds=1))


@pytest.mark.parametrize(
    ("build", "given", "sentence"),
    [
        (dane, {"mu": -1.0}, "mu is -1"),
        (server_dane, {"eta": 0.0}, "eta is 0"),
        (hb_dane, {"accuracy": 2.0}, "accuracy is 2: give a finite number from 0 to 1"),
        (aide, {"steps": 0}, "steps is 0"),
        (hb_dane, {"beta": float("nan")}, "beta is nan"),
    ],
)
def test_bad_numbers_are_refused(build, given, sentence):
    with pytest.raises(UsageError, match=sentence):
        build(**given)


def test_heavy_ball_needs_l2_or_beta():
    with pytest.raises(UsageError, match="give `l2` above 0, or the momentum itself"):
        heavy_ball(0.0, 1.0)
