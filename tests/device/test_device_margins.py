"""Laws of the GPU's row-wise kernels, of every loss: they are those of the host's."""

from math import fsum

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import special

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.kernels import device
from mpiopt.losses.family import Family
from mpiopt.losses.labels import COUNTS
from mpiopt.losses.logistic import Logistic
from mpiopt.losses.registry import catalogue, find

few = settings(deadline=None, max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
losses = pytest.mark.parametrize("name", catalogue())
vectors = st.sampled_from(["f8", "f4"])
NEAR = {"f8": {"rtol": 1e-12, "atol": 1e-14}, "f4": {"rtol": 2e-5, "atol": 1e-6}}


def rows(family, seed, count, weighted, scale, vector):
    rng = np.random.default_rng(seed)
    y = 2 * rng.standard_normal(count)
    y = np.where(y > 0, 1.0, -1.0) if family.labels.classes else np.floor(abs(y)) if family.labels is COUNTS else y
    w = rng.uniform(0, 2, count).astype(vector) if weighted else np.empty(0, vector)
    return rng, (scale * rng.normal(size=count)).astype(vector), y.astype(vector), w


@losses
@few
@given(st.integers(0, 2**32 - 1), st.integers(0, 2200), st.booleans(), st.sampled_from([0.0, 1.0, 20.0]), vectors)
def test_rows_equal_the_hosts(xp, name, seed, count, weighted, scale, vector):
    family = find(name)
    rng, m, y, w = rows(family, seed, count, weighted, scale, vector)
    on, wide = [xp.asarray(v) for v in (m, y, w)], [v.astype("f8") for v in (m, y, w)]
    (value, residual), (theirs, expected) = family.value_residual(*on), family.value_residual(*wide)
    np.testing.assert_allclose(value, theirs, rtol=1e-12)
    near = NEAR[vector] if name != "poisson" else {"rtol": NEAR[vector]["rtol"], "atol": 1e-9 if vector == "f8" else 1e-3}
    np.testing.assert_allclose(residual.get(), expected, **near)
    np.testing.assert_allclose(family.curvature(*on).get(), family.curvature(*wide), **near)
    if vector == "f8":
        scaled = rng.random(count)
        theirs = family.conjugates(*wide, scaled)
        np.testing.assert_allclose(family.conjugates(*on, xp.asarray(scaled)), theirs, rtol=1e-10, atol=1e-10 * (1 + count))
        delta = 0.1 * scale * rng.normal(size=count)
        theirs = family.bregman(wide[0], delta, *wide[1:])
        np.testing.assert_allclose(family.bregman(on[0], xp.asarray(delta), *on[1:]), theirs, rtol=1e-10, atol=1e-300)


@losses
@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 3000), st.integers(0, 6), st.booleans(), vectors)
def test_plane_equals_the_hosts(xp, name, seed, count, k, weighted, vector):
    family = find(name)
    rng, m, y, w = rows(family, seed, count, weighted, 2, vector)
    p, c = rng.normal(size=(k, count)).astype(vector), 0.3 * rng.normal(size=k)
    theirs = family.plane(*(v.astype("f8") for v in (m, p)), c, *(v.astype("f8") for v in (y, w)))
    ours = family.plane(*map(xp.asarray, (m, p)), c, *map(xp.asarray, (y, w)))
    assert isinstance(ours, np.ndarray)
    exact = 1e-11 if vector == "f8" or 1 <= k <= 4 else 1e-4
    np.testing.assert_allclose(ours, theirs, rtol=exact, atol=exact * count * (1 + abs(theirs[0]) / count))


def test_a_loss_without_cuda_says_so(xp):
    with pytest.raises(CapabilityError, match="no lines of CUDA"):
        Family.value_residual(type("Bare", (Family,), {"name": "bare"})(), xp.ones(2), xp.ones(2), xp.empty(0))


def test_margins_of_any_size(xp):
    loss = Logistic().device()
    m = np.array([0.0, -0.0, 800, -800, 1e300, -1e300, np.inf, 36, -36])
    y, residual = np.where(np.arange(m.size) % 2, 1.0, -1.0), xp.empty(m.size)
    value = loss.value_residual(xp.asarray(m[:6]), xp.asarray(y[:6]), xp.empty(0), residual[:6])
    np.testing.assert_allclose(value, np.logaddexp(0, -y * m)[:6].sum(), rtol=1e-14)
    assert loss.value_residual(xp.asarray(m), xp.asarray(y), xp.empty(0), residual) == np.inf
    np.testing.assert_allclose(residual.get(), -y * special.expit(-y * m), rtol=1e-14)
    assert np.isnan(loss.value_residual(xp.asarray(np.array([np.nan])), xp.ones(1), xp.empty(0), xp.empty(1)))


def test_bregman_far_out(xp):
    """Where exponentials overflow, the plain difference of losses is exact enough."""
    one, none, loss = xp.ones(1), xp.empty(0), Logistic().device()
    for m in (-2000.0, -700, -30, 0, 30, 700, 2000):
        for d in (-4000.0, -1500, -600, 600, 1500, 4000):
            far = np.longdouble(m)
            direct = np.logaddexp(0, -far - d) - np.logaddexp(0, -far) + d * np.exp(-np.logaddexp(0, far))
            ours = loss.bregman(xp.asarray(np.array([float(m)])), xp.asarray(np.array([float(d)])), one, none)
            np.testing.assert_allclose(ours, float(direct), rtol=1e-12, atol=1e-12 * abs(d))


def test_small_differences_of_large_sums_survive(xp):
    """A million terms: the sum is within a few units of the last place, and the same bits on every call."""
    n = 1_000_003
    terms = np.random.default_rng(0).uniform(0.5, 1, n)
    a, one = xp.asarray(terms), xp.ones(n)
    found = [device.inner(a, one) for _ in range(2)]
    assert found[0] == found[1]
    assert abs(found[0] - fsum(terms)) <= 2 * np.spacing(found[0])


def test_lengths_and_types_must_agree(xp):
    loss = Logistic().device()
    with pytest.raises(UsageError, match="must agree"):
        loss.value_residual(xp.ones(4), xp.ones(5), xp.empty(0), xp.empty(4))
    with pytest.raises(UsageError, match="must agree"):
        loss.value_residual(xp.ones(4), xp.ones(4, np.float32), xp.empty(0), xp.empty(4))
    with pytest.raises(UsageError, match="must agree"):
        loss.value_residual(xp.ones(4), xp.ones(4), xp.empty(0), xp.empty(0))
    with pytest.raises(UsageError, match="contiguous"):
        device.inner(xp.ones(8)[::2], xp.ones(4))
    with pytest.raises(UsageError, match="float32 or float64"):
        device.inner(xp.ones(4, np.int32), xp.ones(4, np.int32))
