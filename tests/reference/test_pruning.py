"""Pruning against its laws, against training without it, and against a few lines of plain numpy."""

from itertools import pairwise

import numpy as np
import pytest

from mpiopt.engine.drive import Standing, rounds
from mpiopt.errors import UsageError
from mpiopt.io.runs.checkpoint import Store
from mpiopt.methods import pruning
from mpiopt.methods.averaging import sgd
from mpiopt.methods.linked import linked
from mpiopt.methods.pruning import dpf, incremental_pruning, one_shot_pruning
from mpiopt.numerics.streams import Streams
from mpiopt.outer.prune import Gradual, prunable
from mpiopt.outer.rounded import rounded
from mpiopt.problems.examples import Dense
from mpiopt.problems.model import Block
from mpiopt.problems.penalties import Zero
from mpiopt.problems.perceptron import Perceptron
from mpiopt.problems.problem import Team
from mpiopt.training.drive import Goal, train
from mpiopt.transforms import rules
from tests.training_sets import SEED, Shared, path

SIZES = pytest.mark.ranks(1, 3)
RATE = 0.1
STEPS, RAMP, EVERY = 60, 40, 4


def cubic(step: int, final: float, start: int = 0, initial: float = 0.0) -> float:
    """The gradual schedule, in its own words."""
    done = min(max((step - start) / RAMP, 0), 1)
    return final + (initial - final) * (1 - done) ** 3


def keep_largest(w: np.ndarray, count: int) -> np.ndarray:
    mask = np.zeros(w.size, bool)
    mask[sorted(range(w.size), key=lambda j: (-abs(w[j]), j))[:count]] = True
    return mask


def plainly(data: Shared, sparsity, feedback: bool, steps: int = STEPS, every: int = EVERY) -> np.ndarray:
    """Masked points after every step, weights being hidden by plain sorting."""
    w, found = data.start.copy(), []
    for step in range(steps + 1):
        if step % every == 0:
            mask = keep_largest(w, w.size - round(sparsity(step) * w.size))
        w = w if feedback else w * mask
        found.append(w * mask)
        w = w - RATE * data.mean_gradient(w * mask, step)
        w = w if feedback else w * mask
    return np.array(found)


@SIZES
def test_dpf_is_sgd_with_gradients_at_the_pruned_point(worlds):
    data = Shared(rows=43, features=12)
    method = dpf(rules.sgd(RATE), STEPS, 0.7, 0.2, start=8, ramp=RAMP, every=EVERY)
    expected = plainly(data, lambda k: cubic(k, 0.7, 8, 0.2), True)
    np.testing.assert_allclose(path(method, data.team(worlds(workers=4)), data.start, STEPS), expected, atol=1e-12)
    assert (expected[-1] == 0).sum() == round(0.7 * 12)
    hidden = [set(np.flatnonzero(x == 0)) for x in expected]
    assert any(before - after for before, after in pairwise(hidden))  # some came back


@SIZES
def test_incremental_pruning_keeps_zeros(worlds):
    data = Shared(rows=43, features=12)
    method = incremental_pruning(rules.sgd(RATE), STEPS, 0.7, ramp=RAMP, every=EVERY)
    found = path(method, data.team(worlds(workers=4)), data.start, STEPS)
    np.testing.assert_allclose(found, plainly(data, lambda k: cubic(k, 0.7), False), atol=1e-12)
    hidden = [set(np.flatnonzero(x == 0)) for x in found]
    assert all(before <= after for before, after in pairwise(hidden))


@SIZES
def test_one_shot_pruning_is_sgd_then_sgd_in_what_is_left(worlds):
    data = Shared(features=12)
    found = path(one_shot_pruning(rules.momentum(RATE), STEPS, 0.5, start=21), data.team(worlds(workers=4)), data.start, STEPS)
    dense = path(sgd(rules.momentum(RATE)), data.team(worlds(workers=4)), data.start, 21)
    np.testing.assert_array_equal(found[:21], dense[:21])
    mask = keep_largest(dense[21], 6)
    np.testing.assert_array_equal(found[21], dense[21] * mask)
    assert ((found[22:] != 0) == mask).all()


@SIZES
@pytest.mark.parametrize("rule", [rules.sgd(RATE), rules.nag(RATE), rules.adam(0.01)])
@pytest.mark.parametrize("method", [dpf, incremental_pruning, one_shot_pruning])
def test_no_sparsity_is_sgd(worlds, method, rule):
    data = Shared(rows=43, features=12)
    found = path(method(rule, STEPS, 0.0), data.team(worlds(workers=4)), data.start, 40)
    np.testing.assert_array_equal(found, path(sgd(rule), data.team(worlds(workers=4)), data.start, 40))


def perceptrons(world) -> Team:
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((60, 9)), rng.integers(3, size=60)
    shares = np.array_split(np.arange(60), world.workers)
    losses = [Perceptron(Dense(x[shares[w]], y[shares[w]]), (9, 8, 3)) for w in world.hosted]
    return Team.of(world, losses, Zero(), SEED)


@SIZES
@pytest.mark.parametrize("method", [dpf, incremental_pruning, one_shot_pruning])
def test_biases_are_not_pruned_and_others_are_pruned_together(worlds, method):
    team = perceptrons(worlds(workers=3))
    loss = team.sites[0].loss
    x = path(method(rules.momentum(0.05), 50, 0.8), team, loss.initial(Streams(2)("start")), 50)[-1]
    weights = prunable(loss.blocks, team.dim)
    assert weights.sum() == 9 * 8 + 8 * 3
    assert (x[weights] == 0).sum() == round(0.8 * weights.sum())
    assert (x[~weights] != 0).all()


def test_what_may_be_pruned():
    np.testing.assert_array_equal(prunable((Block("a", (2, 2)), Block("b", (2,))), 6), [True] * 4 + [False] * 2)
    assert prunable((Block("a", (6,)),), 6).all()
    assert prunable((), 6).all()


@SIZES
def test_a_run_goes_on_from_a_checkpoint(worlds, shared_tmp):
    data = Shared(features=12)
    world = worlds(workers=4)
    method, team = dpf(rules.nag(RATE), STEPS, 0.7, ramp=RAMP, every=EVERY), data.team(world)
    whole = path(method, team, data.start, STEPS)
    begun = train(method, team, data.start.copy(), Goal(rounds=27))
    store = Store(shared_tmp / "run.h5", world, "pruning")
    store.save(Standing(begun.run, begun.history, (True,) * len(begun.history)), {}, team)
    kept = store.load(store.find(), team).run
    run = next(run for run in rounds(method, team, kept) if run.round == STEPS)
    np.testing.assert_array_equal(method.answer(run, team).x, whole[-1])


@SIZES
def test_pruning_goes_with_compressed_messages(worlds):
    data = Shared(features=12)
    method = linked(dpf(rules.sgd(RATE), STEPS, 0.5, ramp=RAMP, every=EVERY), "dpf", "topk:1.0", "ef")
    plain = dpf(rules.sgd(RATE), STEPS, 0.5, ramp=RAMP, every=EVERY)
    found = path(method, data.team(worlds(workers=4)), data.start, STEPS)
    np.testing.assert_allclose(found, path(plain, data.team(worlds(workers=4)), data.start, STEPS), atol=1e-12)


def test_the_gradual_schedule():
    law = Gradual(100, 0.9, 20, 0.1)
    assert law(0) == 0.1
    assert law(20) == pytest.approx(0.1)
    assert law(70) == pytest.approx(0.9 - 0.8 / 8)
    assert law(120) == law(10**6) == pytest.approx(0.9)
    assert all(law(k) <= law(k + 1) + 1e-15 for k in range(150))
    jump = Gradual(0, 0.5, 3)
    assert [jump(k) for k in range(5)] == [0, 0, 0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"sparsity": 1.0}, "sparsity"),
        ({"sparsity": -0.1}, "sparsity"),
        ({"initial": 0.95}, "at first"),
        ({"start": -1}, "start"),
        ({"ramp": -1}, "pruned"),
        ({"every": 0}, "masks"),
    ],
)
def test_what_cannot_be_is_refused(given, word):
    with pytest.raises(UsageError, match=word):
        dpf(rules.sgd(RATE), 100, **given)


# ---------------------------------------------------------------------------------------------- weights of few bits
@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("feedback", [True, False])
def test_rounded_sgd_looks_where_weights_are_rounded(worlds, feedback):
    """By hand: gradients at the rounded point; the exact one is kept, or not."""
    data = Shared(workers=3, rows=30)
    found = path(pruning.rounded_sgd(rules.sgd(0.05), 3, feedback), data.team(worlds(workers=3)), data.start, 6)

    def near(x):
        top = abs(x).max() / 3
        return np.round(x / top) * top

    x, wanted = data.start if feedback else near(data.start), [near(data.start)]
    for step in range(6):
        x = x - 0.05 * data.mean_gradient(near(x), step)
        x = x if feedback else near(x)
        wanted.append(near(x))
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)
    assert all(len(np.unique(np.round(np.abs(one), 12))) <= 4 for one in found)


def test_matrices_alone_are_rounded_and_one_bit_keeps_signs():
    x, blocks = np.array([0.1, -2.0, 3.0, 0.7, 0.123]), (Block("w", (2, 2)), Block("b", (1,)))
    np.testing.assert_allclose(rounded(x, blocks, 2), [0, -3, 3, 0, 0.123])
    np.testing.assert_allclose(rounded(x, blocks, 1), [1.45, -1.45, 1.45, 1.45, 0.123])
    np.testing.assert_array_equal(rounded(np.zeros(3), (), 4), 0)
    with pytest.raises(UsageError, match="the bits of a weight is 0: give 1 to 16"):
        pruning.rounded_sgd(rules.sgd(0.1), 0)
