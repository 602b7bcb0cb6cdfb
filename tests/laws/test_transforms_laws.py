"""Laws of transforms: how they chain, what they leave alone, and what they are equal to in corner cases."""

import copy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpiopt.errors import UsageError
from mpiopt.numerics.schedules import Constant, Inverse
from mpiopt.numerics.trees import like
from mpiopt.problems.model import Block
from mpiopt.problems.penalties import L1, Box, Zero
from mpiopt.transforms.adaptive import Adadelta, Adagrad, Adam, RmsProp
from mpiopt.transforms.bounds import ClipNorm, Decay, Prox
from mpiopt.transforms.momentum import Momentum, Nesterov, Scale, SimplifiedNesterov
from mpiopt.transforms.rules import RULES, adam, adamw, find, momentum, nag, sgd, torch_momentum, torch_nag
from mpiopt.transforms.side_by_side import Groups
from mpiopt.transforms.transform import Blocked, chain

PARTS = [
    Scale(Inverse(0.5, 2.0)),
    Momentum(0.8),
    Nesterov(0.7),
    SimplifiedNesterov(0.6),
    Adagrad(),
    RmsProp(),
    Adadelta(),
    Adam(),
    Decay(0.1),
    ClipNorm(0.5),
    Prox(L1(0.1).prox, Constant(0.2)),
]
ELEMENTWISE = [part for part in PARTS if not isinstance(part, ClipNorm)]
NAMED = [entry.make() for entry in RULES.values()]

numbers = st.floats(-5, 5, allow_subnormal=False)
vectors = st.integers(1, 7).flatmap(lambda n: arrays(float, n, elements=numbers))
parts = st.sampled_from(PARTS)
rules = st.one_of(st.sampled_from(NAMED), parts, st.builds(chain, parts, parts))
rates = st.floats(1e-3, 1, allow_subnormal=False)


def gradient(x):
    """Of a smooth function with bounded slope, the same length in any type."""
    return np.tanh(x) + x.dtype.type(0.1) * np.cos(x * x.dtype.type(3))


def walk(rule, x, steps=6, state=None, first=0):
    """The points of some steps, and the state after them."""
    x, out = x.copy(), []
    state = rule.init(x) if state is None else state
    for step in range(first, first + steps):
        u, state = rule(gradient(rule.look(x, state)), x, state, step)
        x += u
        out.append(x.copy())
    return np.array(out), state


@given(parts, parts, parts, vectors)
def test_chaining_is_associative_and_the_empty_chain_does_nothing(a, b, c, x):
    left, right = chain(chain(a, b), c), chain(a, chain(b, c))
    assert left == right == chain(chain(), a, b, c)
    np.testing.assert_array_equal(walk(left, x)[0], walk(right, x)[0])


@given(parts, parts, vectors)
def test_a_chain_is_one_after_the_other(a, b, x):
    u, v = gradient(x), gradient(x)
    whole, _ = chain(a, b)(u, x, chain(a, b).init(x), 3)
    half, _ = a(v, x, a.init(x), 3)
    np.testing.assert_array_equal(whole, b(half, x, b.init(x), 3)[0])


@given(st.lists(st.sampled_from(ELEMENTWISE), min_size=1, max_size=3), vectors, st.integers(1, 8))
def test_blocks_change_nothing(some, x, block):
    inner = chain(*some)
    points, state = walk(inner, x)
    blocked, blocked_state = walk(Blocked(inner, block), x)
    np.testing.assert_array_equal(points, blocked)
    assert plain(state) == plain(blocked_state)


MODEL = (Block("one.weight", (2, 3)), Block("one.bias", (3,)), Block("two.weight", (3, 2)), Block("two.bias", (2,)))


@given(st.sampled_from([entry for entry in RULES.values() if entry.name != "muon"]), st.integers(0, 99))
def test_groups_of_one_rule_are_that_rule(entry, seed):
    x, rule = np.random.default_rng(seed).standard_normal(17), entry.make()
    grouped = Groups(rule, (("*.bias", entry.make()), ("two*", entry.make()))).on(MODEL)
    np.testing.assert_array_equal(walk(rule, x)[0], walk(grouped, x)[0])


def test_groups_have_rules_of_their_own():
    x, groups = np.ones(17), Groups(sgd(0.1), (("*.bias", sgd(0.2)), ("two*", adam(0.1))))
    assert [length for length, _ in groups.on(MODEL).parts] == [6, 3, 6, 2]
    one, _ = walk(chain(Decay(0.5), groups).on(MODEL), x, 1)
    alone = [walk(chain(Decay(0.5), rule), x, 1)[0][0, 0] for rule in (sgd(0.1), sgd(0.2), adam(0.1))]
    np.testing.assert_allclose(one[0], np.repeat([alone[0], alone[1], alone[2], alone[1]], [6, 3, 6, 2]), rtol=1e-12)
    assert chain(ClipNorm(1.0), groups).shaped and not chain(ClipNorm(1.0), sgd(0.1)).shaped
    for pattern in ("*.scale", "one.b*"):
        with pytest.raises(UsageError, match="matches no parameter that an earlier group has not: they are one"):
            Groups(sgd(0.1), (("one*", sgd(0.2)), (pattern, sgd(0.3)))).on(MODEL)


@given(rules, vectors)
def test_the_point_is_left_alone_and_the_step_is_not_the_state(rule, x):
    before, state = x.copy(), rule.init(x)
    for step in range(3):
        u, state = rule(gradient(rule.look(x, state)), x, state, step)
        kept = copy.deepcopy(state)
        u[:] = np.nan
        assert plain(state) == plain(kept)
    np.testing.assert_array_equal(x, before)


@given(rules, vectors)
def test_buffers_are_reused(rule, x):
    state, u = rule.init(x), gradient(x)
    held = leaves(state)
    moved, state = rule(u, x, state, 0)
    assert moved is u
    assert all(a is b for a, b in zip(held, leaves(state), strict=True))


@given(rules, vectors, st.integers(0, 5))
def test_a_state_survives_as_numbers(rule, x, cut):
    points, _ = walk(rule, x, 6)
    first, state = walk(rule, x, cut)
    resumed, _ = walk(rule, first[-1] if cut else x, 6 - cut, revive(plain(state)), cut)
    np.testing.assert_array_equal(points[cut:], resumed.reshape(6 - cut, x.size))


@given(rules, vectors, st.sampled_from([np.float32, np.float64]))
def test_types_are_kept(rule, x, kind):
    x = x.astype(kind)
    state = rule.init(x)
    for step in range(2):
        look = rule.look(x, state)
        u, state = rule(gradient(look), x, state, step)
        assert {look.dtype, u.dtype, *(leaf.dtype for leaf in leaves(state))} == {np.dtype(kind)}
        assert u.shape == x.shape


@given(vectors, rates)
def test_without_momentum_all_are_sgd(x, lr):
    plainly = walk(sgd(lr), x)[0]
    for rule in (momentum, nag, torch_momentum, torch_nag):
        np.testing.assert_allclose(walk(rule(lr, gamma=0.0), x)[0], plainly, atol=1e-12)


@given(vectors, rates, st.floats(0, 0.99))
def test_both_forms_of_momentum_agree_while_the_step_size_stays(x, lr, gamma):
    np.testing.assert_allclose(walk(momentum(lr, gamma), x)[0], walk(torch_momentum(lr, gamma), x)[0], atol=1e-9)


@given(vectors, rates, st.floats(0, 0.99))
def test_the_simplified_form_stands_where_nesterov_looks(x, lr, gamma):
    rule, ahead, at = nag(lr, gamma), [], x.copy()
    state = rule.init(at)
    for step in range(6):
        u, state = rule(gradient(rule.look(at, state)), at, state, step)
        at += u
        ahead.append(rule.look(at, state))
    np.testing.assert_allclose(walk(torch_nag(lr, gamma), x)[0], ahead, atol=1e-9)


@given(vectors, rates)
def test_the_first_step_of_adam_is_as_long_as_its_step_size(x, lr):
    g = gradient(x)
    u, _ = adam(lr)(g.copy(), x, adam(lr).init(x), 0)
    np.testing.assert_allclose(u, -lr * g / (abs(g) + 1e-8), rtol=1e-9, atol=1e-15)


@given(arrays(float, 3, elements=numbers), rates, st.floats(0.1, 10))
def test_adam_and_adagrad_do_not_see_the_scale_of_the_gradient(g, lr, scale):
    g = np.where(abs(g) < 1e-3, 1.0, g)
    for rule in (adam(lr, eps=1e-30), RULES["adagrad"].make(lr=lr, eps=1e-30)):
        one, _ = rule(g.copy(), g, rule.init(g), 0)
        other, _ = rule(scale * g, g, rule.init(g), 0)
        np.testing.assert_allclose(one, other, rtol=1e-9)


@given(vectors, rates, st.floats(0, 1))
def test_decoupled_decay_adds_its_shrinking_whatever_the_gradients_were(x, lr, decay):
    with_decay, without = adamw(lr, decay=decay), adam(lr)
    state, other = with_decay.init(x), without.init(x)
    for step in range(4):
        g = gradient(x + step)
        u, state = with_decay(g.copy(), x, state, step)
        v, other = without(g.copy(), x, other, step)
        np.testing.assert_allclose(u - v, -lr * decay * x, atol=1e-12)


@given(vectors, rates, rates)
def test_decays_commute_and_add_up(x, a, b):
    one, other, both = (
        walk(chain(*some, sgd(0.1)), x)[0] for some in ([Decay(a), Decay(b)], [Decay(b), Decay(a)], [Decay(a + b)])
    )
    np.testing.assert_allclose(one, other, atol=1e-12)
    np.testing.assert_allclose(one, both, atol=1e-12)


@given(vectors, rates, st.sampled_from([1e-30, 1.0, 1e25, 1e200]))
def test_clipping_never_lengthens_and_keeps_the_direction(u, limit, scale):
    u = u * scale
    size = np.linalg.norm
    clipped, _ = ClipNorm(limit)(u.copy(), u, (), 0)
    largest = max(abs(u).max(), 1e-300)
    length = size(u / largest) * largest
    assert size(clipped) <= min(limit, length) * (1 + 1e-12)
    if length < limit * (1 - 1e-12):
        np.testing.assert_array_equal(clipped, u)
    assert (clipped * (u / largest) >= 0).all()
    if length > limit:
        np.testing.assert_allclose(clipped, u / largest * (limit / size(u / largest)), rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(ClipNorm(limit)(clipped.copy(), u, (), 0)[0], clipped, rtol=1e-12)


@pytest.mark.filterwarnings("error")
def test_an_exploding_float32_gradient_is_clipped_not_lost():
    u = np.array([3e30, -4e30], np.float32)
    np.testing.assert_allclose(ClipNorm(10.0)(u.copy(), u, (), 0)[0], [6, -8], rtol=1e-6)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_clipping_hides_no_broken_gradient(broken):
    assert not np.isfinite(ClipNorm(1.0)(np.array([1.0, broken]), np.zeros(2), (), 0)[0]).all()


@given(vectors, rates)
def test_prox_ends_where_the_prox_says(x, lr):
    for penalty in (L1(0.3), Box(-0.5, 0.5)):
        rule = chain(sgd(lr), Prox(penalty.prox, Constant(lr)))
        u, _ = rule(gradient(x), x, rule.init(x), 0)
        wanted = penalty.prox(x - lr * gradient(x), lr)
        np.testing.assert_allclose(x + u, wanted, atol=1e-14)
        assert ((x + u == 0) >= (wanted == 0)).all()
    rule = chain(sgd(lr), Prox(Zero().prox, Constant(lr)))
    np.testing.assert_allclose(walk(rule, x)[0], walk(sgd(lr), x)[0], atol=1e-12)


@pytest.mark.parametrize("entry", RULES.values(), ids=RULES)
def test_the_catalogue_knows_its_rules(entry):
    assert find(entry.name) is entry
    assert entry.summary and entry.paper
    assert all(parameter.default is not parameter.empty for parameter in entry.parameters.values())
    assert entry.make() == entry.build()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: find("adamax"), "no rule 'adamax': choose one of sgd, momentum"),
        (lambda: RULES["sgd"].make(gamma=0.9), "sgd takes lr; got gamma"),
        (lambda: sgd(-0.1), "is -0.1"),
        (lambda: momentum(gamma=1.0), "gamma is 1.0: give a number from 0 to below 1"),
        (lambda: adam(b2=1.5), "b2 is 1.5"),
        (lambda: adam(eps=0.0), "eps is 0.0"),
        (lambda: RULES["rmsprop"].make(rho=-1.0), "rho is -1.0"),
        (lambda: Decay(-1.0), "rate of decay is -1.0"),
        (lambda: ClipNorm(0.0), "longest step is 0.0"),
        (lambda: Blocked(sgd(), 0), "length of a block is 0"),
    ],
)
def test_refusals(make, says):
    with pytest.raises(UsageError, match=says):
        make()


def leaves(state):
    """The arrays of a state."""
    if isinstance(state, tuple):
        return [leaf for part in state for leaf in leaves(part)]
    return [state] if isinstance(state, np.ndarray) else []


def plain(state):
    """A state with its arrays as numbers, exactly."""
    if isinstance(state, tuple):
        return like(state, map(plain, state))
    return ("array", tuple(state.tolist())) if isinstance(state, np.ndarray) else state


def revive(state):
    """A state from its numbers."""
    if isinstance(state, tuple) and state[:1] == ("array",):
        return np.array(state[1], float)
    return like(state, map(revive, state)) if isinstance(state, tuple) else state


@given(st.sampled_from([np.float32, np.float64]), st.floats(0, 0.5), st.integers(1, 70), st.integers(0, 9))
def test_adams_one_pass_comes_to_the_bits_of_its_transforms(dtype, decay, size, seed):
    stream = np.random.default_rng(seed)
    whole = adamw(0.1, decay=decay)
    apart = Blocked(whole.inner)
    x = stream.standard_normal(size).astype(dtype)
    y, one, other = x.copy(), whole.init(x), apart.init(x)
    for step in range(4):
        g = stream.standard_normal(size).astype(dtype) * dtype(10.0) ** dtype(stream.integers(-12, 4))
        one, other = whole.move(g.copy(), x, one, step), apart.move(g.copy(), y, other, step)
        np.testing.assert_array_equal(x, y)
        assert plain(one) == plain(other)
