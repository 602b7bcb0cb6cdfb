"""Every loss against another implementation: the optimum, and the certificate around it."""

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse

from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.kernels.csr import CSR
from mpiopt.losses.registry import find as loss
from mpiopt.methods import find
from mpiopt.problems.certificate import certify
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L1, L2, ElasticNet
from mpiopt.problems.problem import Team

ROWS, FEATURES, L = 90, 8, 0.02
LOSSES = ["squared_hinge", "huber:delta=0.7", "poisson"]


def problem(text: str, world, penalty, seed=0):
    rng = np.random.default_rng(seed)
    a = scipy.sparse.random(ROWS, FEATURES, 0.6, "csr", rng=rng, data_rvs=rng.standard_normal)
    planted = 0.7 * rng.standard_normal(FEATURES)
    margins = a @ planted + 0.3 * rng.standard_normal(ROWS)
    y = {"squared_hinge": np.where(margins > 0, 1.0, -1.0), "poisson": rng.poisson(np.exp(margins)).astype(float)}.get(
        text, margins + (rng.random(ROWS) < 0.1) * 20
    )
    bounds = np.linspace(0, ROWS, world.workers + 1).astype(int)
    parts = [a[bounds[w] : bounds[w + 1]] for w in world.hosted]
    losses = [
        Linear(
            CSR.of(p.indptr, p.indices, p.data, p.shape),
            y[bounds[w] : bounds[w + 1]],
            loss(text),
            np.empty(0),
            bool(penalty.free),
        )
        for w, p in zip(world.hosted, parts, strict=True)
    ]
    return a, y, Team.of(world, losses, penalty)


def peers(text: str, a, y, intercept: bool) -> np.ndarray:
    """The coefficients that scikit-learn finds; Huber's, whose width it estimates, by scipy from the definition."""
    if text == "poisson":
        from sklearn.linear_model import PoissonRegressor

        fit = PoissonRegressor(alpha=L, fit_intercept=intercept, tol=1e-12, max_iter=10_000, solver="newton-cholesky").fit(
            a.toarray(), y
        )
        return np.append(fit.coef_, [fit.intercept_] * intercept)
    if text == "squared_hinge":
        from sklearn.svm import LinearSVC

        fit = LinearSVC(C=1 / (ROWS * L), dual=False, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(a, y)
        return fit.coef_[0]

    def objective(x):
        e = a @ x - y
        inside = abs(e) <= 0.7
        value = np.where(inside, e**2 / 2, 0.7 * (abs(e) - 0.35)).mean() + L / 2 * x @ x
        return value, a.T @ np.clip(e, -0.7, 0.7) / ROWS + L * x

    return scipy.optimize.minimize(objective, np.zeros(FEATURES), jac=True, method="BFGS", options={"gtol": 1e-12}).x


@pytest.mark.parametrize("text", LOSSES)
@pytest.mark.parametrize("intercept", [False, True])
def test_the_optimum_is_the_peers(worlds, text, intercept):
    if intercept and text != "poisson":
        pytest.skip("the peers have no intercept that is not penalised")
    a, y, team = problem(text, worlds(workers=3), L2(L, free=int(intercept)))
    theirs = peers(text, a, y, intercept)
    for name in ("spcg", "lbfgs"):
        found = solve(find(name).make(), team, np.zeros(team.dim), Stop(rounds=200, gap=1e-12))
        np.testing.assert_allclose(found.x, theirs, atol=2e-5)
        assert found.certificate.gap <= 1e-10
        assert found.certificate.objective <= certify(team, theirs, 0).objective + 1e-12


@pytest.mark.parametrize("text", LOSSES)
@pytest.mark.parametrize("penalty", [L2(L), L2(L, free=1), ElasticNet(0.01, L), L1(0.02), L1(0.02, free=1)])
@pytest.mark.parametrize("distance", [1.0, 1e-2])
def test_certificates_hold(worlds, text, penalty, distance):
    _, _, team = problem(text, worlds(workers=2), penalty)
    best = solve(find("fista").make(active_set=False), team, np.zeros(team.dim), Stop(rounds=3000, gap=1e-10)).x
    least = certify(team, best, 40)
    assert 0 <= least.gap <= 1e-8
    x = best + distance * np.random.default_rng(1).standard_normal(team.dim)
    found = certify(team, x, 40)
    true = found.objective - least.objective
    assert true <= found.gap * (1 + 1e-9) + 1e-9 and true <= found.tight_gap * (1 + 1e-6) + 1e-9


def test_poisson_from_far_away(worlds):
    """Begun where counts are overestimated by e^30, and with rows where exponentials overflow on the way."""
    _, _, team = problem("poisson", worlds(workers=2), L2(L))
    least = solve(find("spcg").make(), team, np.zeros(team.dim), Stop(rounds=100, gap=1e-12)).certificate.objective
    for name in ("spcg", "lbfgs", "tron"):
        found = solve(find(name).make(), team, np.full(team.dim, 12.0), Stop(rounds=600, gap=1e-9))
        assert found.certificate.objective <= least + 1e-8, name
