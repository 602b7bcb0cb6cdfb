"""Laws of every penalty: prox is the minimiser it says, firmly nonexpansive, and the residual vanishes at its fixed points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpiopt.errors import UsageError
from mpiopt.numerics.newton import unpack
from mpiopt.problems.penalties import L1, L2, Box, ElasticNet, Zero, along

numbers = st.floats(-5, 5, allow_subnormal=False)
vectors = st.integers(2, 6).flatmap(lambda n: st.tuples(*[arrays(float, n, elements=numbers)] * 2))
weights = st.floats(0, 3, allow_subnormal=False)
penalties = st.one_of(
    st.builds(ElasticNet, weights, weights, st.integers(0, 1)),
    st.builds(lambda low, width, l2, free: Box(low, low + width, l2, free), numbers, weights, weights, st.integers(0, 1)),
)
steps = st.floats(0.01, 10)


@given(penalties, vectors, steps)
def test_prox_minimises_what_it_says(penalty, pair, step):
    z, other = pair

    def objective(x):
        return penalty.value(x) + (x - z) @ (x - z) / (2 * step)

    best = objective(penalty.prox(z, step))
    if isinstance(penalty, Box):
        end = z.size - penalty.free
        other[:end] = np.clip(other[:end], penalty.lower, penalty.upper)
    for candidate in (other, penalty.prox(z, step) + 1e-4 * (other - penalty.prox(z, step))):
        assert best <= objective(candidate) + 1e-9 * (1 + abs(best))


@given(penalties, vectors, steps)
def test_prox_is_firmly_nonexpansive(penalty, pair, step):
    a, b = pair
    moved = penalty.prox(a, step) - penalty.prox(b, step)
    assert moved @ moved <= moved @ (a - b) + 1e-9


@given(penalties, vectors, steps)
def test_residual_vanishes_at_a_fixed_point(penalty, pair, step):
    x = penalty.prox(pair[0], step)
    g = (pair[0] - x) / step - 0  # z - x = step * subgradient, so g = -(subgradient) makes x stationary
    np.testing.assert_allclose(penalty.residual(x, -g), 0, atol=1e-9 * (1 + abs(g).max()))


@given(st.floats(0, 3), st.integers(0, 1), vectors)
def test_the_smooth_part_seen_in_a_plane_is_the_penalty(l2, free, pair):
    x, d = pair
    penalty = L2(l2, free)
    places = [(0, 0), (1, 0), (0, 1), (0, 2), (1, 2)]
    found = penalty.l2 * np.array([0.0, *(float(a @ b) for a, b in along(penalty, x, [d, x], places))])
    _, gradient, hessian = unpack(found, 2)
    c = np.array([0.3, -0.7])
    expected = penalty.value(x + c[0] * d + c[1] * x)
    assert penalty.value(x) + gradient @ c + 0.5 * c @ hessian @ c == pytest.approx(expected, abs=1e-9)


@given(vectors)
def test_the_intercept_is_free(pair):
    z = pair[0]
    for penalty in (L1(2.0, 1), L2(2.0, 1), Box(0, 1, 0, 1), Zero(1)):
        assert penalty.prox(z, 0.5)[-1] == z[-1]
        assert penalty.residual(z, np.zeros_like(z))[-1] == 0
        assert penalty.support(z)[-1]


@pytest.mark.parametrize("make", [lambda: L2(-1), lambda: L1(float("nan")), lambda: Box(2, 1), lambda: L2(float("inf"))])
def test_impossible_penalties_are_refused(make):
    with pytest.raises(UsageError):
        make()
