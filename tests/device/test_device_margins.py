"""Laws of the GPU's row-wise kernels: they are those of the host's."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import special

from mpiopt.errors import UsageError
from mpiopt.kernels import device, host, margins

few = settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
seeds = st.integers(0, 2**32 - 1)
counts = st.integers(0, 2200)
vectors = st.sampled_from(["f8", "f4"])
NEAR = {"f8": {"rtol": 1e-12, "atol": 1e-14}, "f4": {"rtol": 2e-5, "atol": 1e-6}}


def rows(seed, count, weighted, scale, vector):
    rng = np.random.default_rng(seed)
    y = rng.choice([-1.0, 1.0], count).astype(vector)
    w = rng.uniform(0, 2, count).astype(vector) if weighted else np.empty(0, vector)
    return rng, (scale * rng.normal(size=count)).astype(vector), y, w


@few
@given(seeds, counts, st.booleans(), st.floats(0, 40), vectors)
def test_logistic_equals_the_hosts(xp, seed, count, weighted, scale, vector):
    _, m, y, w = rows(seed, count, weighted, scale, vector)
    theirs, ours, on = np.empty(count), xp.empty(count, vector), [xp.asarray(v) for v in (m, y, w)]
    wide = [v.astype("f8") for v in (m, y, w)]
    np.testing.assert_allclose(device.logistic(*on, ours), host.logistic(*wide, theirs), rtol=1e-12)
    np.testing.assert_allclose(ours.get(), theirs, **NEAR[vector])
    host.curvature(wide[0], wide[2], theirs)
    device.curvature(on[0], on[2], ours)
    np.testing.assert_allclose(ours.get(), theirs, **NEAR[vector])


def test_margins_of_any_size(xp):
    m = np.array([0.0, -0.0, 800, -800, 1e300, -1e300, np.inf, 36, -36])
    y, residual = np.where(np.arange(m.size) % 2, 1.0, -1.0), xp.empty(m.size)
    value = device.logistic(xp.asarray(m[:6]), xp.asarray(y[:6]), xp.empty(0), residual[:6])
    np.testing.assert_allclose(value, np.logaddexp(0, -y * m)[:6].sum(), rtol=1e-14)
    assert device.logistic(xp.asarray(m), xp.asarray(y), xp.empty(0), residual) == np.inf
    np.testing.assert_allclose(residual.get(), -y * special.expit(-y * m), rtol=1e-14)
    assert np.isnan(device.logistic(xp.asarray(np.array([np.nan])), xp.ones(1), xp.empty(0), xp.empty(1)))


@few
@given(seeds, counts, st.booleans(), vectors)
def test_least_squares(xp, seed, count, weighted, vector):
    rng, m, _, w = rows(seed, count, weighted, 3, vector)
    y, residual = rng.normal(size=count).astype(vector), xp.empty(count, vector)
    error, ones = m.astype("f8") - y, w.astype("f8") if weighted else np.ones(count)
    found = device.least_squares(xp.asarray(m), xp.asarray(y), xp.asarray(w), residual)
    np.testing.assert_allclose(found, 0.5 * ones @ error**2, rtol=1e-12)
    np.testing.assert_allclose(residual.get(), ones * error, **NEAR[vector])


@few
@given(seeds, st.integers(1, 3000), st.integers(0, 6), st.booleans(), st.sampled_from(["plane", "plane_squares"]), vectors)
def test_plane_equals_the_hosts(xp, seed, count, k, weighted, name, vector):
    rng, m, y, w = rows(seed, count, weighted, 2, vector)
    p, c = rng.normal(size=(k, count)).astype(vector), 0.3 * rng.normal(size=k)
    theirs = getattr(host, name)(*(v.astype("f8") for v in (m, p)), c, *(v.astype("f8") for v in (y, w)))
    ours = getattr(device, name)(*map(xp.asarray, (m, p)), c, *map(xp.asarray, (y, w)))
    assert isinstance(ours, np.ndarray)
    exact = 1e-11 if vector == "f8" or 1 <= k <= 4 else 1e-5
    np.testing.assert_allclose(ours, theirs, rtol=exact, atol=exact * count)


@few
@given(seeds, counts, st.booleans(), st.floats(1e-2, 20), st.floats(1e-6, 20))
def test_bregman_equals_the_hosts(xp, seed, count, weighted, scale, step):
    rng, m, y, w = rows(seed, count, weighted, scale, "f8")
    delta = step * rng.normal(size=count)
    ours = device.bregman(*map(xp.asarray, (m, delta, y, w)))
    np.testing.assert_allclose(ours, margins.bregman(m, delta, y, w), rtol=1e-11, atol=1e-300)


def test_bregman_far_out(xp):
    """Where exponentials overflow, the plain difference of losses is exact enough."""
    one, none = xp.ones(1), xp.empty(0)
    for m in (-2000.0, -700, -30, 0, 30, 700, 2000):
        for d in (-4000.0, -1500, -600, 600, 1500, 4000):
            far = np.longdouble(m)
            direct = np.logaddexp(0, -far - d) - np.logaddexp(0, -far) + d * np.exp(-np.logaddexp(0, far))
            ours = device.bregman(xp.asarray(np.array([float(m)])), xp.asarray(np.array([float(d)])), one, none)
            np.testing.assert_allclose(ours, float(direct), rtol=1e-12, atol=1e-12 * abs(d))


def test_small_differences_of_large_sums_survive(xp):
    """A million terms: the sum is within a few units of the last place, and the same bits on every call."""
    n = 1_000_003
    terms = np.random.default_rng(0).uniform(0.5, 1, n)
    a, one = xp.asarray(terms), xp.ones(n)
    from math import fsum

    found = [device.inner(a, one) for _ in range(2)]
    assert found[0] == found[1]
    assert abs(found[0] - fsum(terms)) <= 2 * np.spacing(found[0])


def test_lengths_and_types_must_agree(xp):
    with pytest.raises(UsageError, match="must agree"):
        device.logistic(xp.ones(4), xp.ones(5), xp.empty(0), xp.empty(4))
    with pytest.raises(UsageError, match="must agree"):
        device.logistic(xp.ones(4), xp.ones(4, np.float32), xp.empty(0), xp.empty(4))
    with pytest.raises(UsageError, match="must agree"):
        device.logistic(xp.ones(4), xp.ones(4), xp.empty(0), xp.empty(0))
    with pytest.raises(UsageError, match="contiguous"):
        device.inner(xp.ones(8)[::2], xp.ones(4))
    with pytest.raises(UsageError, match="float32 or float64"):
        device.inner(xp.ones(4, np.int32), xp.ones(4, np.int32))
