"""Laws of quadratics with lengths of groups: what is found holds the optimality conditions, and is no higher than the start."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.kernels.kinked import Kinks, minimised
from mpiopt.kernels.knotted import Knots

sizes, seeds = st.integers(1, 25), st.integers(0, 2**32 - 1)


def problem(seed: int, n: int, rank: int, groups: int = 6):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((rank + n // 2, n)) * 10.0 ** rng.uniform(-2, 2, n)
    h = root.T @ root + 1e-2 * np.diag((root * root).sum(0) + 1e-9)
    knots = Knots(*np.unique(rng.integers(0, groups, n), return_inverse=True)[::-1])
    lengths = np.where(rng.random(knots.lengths.size) < 0.2, 0.0, rng.exponential(2.0, knots.lengths.size))
    knots = knots._replace(lengths=lengths)
    x = rng.standard_normal(n) * (rng.random(lengths.size) < 0.5)[knots.groups]
    return h, 3 * rng.standard_normal(n), knots, x


def value(h, slope, knots, x, v) -> float:
    return float(slope @ (v - x) + 0.5 * (v - x) @ h @ (v - x) + knots.lengths @ knots.sizes(v))


@settings(deadline=None, max_examples=100)
@given(seeds, sizes, st.integers(1, 40))
def test_the_conditions_hold(seed, n, rank):
    h, slope, knots, x = problem(seed, n, rank)
    v = knots.minimised(h, slope, x)
    assert value(h, slope, knots, x, v) <= value(h, slope, knots, x, x) + 1e-12 * abs(value(h, slope, knots, x, x))
    g, unit = slope + h @ (v - x), np.sqrt(np.diag(h))
    scale = 1e-6 * (1 + abs(slope / unit).max() + (unit * abs(v - x)).max())
    for k, c in enumerate(knots.lengths):
        mine = knots.groups == k
        size = np.linalg.norm(v[mine])
        if size or c == 0:
            wrong = g[mine] + (c * v[mine] / size if c else 0)
            assert (abs(wrong) <= scale * unit[mine]).all()
        else:
            assert np.linalg.norm(g[mine]) <= c * (1 + 1e-9) + scale * unit[mine].max()


@settings(deadline=None, max_examples=40)
@given(seeds, sizes)
def test_groups_of_one_are_kinks(seed, n):
    h, slope, _, x = problem(seed, n, n)
    c = np.random.default_rng(seed).exponential(1.0, n)
    found = Knots(np.arange(n), c).minimised(h, slope, x)
    kinks = Kinks(c, np.full(n, -np.inf), np.full(n, np.inf))
    np.testing.assert_allclose(found, minimised(h, slope, kinks, x), atol=1e-6, rtol=1e-6)


@given(seeds, sizes)
def test_a_rise_is_the_difference_of_lengths(seed, n):
    *_, knots, x = problem(seed, n, 3)
    step = np.random.default_rng(seed + 1).standard_normal(n)
    wanted = knots.lengths * (knots.sizes(x + step) - knots.sizes(x))
    np.testing.assert_allclose(knots.rise(x, step), wanted, atol=1e-13)
    some = np.flatnonzero(np.isin(knots.groups, knots.groups[: n // 2 + 1]))
    np.testing.assert_allclose(knots.at(some).rise(x[some], step[some]).sum(), wanted[np.unique(knots.groups[some])].sum())


@settings(deadline=None, max_examples=40)
@given(seeds, sizes, st.sampled_from([(-900, 0), (900, 0), (0, -450), (0, 450), (-505, -450), (505, 450), (505, -450)]))
def test_units_change_nothing(seed, n, powers):
    power, curved = powers
    h, slope, knots, x = problem(seed, n, n)
    there = Knots(knots.groups, np.ldexp(knots.lengths, power + curved))
    found = there.minimised(np.ldexp(h, curved * 2), np.ldexp(slope, power + curved), np.ldexp(x, power - curved))
    np.testing.assert_array_equal(np.ldexp(found, curved - power), knots.minimised(h, slope, x))


@settings(deadline=None)
@given(seeds, sizes, st.sampled_from([-900, 900]))
def test_lengths_and_rises_have_no_largest_unit(seed, n, power):
    *_, knots, x = problem(seed, n, 3)
    step = np.random.default_rng(seed + 1).standard_normal(n)
    far, farther = np.ldexp(x, power), np.ldexp(step, power)
    np.testing.assert_array_equal(np.ldexp(knots.sizes(far), -power), knots.sizes(x))
    np.testing.assert_array_equal(np.ldexp(knots.rise(far, farther), -power), knots.rise(x, step))
