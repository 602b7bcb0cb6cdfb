"""Laws of quadratics with kinks and walls: what is found holds the optimality conditions, and is no higher than the start."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.kernels.kinked import Kinks, minimised, unfolded

sizes, seeds = st.integers(1, 25), st.integers(0, 2**32 - 1)


def problem(seed: int, n: int, rank: int):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((rank + n // 2, n)) * 10.0 ** rng.uniform(-2, 2, n)
    h = root.T @ root + 1e-2 * np.diag((root * root).sum(0) + 1e-9)
    l1 = np.where(rng.random(n) < 0.3, 0.0, rng.exponential(1.0, n))
    lower, upper = np.where(rng.random(n) < 0.2, -0.5, -np.inf), np.where(rng.random(n) < 0.2, 0.3, np.inf)
    x = np.clip(np.where(rng.random(n) < 0.5, 0.0, rng.standard_normal(n)), lower, upper)
    return h, 3 * rng.standard_normal(n), Kinks(l1, lower, upper), x


def value(h, slope, kinks, x, v) -> float:
    return float(slope @ (v - x) + 0.5 * (v - x) @ h @ (v - x) + kinks.l1 @ abs(v))


@settings(deadline=None, max_examples=60)
@given(seeds, sizes, st.integers(1, 40))
def test_the_conditions_hold(seed, n, rank):
    h, slope, kinks, x = problem(seed, n, rank)
    v = minimised(h, slope, kinks, x)
    assert (v >= kinks.lower).all() and (v <= kinks.upper).all()
    assert value(h, slope, kinks, x, v) <= value(h, slope, kinks, x, x) + 1e-12 * abs(value(h, slope, kinks, x, x))
    g = slope + h @ (v - x)
    down, up = g - np.where(v > 0, -1, 1) * kinks.l1, g + np.where(v < 0, -1, 1) * kinks.l1  # slopes to the left and right
    unit = np.sqrt(np.diag(h))
    scale = 1e-6 * (1 + abs(slope / unit).max() + (unit * abs(v - x)).max())
    assert ((down <= scale * unit) | (v <= kinks.lower)).all()
    assert ((up >= -scale * unit) | (v >= kinks.upper)).all()


@given(seeds, sizes)
def test_a_rise_is_the_difference_of_sizes(seed, n):
    *_, kinks, x = problem(seed, n, 3)
    step = np.random.default_rng(seed + 1).standard_normal(n)
    np.testing.assert_allclose(kinks.rise(x, step), kinks.l1 * (abs(x + step) - abs(x)), atol=1e-14)


@given(seeds, sizes)
def test_a_triangle_unfolds(seed, n):
    a = np.random.default_rng(seed).standard_normal((n, n))
    np.testing.assert_array_equal(unfolded((a + a.T)[np.triu_indices(n)], n), a + a.T)
