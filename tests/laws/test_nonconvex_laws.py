"""Laws of every model: derivatives, minibatches, shares, order of the rows, views, starts; small shapes, both types."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.kernels.csr import CSR
from mpiopt.numerics.streams import Streams
from mpiopt.problems.curved import Curved
from mpiopt.problems.examples import Dense, Sparse
from mpiopt.problems.factorisation import Completion, planted
from mpiopt.problems.heads import CrossEntropy, Squares
from mpiopt.problems.model import ScoreSums, split
from mpiopt.problems.perceptron import Perceptron, Relu, Tanh
from mpiopt.problems.problem import Point
from mpiopt.problems.softmax import Softmax

sizes = st.integers(1, 5)
seeds = st.integers(0, 10**6)
types = st.sampled_from([np.float32, np.float64])


def pixels(x, dtype):
    return np.divide(x, dtype.type(255), dtype=dtype)


@st.composite
def perceptrons(draw):
    rng = np.random.default_rng(draw(seeds))
    rows, widths = draw(st.integers(1, 9)), tuple(draw(st.lists(sizes, min_size=2, max_size=4)))
    head = draw(st.sampled_from([CrossEntropy(), Squares()]))
    classes = isinstance(head, CrossEntropy)
    y = rng.integers(0, widths[-1], rows) if classes else rng.standard_normal((rows, widths[-1]))
    if draw(st.booleans()):
        data = Dense(rng.integers(0, 256, (rows, widths[0])).astype(np.uint8), y, pixels)
    else:
        data = Dense(rng.standard_normal((rows, widths[0])), y)
    return Perceptron(data, widths, draw(st.sampled_from([Relu(), Tanh()])), head)


@st.composite
def softmaxes(draw):
    rng = np.random.default_rng(draw(seeds))
    rows, features, classes = draw(st.integers(1, 9)), draw(sizes), draw(sizes)
    a = scipy.sparse.random(rows, features, 0.5, "csr", rng=rng, data_rvs=rng.standard_normal)
    return Softmax(Sparse(CSR.of(a.indptr, a.indices, a.data, a.shape), rng.integers(0, classes, rows)), classes)


@st.composite
def completions(draw):
    shape = draw(sizes), draw(sizes)
    rank = draw(st.integers(1, 3))
    return Completion(planted(np.random.default_rng(draw(seeds)), shape, rank, draw(st.floats(0.1, 1)), 0.1), shape, rank)


plain = st.one_of(perceptrons(), softmaxes(), completions())
models = st.one_of(plain, st.builds(Curved, plain, st.floats(0, 2), st.integers(0, 1)))


def somewhere(model, seed):
    """A point with every coordinate away from the kinks at 0."""
    return np.random.default_rng(seed).normal(0, 0.7, model.dim)


def owned(model, rows):
    """The model of a worker that has only these rows."""
    if isinstance(model, Curved):
        return replace(model, loss=owned(model.loss, rows))
    if isinstance(model, Completion):
        return replace(model, entries=type(model.entries)(*(array[rows] for array in model.entries)))
    if isinstance(model.data, Dense):
        return replace(model, data=replace(model.data, x=model.data.x[rows], y=model.data.y[rows]))
    a = model.data.matrix
    whole = scipy.sparse.csr_array((a.data, a.indices, a.indptr), a.shape)[rows]
    return replace(model, data=Sparse(CSR.of(whole.indptr, whole.indices, whole.data, whole.shape), model.data.y[rows]))


def close(found, expected, dtype=np.float64):
    tolerance = 1e-11 if dtype == np.float64 else 2e-5
    assert found[0] == pytest.approx(expected[0], rel=tolerance, abs=tolerance)
    np.testing.assert_allclose(found[1], expected[1], rtol=tolerance, atol=tolerance * (1 + abs(expected[1]).max()))


@settings(max_examples=60)
@given(models, seeds, st.data())
def test_the_gradient_is_the_slope(model, seed, data):
    x, direction = somewhere(model, seed), somewhere(model, seed + 1)
    rows = np.array(data.draw(st.lists(st.integers(0, model.rows - 1), min_size=1, max_size=12)))
    gradient = model.value_grad(Point(x), rows)[1]
    for step in (1e-6, 1e-7):  # a kink may lie within the longer one
        ahead, behind = (model.value_grad(Point(x + s * direction), rows)[0] for s in (step, -step))
        slope = (ahead - behind) / (2 * step)
        if slope == pytest.approx(gradient @ direction, rel=1e-6, abs=1e-6):
            return
    assert slope == pytest.approx(gradient @ direction, rel=1e-5, abs=1e-5)


@given(models, seeds)
def test_single_precision_is_double_precision_rounded(model, seed):
    x = somewhere(model, seed).astype(np.float32)
    value, gradient = model.value_grad(Point(x))
    assert isinstance(value, float) and gradient.dtype == np.float32 and gradient.shape == (model.dim,)
    close((value, gradient), model.value_grad(Point(x.astype(np.float64))), np.float32)


@given(models, seeds, types, st.data())
def test_minibatches_that_make_up_all_rows_make_up_the_whole(model, seed, dtype, data):
    x, whole = somewhere(model, seed).astype(dtype), np.arange(model.rows)
    close(model.value_grad(Point(x), whole), model.value_grad(Point(x)), dtype)
    order = np.array(data.draw(st.permutations(whole)))
    close(model.value_grad(Point(x), order), model.value_grad(Point(x)), dtype)
    cut = data.draw(st.integers(0, model.rows))
    parts = [(rows.size, model.value_grad(Point(x), rows)) for rows in (order[:cut], order[cut:]) if rows.size]
    value = sum(size * part[0] for size, part in parts) / model.rows
    gradient = sum(size * part[1] for size, part in parts) / model.rows
    close((value, gradient), model.value_grad(Point(x)), dtype)


@given(models, seeds, st.data())
def test_shares_make_up_the_whole_and_the_order_of_the_rows_does_not_matter(model, seed, data):
    x = somewhere(model, seed)
    order = np.array(data.draw(st.permutations(range(model.rows))))
    cut = data.draw(st.integers(0, model.rows))
    shares = [owned(model, rows) for rows in (order[:cut], order[cut:])]
    assert sum(share.weight for share in shares) == model.weight == model.rows
    parts = [(share.weight / model.weight, share.value_grad(share.point(x))) for share in shares]
    close([sum(s * part[i] for s, part in parts) for i in range(2)], model.value_grad(Point(x)))
    scores = ScoreSums.total(share.evaluate(x) for share in shares)
    np.testing.assert_allclose(scores[:3], model.evaluate(x)[:3], rtol=1e-11, atol=1e-12)


@given(plain, seeds, st.data())
def test_a_score_is_the_sum_of_what_is_averaged(model, seed, data):
    x = somewhere(model, seed)
    rows = data.draw(st.none() | st.lists(st.integers(0, model.rows - 1), max_size=12).map(lambda a: np.array(a, int)))
    score = model.evaluate(x, rows)
    assert score.rows == (model.rows if rows is None else rows.size)
    assert score.loss == pytest.approx(model.value_grad(Point(x), rows)[0] * score.rows, rel=1e-11, abs=1e-11)
    assert 0 <= score.correct <= score.rows
    each = range(model.rows) if rows is None else rows
    assert score.correct == sum(model.evaluate(x, np.array([row])).correct for row in each)


@given(models, seeds)
def test_the_blocks_are_views_that_make_up_x(model, seed):
    x = somewhere(model, seed)
    parts = split(x, model.blocks)
    assert [part.shape for part in parts] == [block.shape for block in model.blocks]
    assert all(np.shares_memory(part, x) for part in parts)
    np.testing.assert_array_equal(np.concatenate([part.reshape(-1) for part in parts]), x)
    assert len({block.name for block in model.blocks}) == len(model.blocks) and model.buffers == {}


@given(models, seeds, types)
def test_the_point_is_left_alone_and_the_gradient_is_the_callers(model, seed, dtype):
    x = somewhere(model, seed).astype(dtype)
    kept = x.copy()
    _, first = model.value_grad(Point(x))
    before = first.copy()
    _, second = model.value_grad(Point(x))
    second += 1
    np.testing.assert_array_equal(first, before)
    np.testing.assert_array_equal(model.value_grad(Point(x))[1], before)
    np.testing.assert_array_equal(x, kept)


@given(plain, seeds, types)
def test_no_rows_weigh_nothing(model, seed, dtype):
    x, nothing = somewhere(model, seed).astype(dtype), np.arange(0)
    for value, gradient in (model.value_grad(Point(x), nothing), owned(model, nothing).value_grad(Point(x))):
        assert value == 0 and gradient.dtype == dtype and gradient.shape == x.shape and not gradient.any()
    assert model.evaluate(x, nothing)[:3] == (0, 0, 0) and owned(model, nothing).weight == 0


@given(models, seeds)
def test_a_start_follows_from_the_stream_alone(model, seed):
    streams = Streams(seed)
    start = model.initial(streams("start"))
    assert start.shape == (model.dim,) and start.dtype in (np.float32, np.float64)
    again = owned(model, np.arange(0)).initial(streams("start"))
    np.testing.assert_array_equal(start, again)
    again += 1
    np.testing.assert_array_equal(model.initial(streams("start")), start)
    if start.any():
        assert (model.initial(Streams(seed + 1)("start")) != start).any()
