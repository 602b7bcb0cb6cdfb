"""Multinomial regression on sparse rows: its calculus, its optimum against scikit-learn's, its certificate."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import UsageError
from mpiopt.kernels.csr import CSR
from mpiopt.methods import find
from mpiopt.problems.certificate import certify
from mpiopt.problems.multinomial import Multinomial
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.protocols import Margins, offers

CLASSES, FEATURES, ROWS = 4, 9, 150


def rows(seed: int = 0, weighted: bool = True):
    rng = np.random.default_rng(seed)
    a = scipy.sparse.random(ROWS, FEATURES, 0.4, "csr", rng=rng, data_rvs=rng.standard_normal)
    y = (a @ rng.standard_normal((FEATURES, CLASSES)) + rng.gumbel(size=(ROWS, CLASSES))).argmax(1)
    return a, y.astype(np.int64), rng.integers(0, 4, ROWS).astype(float) if weighted else np.empty(0)


def loss_of(a, y, w, cut: slice, intercept: bool) -> Multinomial:
    part = a[cut]
    matrix = CSR.of(part.indptr, part.indices, part.data, part.shape)
    return Multinomial(matrix, y[cut], CLASSES, w[cut] if w.size else w, intercept)


def team(world: World, l2: float, intercept: bool, weighted: bool = True) -> Team[Multinomial]:
    found, bounds = rows(weighted=weighted), even(ROWS, world.workers)
    losses = [loss_of(*found, slice(bounds[k], bounds[k + 1]), intercept) for k in world.hosted]
    return Team.of(world, losses, L2(l2, free=CLASSES * intercept))


def objective(x: np.ndarray, l2: float, intercept: bool, weighted: bool = True) -> float:
    """Straight from the definition."""
    a, y, w = rows(weighted=weighted)
    w = w if weighted else np.ones(ROWS)
    inner = x[: FEATURES * CLASSES]
    m = a @ inner.reshape(FEATURES, CLASSES) + (x[-CLASSES:] if intercept else 0)
    return float(w @ (logsumexp(m, axis=1) - m[np.arange(ROWS), y]) / w.sum() + l2 / 2 * inner @ inner)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([1e-6, 1e-2, 1.0, 100.0]))
def test_its_calculus_is_its_values(seed, intercept, far):
    rng, loss = np.random.default_rng(seed), loss_of(*rows(seed), slice(None), intercept)
    assert offers(loss, Margins)
    x, step = rng.standard_normal(loss.dim), far * rng.standard_normal((2, loss.dim))
    at = loss.point(x)
    value, slope = loss.value_grad(at)
    there = loss.point(x + step[0])
    rise = loss.value_grad(there)[0] - value - slope @ step[0]
    curved = step[0] @ loss.hessian(at)(step[0]) / 2
    assert loss.bregman(at, there.margins) == pytest.approx(rise, abs=1e-12 * (1 + abs(value) + abs(slope @ step[0])))
    if far == 1e-6:
        assert loss.bregman(at, there.margins) == pytest.approx(curved, rel=1e-4)
    sums = loss.plane(at, np.array([loss.margins(one) for one in step]), np.array([1.0, 0.0]))
    value, slope = loss.value_grad(there)
    product = loss.hessian(there)
    wanted = [value, *(step @ slope), step[0] @ product(step[0]), step[0] @ product(step[1]), step[1] @ product(step[1])]
    np.testing.assert_allclose(sums, wanted, rtol=1e-9, atol=1e-10 * far * far)
    unit = np.eye(loss.dim)
    np.testing.assert_allclose(loss.diagonal(at), [one @ loss.hessian(at)(one) for one in unit], atol=1e-12)
    assert loss.value_grad(Point(x))[0] == loss.value_grad(at)[0]


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("intercept", [False, True])
def test_spcg_finds_scikit_learns_optimum(world, intercept):
    linear = pytest.importorskip("sklearn.linear_model")
    l2, (a, y, w) = 1e-2, rows()
    found = solve(find("spcg").make(), part := team(world, l2, intercept), part.zeros(), Stop(rounds=60, gradient=1e-11))
    assert found.reason is Reason.GRADIENT, found.reason_text
    peer = linear.LogisticRegression(C=1 / (l2 * w.sum()), fit_intercept=intercept, tol=1e-12, max_iter=5000).fit(a, y, w)
    theirs = np.append(peer.coef_.T.reshape(-1), peer.intercept_ if intercept else [])
    assert found.certificate.objective == pytest.approx(objective(theirs, l2, intercept), rel=1e-9)
    assert found.certificate.objective == pytest.approx(objective(found.x, l2, intercept), rel=1e-13)


def test_the_certificate_holds(worlds):
    part, rng = team(worlds(workers=2), 1e-2, False), np.random.default_rng(0)
    best = solve(find("spcg").make(), part, part.zeros(), Stop(rounds=60, gradient=1e-12)).x
    least = objective(best, 1e-2, False)
    for far in 10.0 ** rng.uniform(-5, 1, 200):
        x = best + far * rng.standard_normal(best.size)
        assert objective(x, 1e-2, False) - least <= certify(part, x, 10).gap * (1 + 1e-9) + 1e-14


def test_what_is_no_class_is_said():
    a, y, w = rows()
    for wrong in (np.where(y == 3, 4, y), y - 1, y.astype(np.int32)):
        with pytest.raises(UsageError, match="a class from 0 to 3 for each of 150 rows"):
            loss_of(a, wrong, w, slice(None), False)
    with pytest.raises(UsageError, match="weights"):
        loss_of(a, y, -w, slice(None), False)
    with pytest.raises(UsageError, match="1 classes are none"):
        Multinomial(CSR.empty(0, 0, 3), np.zeros(0, np.int64), 1)
