"""Laws of semidefinite systems: what is solved is solved, in any units, and what depends on the rest stays 0."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.kernels.definite import solved

sizes, seeds = st.integers(1, 40), st.integers(0, 2**32 - 1)


def problem(rng, n, rank):
    root = rng.standard_normal((rank, n)) * 10.0 ** rng.uniform(-6, 6, n)
    return root.T @ root, root.T @ rng.standard_normal(rank)


@settings(deadline=None, max_examples=60)
@given(seeds, sizes, st.integers(0, 50), st.sampled_from([0.0, 1e-3, 1e6]))
def test_the_equations_hold(seed, n, rank, ridge):
    rng = np.random.default_rng(seed)
    a, b = problem(rng, n, rank)
    z = solved(a[np.triu_indices(n)], np.full(n, ridge), b)
    a += ridge * np.eye(n)
    unit = np.sqrt(np.diag(a))
    left = (a @ z - b) / np.where(unit > 0, unit, 1)
    assert abs(left).max(initial=0) <= 1e-7 * (1 + abs(unit * z).max(initial=0))
    assert np.count_nonzero(z) <= max(rank, n * (ridge > 0))


@settings(deadline=None, max_examples=20)
@given(seeds, sizes)
def test_a_column_twice_is_used_once(seed, n):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((n + 3, n))
    root = np.hstack([root, root])
    a = root.T @ root
    z = solved(a[np.triu_indices(2 * n)], np.zeros(2 * n), a @ rng.standard_normal(2 * n))
    assert not z[n:].any()
