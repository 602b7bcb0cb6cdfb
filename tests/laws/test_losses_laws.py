"""Laws of every registered loss: derivatives, convexity, constants, conjugates, and kernels that agree with them."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, sparse

from mpiopt.kernels.csr import CSR
from mpiopt.losses.family import Family
from mpiopt.losses.labels import COUNTS
from mpiopt.losses.registry import catalogue, find
from mpiopt.problems.linear import Linear

few = settings(deadline=None, max_examples=20)
seeds = st.integers(0, 2**32 - 1)
LOSSES = [*catalogue(), "huber:delta=0.3"]
losses = pytest.mark.parametrize("text", LOSSES)
margins = st.floats(-6, 6)
GAUSS = np.polynomial.legendre.leggauss(30)


def labels(family: Family):
    """One label that the loss takes."""
    if family.labels.classes:
        return st.sampled_from([-1.0, 1.0])
    return st.integers(0, 9).map(float) if family.labels is COUNTS else st.floats(-5, 5)


def rows(family: Family, seed: int, count: int):
    rng = np.random.default_rng(seed)
    y = 2 * rng.standard_normal(count)
    y = np.where(y > 0, 1.0, -1.0) if family.labels.classes else np.floor(abs(y)) if family.labels is COUNTS else y
    return rng, 2 * rng.standard_normal(count), y, rng.uniform(0, 2, count) * (rng.random(count) > 0.2)


def scalars(family: Family):
    """value, slope, bend and conjugate as functions of two numbers."""
    theta = family.theta
    return [lambda a, y, f=f: f(a, y, *theta) for f in (family.value, family.slope, family.bend, family.conjugate)]


@losses
@few
@given(data=st.data(), m=margins)
def test_derivatives_are_differences(text, data, m):
    family = find(text)
    y, step = data.draw(labels(family)), 1e-5
    value, slope, bend, _ = scalars(family)
    assert slope(m, y) == pytest.approx((value(m + step, y) - value(m - step, y)) / (2 * step), rel=1e-5, abs=2e-5)
    ahead, behind = bend(m + 2 * step, y), bend(m - 2 * step, y)
    assume(abs(ahead - behind) <= 1e-3 * abs(ahead + behind))  # a kink of the slope
    assert bend(m, y) == pytest.approx((slope(m + step, y) - slope(m - step, y)) / (2 * step), rel=1e-5, abs=1e-6)


@losses
@few
@given(data=st.data(), m=margins, other=margins, part=st.floats(0, 1))
def test_it_is_convex_within_its_constants(text, data, m, other, part):
    family = find(text)
    y = data.draw(labels(family))
    value, slope, bend, _ = scalars(family)
    blend = value(part * m + (1 - part) * other, y)
    chord = part * value(m, y) + (1 - part) * value(other, y)
    assert blend <= chord + 1e-10 * (1 + abs(chord))
    assert 0 <= bend(m, y) <= family.curvature_bound * (1 + 1e-12)
    assert abs(slope(m, y) - slope(other, y)) <= family.curvature_bound * abs(m - other) * (1 + 1e-9) + 1e-12 or m == other
    if family.concordance is not None:  # |log bend| then changes by at most M a unit
        assert abs(math.log(bend(m, y) / bend(other, y))) <= family.concordance * abs(m - other) + 1e-9


@losses
@few
@given(data=st.data(), m=margins, u=st.floats(-3, 3))
def test_the_conjugate_is_the_supremum(text, data, m, u):
    family = find(text)
    y = data.draw(labels(family))
    value, slope, _, conjugate = scalars(family)
    assert value(m, y) + conjugate(slope(m, y), y) == pytest.approx(m * slope(m, y), rel=1e-9, abs=1e-9)  # Fenchel and Young
    assert conjugate(u, y) >= u * m - value(m, y) - 1e-9
    far = optimize.minimize_scalar(lambda t: value(t, y) - u * t, bounds=(-500, 500), method="bounded", options={"xatol": 1e-9})
    if abs(far.x) < 490:
        assert conjugate(u, y) == pytest.approx(-far.fun, rel=1e-6, abs=1e-6)
    elif abs(far.fun) > 50:
        assert conjugate(u, y) == math.inf
    assert math.isfinite(conjugate(0.5 * slope(m, y), y))  # certificates shrink residuals


@losses
@few
@given(seed=seeds, count=st.integers(0, 600), k=st.integers(0, 3), weighted=st.booleans())
def test_kernels_add_up_the_scalar_functions(text, seed, count, k, weighted):
    family = find(text)
    rng, m, y, w = rows(family, seed, count)
    value, slope, bend, conjugate = (np.vectorize(f, otypes=[float]) for f in scalars(family))
    given = w if weighted else np.empty(0)
    w = w if weighted else np.ones(count)
    near = {"rtol": 1e-11, "atol": 1e-11 * (1 + count)}
    total, residual = family.value_residual(m, y, given)
    np.testing.assert_allclose(total, w @ value(m, y), **near)
    np.testing.assert_allclose(residual, w * slope(m, y), **near)
    np.testing.assert_allclose(family.curvature(m, y, given), w * bend(m, y), **near)
    scale = rng.random(count)
    np.testing.assert_allclose(family.conjugates(m, y, given, scale), w @ conjugate(scale * slope(m, y), y), **near)
    p, c = rng.standard_normal((k, count)), 0.3 * rng.standard_normal(k)
    t = m + c @ p
    hessian = (p * (w * bend(t, y))) @ p.T
    expected = [w @ value(t, y), *(p @ (w * slope(t, y))), *hessian[np.triu_indices(k)]]
    np.testing.assert_allclose(family.plane(m, p, c, y, given), expected, **near)


@losses
@few
@given(seed=seeds, count=st.integers(0, 40), scale=st.sampled_from([3.0, 0.1, 1e-4]))
def test_bregman_does_not_cancel(text, seed, count, scale):
    family = find(text)
    rng, m, y, w = rows(family, seed, count)
    delta = scale * rng.standard_normal(count)
    found = family.bregman(m, delta, y, w)
    expected = sum(a * rise(family, *row) for a, *row in zip(w, m, delta, y, strict=True))
    assert 0 <= found == pytest.approx(float(expected), rel=1e-9, abs=1e-17)


def rise(family: Family, m: float, d: float, y: float):
    """value(m + d) - value(m) - slope(m) d: with 19 digits, or the integral of the second derivative where that is smooth."""
    if family.concordance is None:
        value, slope, _, _ = scalars(family)
        m, d = np.longdouble(m), np.longdouble(d)
        return value(m + d, y) - value(m, y) - slope(m, y) * d
    t, weight = GAUSS
    bends = [family.bend(m + (s + 1) / 2 * d, y) for s in t]
    return d * d * (weight * (1 - t) / 4) @ bends


@pytest.mark.parametrize("text", [text for text in LOSSES if find(text).descends])
@few
@given(seed=seeds, count=st.integers(1, 50), log_ridge=st.floats(-1.5, 0), intercept=st.booleans())
def test_dual_descent_closes_its_gap(text, seed, count, log_ridge, intercept):
    """The dual objective never falls; the gap's terms are not negative and vanish together with the primal gradient."""
    family = find(text)
    rng, _, y, w = rows(family, seed, count)
    w[0] = 1.0
    made = sparse.random(count, 6, 0.5, "csr", np.float64, rng)
    linear = Linear(CSR.of(made.indptr, made.indices, made.data, made.shape), y, family, w, intercept)
    ridge, q = 10.0**log_ridge, 0.1 * rng.standard_normal(linear.dim)
    bias = ridge if intercept else 0.0
    alpha = family.dual_variables(rng.standard_normal(count), y)
    signed = alpha * y if family.labels.classes else alpha

    def dual(alpha, z):
        signed = alpha * y if family.labels.classes else alpha
        conjugate = [family.conjugate(-a, b, *family.theta) for a, b in zip(signed, y, strict=True)]
        return -(w @ conjugate) / linear.weight - 0.5 * ridge * z @ z

    value = np.vectorize(lambda m, b: family.value(m, b, *family.theta), otypes=[float])
    z = linear.dual_point(alpha, q, ridge, bias)
    m = linear.margins(z)
    conjugates = [family.conjugate(-a, b, *family.theta) for a, b in zip(signed, y, strict=True)]
    direct = w @ (value(m, y) + conjugates + signed * m)
    assert family.dual_gaps(m, y, w, alpha) == pytest.approx(direct, rel=1e-7, abs=1e-9 * (1 + abs(direct)))
    before = dual(alpha, z)
    for seed_of_call in range(3):
        linear.dual_descent(alpha, z, ridge, bias, seed_of_call, 1, 0.0)
        z = linear.dual_point(alpha, q, ridge, bias)
        after = dual(alpha, z)
        assert math.isfinite(after) and after >= before - 1e-10 * (1 + abs(before))
        before = after
    linear.dual_descent(alpha, z, ridge, bias, 7, 3000, 1e-26)
    slope = linear.value_grad(linear.point(z))[1] + ridge * z - q
    assert np.abs(slope).max() <= 1e-5


def test_poisson_far_out_is_infinite_and_never_nan():
    family = find("poisson")
    m, y, w = np.array([800.0, -800.0]), np.array([3.0, 0.0]), np.empty(0)
    value, residual = family.value_residual(m, y, w)
    assert value == math.inf and not np.isnan(residual).any()
    assert family.plane(m, np.ones((1, 2)), np.zeros(1), y, w)[0] == math.inf
    assert family.bregman(np.zeros(2), m, y, w) == math.inf
