"""Certificates bound the true gap, and shrink with it."""

import numpy as np
import pytest

from mpiopt.problems.certificate import certify
from mpiopt.problems.penalties import L1, L2, ElasticNet
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
