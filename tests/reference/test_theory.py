"""Step sizes against the formulas of the papers, typed here, and the constants that they need against eigenvalues."""

from math import sqrt

import numpy as np
import pytest

from mpiopt.methods.compression import dcgd, diana, ef, ef21, gdci, marina, rand_diana, vr_gdci
from mpiopt.methods.curvature import constants
from mpiopt.numerics import theory
from mpiopt.problems.penalties import L2
from tests.problem_sets import Data, balanced
from tests.training_sets import Shared, path

WORKERS = 4


@pytest.fixture
def data() -> Shared:
    """Ridge regression, the workers' shares a little different."""
    return Shared(workers=WORKERS, rows=43, size=None, l2=0.1)


def test_step_sizes_are_those_of_the_papers():
    rng = np.random.default_rng(0)
    for _ in range(50):
        n, omega, mu, p = int(rng.integers(1, 50)), rng.uniform(0, 99), rng.uniform(1e-4, 1), rng.uniform(0.01, 1)
        delta, big, noise = 1 / (1 + omega), rng.uniform(1, 9, 3), theory.independent(omega, n)
        top, whole = big.max(), rng.uniform(big.max() / 3, big.mean())
        c = theory.Constants(whole, top, float(np.sqrt(np.mean(big**2))), mu, n)
        expected = {
            "dcgd": (theory.dcgd(c, noise), 1 / (whole + 2 * top * omega / n)),
            "star": (theory.dcgd_star(c, noise, 0.25), 1 / (whole + top * omega * 0.75 / n)),
            "diana": (theory.diana(c, noise), (1 / (top + 6 * top * omega / n), 1 / (omega + 1))),
            "marina": (theory.marina(c, noise, p), 1 / (whole + sqrt(np.mean(big**2)) * sqrt((1 - p) * omega / (p * n)))),
            "gdci": (theory.gdci(c, noise), image(whole, top, mu, 2 * omega / n)),
            "vr_gdci": (theory.vr_gdci(c, noise), (*image(whole, top, mu, 6 * omega / n), 1 / (omega + 1))),
            "ef": (theory.error_feedback(c, delta), delta / (8 * top)),
        }
        m = 4 * omega / (n * delta)  # M of Rand-DIANA for p = 1 / (1 + omega)
        expected["rand"] = theory.rand_diana(c, noise), (1 / ((1 + 2 * omega / n) * top + m * delta * top), delta)
        theta = 1 - sqrt(1 - delta)
        beta = (1 - delta) / theta
        expected["ef21"] = theory.ef21(c, delta), 1 / (whole + sqrt(np.mean(big**2)) * sqrt(beta / theta))
        for name, (found, wanted) in expected.items():
            np.testing.assert_allclose(found, wanted, rtol=1e-12, err_msg=name)
    lossless = theory.Constants(2.0, 3.0, 5.0, 0.5, 4)
    exact = theory.Noise(0.0, 0.0)
    assert theory.dcgd(lossless, exact) == theory.marina(lossless, exact, 1.0) == theory.ef21(lossless, 1.0) == 1 / 2
    assert theory.gdci(lossless, exact) == pytest.approx((1 / (0.25 * 2.0), 0.25))


def image(whole, top, mu, noise):
    eta = 1 / (whole / mu + noise * (top / mu - 1))
    return (1 + eta * noise) / (eta * (whole + top * noise)), eta


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
@pytest.mark.parametrize("intercept", [False, True], ids=["plain", "intercept"])
def test_constants_are_the_largest_eigenvalues(worlds, loss, intercept):
    """Never below them where that would make a step too long, and at most 2 % above; of n share_i (f_i + penalty)."""
    workers, l2 = 4, 0.03
    data = Data(rows=60, features=12, seed=4, loss=loss, intercept=intercept, weighted=True)
    team = data.team(worlds(workers=workers), L2(l2, free=int(intercept)))
    found = constants(team, np.zeros(data.dim))
    curvature = 0.25 if loss == "logistic" else 1.0
    a = np.hstack([data.a.toarray(), np.ones((60, 1))]) if intercept else data.a.toarray()
    bounds, total = balanced(data.a.indptr, workers), data.w.sum()
    hessian = lambda lo, hi: curvature * a[lo:hi].T @ (data.w[lo:hi, None] * a[lo:hi]) / total  # noqa: E731
    top = lambda h: float(np.linalg.eigvalsh(h)[-1])  # noqa: E731
    shares = [data.w[bounds[w] : bounds[w + 1]].sum() / total for w in range(workers)]
    own = [workers * (top(hessian(bounds[w], bounds[w + 1])) + l2 * shares[w]) for w in range(workers)]
    for name, value, exact in (
        ("L", found.L, top(hessian(0, 60)) + l2),
        ("Lmax", found.Lmax, max(own)),
        ("Lrms", found.Lrms, sqrt(np.mean(np.square(own)))),
    ):
        assert 0.995 * exact <= value <= 1.02 * exact + 1e-9, (name, value, exact)
    assert (found.mu, found.workers) == (l2, workers)


@pytest.mark.ranks(1)
def test_unset_steps_are_those_of_theory(worlds, data):
    """Written out as numbers they lead the same way."""
    team = data.team(worlds(workers=WORKERS))
    c, noise = constants(team, np.zeros(5)), theory.independent(1.5, WORKERS)
    pairs = {
        "dcgd": (dcgd("randk:0.4"), dcgd("randk:0.4", theory.dcgd(c, noise))),
        "ef": (ef("topk:0.4"), ef("topk:0.4", theory.error_feedback(c, 0.4))),
        "ef21": (ef21("topk:0.4"), ef21("topk:0.4", theory.ef21(c, 0.4))),
        "diana": (diana("randk:0.4"), diana("randk:0.4", *theory.diana(c, noise))),
        "rand": (rand_diana("randk:0.4"), rand_diana("randk:0.4", *theory.rand_diana(c, noise))),
        "marina": (marina("randk:0.4"), marina("randk:0.4", theory.marina(c, noise, 0.4), 0.4)),
        "gdci": (gdci("randk:0.4"), gdci("randk:0.4", *theory.gdci(c, noise))),
        "vr": (vr_gdci("randk:0.4"), vr_gdci("randk:0.4", *theory.vr_gdci(c, noise))),
        "half": (gdci("randk:0.4", gamma=0.2), gdci("randk:0.4", 0.2, theory.gdci(c, noise)[1])),
    }
    for name, (found, written) in pairs.items():
        np.testing.assert_allclose(
            path(found, team, data.start, 5), path(written, team, data.start, 5), rtol=1e-13, err_msg=name
        )
