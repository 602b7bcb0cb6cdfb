"""Certificates bound the true gap, and shrink with it."""

import numpy as np
import pytest

from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.methods import find
from mpiopt.problems.certificate import certify, gradient_bound, tight_gap
from mpiopt.problems.penalties import L1, L2, ElasticNet
from tests.adversarial_sets import Case, cases
from tests.problem_sets import Data


@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("distance", [1.0, 1e-2, 1e-4])
def test_the_gap_is_bounded_for_l2(worlds, loss, intercept, distance):
    data = Data(loss=loss, intercept=intercept, weighted=True)
    penalty = L2(1e-2, free=int(intercept))
    best = data.optimum(penalty)
    x = best + distance * np.random.default_rng(5).standard_normal(data.dim)
    found = certify(data.team(worlds(workers=3), penalty), x, products=50)
    true = data.objective(x, penalty)[0] - data.objective(best, penalty)[0]
    assert found.objective == pytest.approx(data.objective(x, penalty)[0], rel=1e-12)
    assert true <= found.tight_gap * (1 + 1e-6) + 1e-15
    assert found.tight_gap <= found.gap
    if not intercept and distance < 1e-3:
        assert found.tight_gap <= 1.5 * true


@pytest.mark.parametrize("distance", [0.3, 1e-2, 1e-5])
@pytest.mark.parametrize("seed", range(4))
def test_any_inverse_is_accounted_for_and_a_good_one_is_quick(worlds, distance, seed):
    data, penalty, rng = Data(rows=400, seed=seed), L2(1e-6), np.random.default_rng(seed)
    best, team = data.optimum(penalty), data.team(worlds(workers=3), penalty)
    x = best + distance * rng.standard_normal(data.dim)
    true = data.objective(x, penalty)[0] - data.objective(best, penalty)[0]
    points = [site.loss.point(x) for site in team.sites]
    residual = data.objective(x, penalty)[1]
    apart = rng.standard_normal((data.dim, data.dim))
    steps = 1e-6 * np.eye(data.dim)
    hessian = np.array([(data.objective(best + s, penalty)[1] - data.objective(best - s, penalty)[1]) / 2e-6 for s in steps])
    inverses = [np.linalg.inv(hessian), apart @ apart.T, np.eye(data.dim), np.diag(rng.integers(0, 2, data.dim).astype(float))]
    bounds = [tight_gap(team, points, residual, 3, lambda r, inverse=inverse: inverse @ r) for inverse in inverses]
    assert true <= min(bounds) * (1 + 1e-6) + 1e-15
    if distance <= 1e-2:
        assert bounds[0] <= 0.3 * min(bounds[1:]) and bounds[0] < 0.1 * gradient_bound(team, float(np.linalg.norm(residual)))


def test_a_hessian_at_hand_ends_a_run_a_round_sooner(worlds):
    data, sent = Data(rows=400), []
    team = data.team(worlds(workers=4), L2(1e-7))
    for method in (find("spcg").make(form="hessian"), Closed(find("spcg").make(form="hessian"))):
        found = solve(method, team, team.zeros(), Stop(rounds=60, gap=1e-8))
        assert found.reason is Reason.GAP and found.certificate.tight_gap <= 1e-8
        assert found.certificate.objective - data.objective(data.optimum(L2(1e-7)), L2(1e-7))[0] <= 1e-8
        sent.append(found.final.round)
    assert sent[0] < sent[1]


class Closed:
    """A method that does not show what Hessian it has."""

    def __init__(self, inner):
        self.init, self.step, self.measure, self.answer = inner.init, inner.step, inner.measure, inner.answer
        self.own = inner.own


@pytest.mark.parametrize("penalty", [L1(0.02), ElasticNet(0.02, 0.01), L1(0.02, free=1), ElasticNet(0.02, 0.01, free=1)])
def test_the_duality_gap_vanishes_at_the_optimum_of_l1(worlds, penalty):
    data = Data(intercept=bool(penalty.free))
    team = data.team(worlds(workers=2), penalty)
    x = np.zeros(data.dim)
    for _ in range(4000):  # plain proximal gradient, straight from the definition
        _, gradient = data.objective(x, L2(0.0, free=penalty.free))
        x = penalty.prox(x - 0.5 * gradient, 0.5)
    found = certify(team, x, products=10)
    assert 0 <= found.gap <= 1e-9
    assert certify(team, np.zeros(data.dim), products=10).gap > 1e-3


@pytest.mark.ranks(1, 3)
def test_an_answer_far_away_is_believed_no_slope_that_newton_would_follow(world):
    rng = np.random.default_rng(5)  # 30 rows of rank 8, stored in single precision: directions of 1e-7 of their size
    a = (rng.standard_normal((30, 8)) @ rng.standard_normal((8, 50))).astype(np.float32).astype(float)
    case = Case("by rounding", a, np.where(rng.random(30) < 0.5, 1.0, -1.0))
    seen, unseen = np.split(np.linalg.svd(a)[2], [8])
    b, z = a @ seen.T, np.zeros(8)
    for _ in range(20):  # Newton's method on the eight directions
        p = 1 / (1 + np.exp(case.y * (b @ z)))
        z += np.linalg.solve((b.T * (p * (1 - p))) @ b, b.T @ (case.y * p))
    found = certify(case.team(world, 0.0, 0.0), seen.T @ z + 2e6 * unseen[-1], products=50)
    assert found.objective > 0.4 and 1e-9 < found.noise < 1e-8
    assert found.noise > found.floor


@pytest.mark.ranks(1)
@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
def test_an_answer_far_away_may_plead_that_its_margins_are_uncertain(world, loss):
    case = next(case for case in cases() if case.name == f"nearly collinear {loss}")
    team = case.team(world, 0.0, 0.0)
    found = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=50))
    assert found.reason is Reason.ROUNDING and 1e-14 < found.certificate.noise < found.certificate.floor
