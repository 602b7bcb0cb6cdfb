"""Laws of the group lasso: its prox is one, groups of one are an l1 penalty, conjugate and residual are what they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.errors import UsageError
from mpiopt.problems.grouped import GroupLasso
from mpiopt.problems.penalties import ElasticNet, portion

seeds, steps = st.integers(0, 2**32 - 1), st.sampled_from([0.01, 0.3, 1.0, 7.0])
penalties = st.builds(
    lambda groups, lam, l2, free: GroupLasso.of(lam, groups, l2, free),
    st.lists(st.integers(0, 4), min_size=1, max_size=12),
    st.floats(1e-3, 3),
    st.sampled_from([0.0, 0.5]),
    st.integers(0, 1),
)


def vectors(penalty, seed, count=2):
    """With groups that are 0."""
    rng, n = np.random.default_rng(seed), penalty.groups.size
    found = 2 * rng.standard_normal((count, n + penalty.free))
    found[:, :n] *= (rng.random((count, penalty.sizes.size)) < 0.6)[:, penalty.groups]
    return found


@given(penalties, seeds)
def test_the_value_is_what_the_formula_says(penalty, seed):
    (x,) = vectors(penalty, seed, 1)
    inner = x[: penalty.groups.size]
    blocks = [inner[penalty.groups == g] for g in range(penalty.sizes.size)]
    told = penalty.group_l1 * sum(np.sqrt(len(b)) * np.linalg.norm(b) for b in blocks) + penalty.l2 / 2 * inner @ inner
    assert penalty.value(x) == pytest.approx(told)
    cuts = [slice(0, 1), slice(1, x.size // 2 + 1), slice(x.size // 2 + 1, x.size)]
    assert sum(portion(penalty, x, cut) for cut in cuts if cut.start <= cut.stop) == pytest.approx(told)
    assert ((penalty.support(x) == 0) == (np.append((penalty.lengths(x) == 0)[penalty.groups], [False] * penalty.free))).all()


@given(penalties, seeds, steps)
def test_the_prox_minimises_what_it_says(penalty, seed, step):
    """(z - prox) / step is a subgradient at prox, which is so at the minimiser alone."""
    z, other = vectors(penalty, seed)
    x = penalty.prox(z, step)
    np.testing.assert_allclose(penalty.residual(x, (x - z) / step), 0, atol=1e-12 * (1 + 1 / step))
    assert (
        penalty.value(x) + (x - z) @ (x - z) / (2 * step)
        <= penalty.value(other) + (other - z) @ (other - z) / (2 * step) + 1e-9
    )
    moved = x - penalty.prox(other, step)
    assert moved @ moved <= moved @ (z - other) + 1e-9
    assert (penalty.prox(z, 0.0) == z).all()


@given(penalties, seeds, seeds)
def test_the_residual_is_the_shortest_subgradient(penalty, seed, other):
    """Its scalar product with any direction is at most the directional derivative, and with minus itself its square, less."""
    x, g = vectors(penalty, seed)
    found = penalty.residual(x, g)

    def slope(d):
        h = 1e-7
        return (penalty.value(x + h * d) - penalty.value(x)) / h + g @ d

    for d in (*vectors(penalty, other), -found):
        assert slope(d) >= found @ d - 1e-5 * (1 + d @ d) * (1 + 1 / max(penalty.lengths(x)[penalty.lengths(x) > 0], default=1))
    assert slope(-found) <= -found @ found + 1e-4 * (1 + found @ found) * (1 + 1 / _least(penalty, x))


def _least(penalty, x):
    lengths = penalty.lengths(x)
    return min(lengths[lengths > 0], default=1.0)


@given(penalties, seeds)
def test_the_conjugate_is_one(penalty, seed):
    """Fenchel: x.u <= penalty(x) + penalty*(u), and equal where u is a subgradient at x."""
    x, u = vectors(penalty, seed)
    u[penalty.groups.size :] = 0
    x[penalty.groups.size :] = 0
    assert x @ u <= penalty.value(x) + penalty.conjugate(u) + 1e-9
    held = -penalty.residual(x, np.zeros_like(x))  # minus the shortest subgradient at x
    within = -held * (1 - 1e-14) if not penalty.l2 else -held
    assert penalty.value(x) + penalty.conjugate(within) == pytest.approx(x @ -held, abs=1e-9)
    if not penalty.l2:
        edge = u / max(penalty.steepness(u).max() / penalty.group_l1, 1e-300)
        assert penalty.conjugate(0.999 * edge) == 0 and (not u.any() or penalty.conjugate(1.001 * edge) == np.inf)


@given(st.integers(1, 8), seeds, steps)
def test_groups_of_one_are_l1_and_one_of_all_is_a_length(n, seed, step):
    z, g = np.random.default_rng(seed).standard_normal((2, n))
    ones, l1 = GroupLasso.of(0.4, np.arange(n), 0.2), ElasticNet(0.4, 0.2)
    np.testing.assert_allclose(ones.prox(z, step), l1.prox(z, step), atol=1e-15)
    np.testing.assert_allclose(ones.residual(z, g), l1.residual(z, g), atol=1e-15)
    assert ones.value(z) == pytest.approx(l1.value(z)) and ones.conjugate(z) == pytest.approx(l1.conjugate(z))
    whole = GroupLasso.of(0.4, np.zeros(n))
    assert whole.value(z) == pytest.approx(0.4 * np.sqrt(n) * np.linalg.norm(z))


def test_lengths_have_room_and_labels_are_of_any_kind():
    penalty = GroupLasso.of(1.0, ["b", "a", "b"])
    assert penalty.groups.tolist() == [1, 0, 1]
    np.testing.assert_allclose(penalty.lengths(np.array([3e200, 0.0, 4e200])), [0, 5e200])
    np.testing.assert_allclose(penalty.lengths(np.array([3e-200, 1e-200, 4e-200])), [1e-200, 5e-200])
    assert (
        np.isinf(penalty.lengths(np.array([np.inf, 0, 0]))).any() or np.isnan(penalty.lengths(np.array([np.inf, 0, 0]))).any()
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda: GroupLasso.of(0.0, [0, 1]),
        lambda: GroupLasso.of(-1.0, [0, 1]),
        lambda: GroupLasso.of(np.inf, [0, 1]),
        lambda: GroupLasso.of(1.0, [0, 1], l2=np.nan),
        lambda: GroupLasso.of(1.0, []),
        lambda: GroupLasso.of(1.0, [[0, 1]]),
        lambda: GroupLasso(1.0, 0.0, np.array([0, 2])),
        lambda: GroupLasso(1.0, 0.0, np.array([-1, 0])),
        lambda: GroupLasso(1.0, 0.0, np.array([0.0, 1.0])),
    ],
)
def test_impossible_groups_are_refused(make):
    with pytest.raises(UsageError):
        make()
