"""Laws of minibatches and of generated dense rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mpiopt.errors import UsageError
from mpiopt.io.dataset.blobs import Blobs
from mpiopt.numerics.streams import Streams
from mpiopt.sampling.batches import Batches

sizes = st.integers(1, 60).flatmap(lambda rows: st.tuples(st.just(rows), st.integers(1, rows)))


@given(sizes, st.booleans(), st.integers(-1, 3), st.integers(0, 2**64 - 1), st.integers(0, 4))
def test_an_epoch_takes_every_row_at_most_once(size, keep, worker, seed, epoch):
    rows, size = size
    batches = Batches(rows, size, Streams(seed), worker, keep)
    first = epoch * batches.per_epoch
    drawn = [batches(step) for step in range(first, first + batches.per_epoch)]
    taken = np.concatenate(drawn)
    assert len(set(taken.tolist())) == len(taken) and set(taken.tolist()) <= set(range(rows))
    assert len(taken) == (rows if keep else rows // size * size)
    assert all(len(batch) == size for batch in drawn[: len(drawn) - keep])
    assert batches.epoch(first) == epoch


@given(sizes, st.booleans(), st.integers(0, 500), st.integers(0, 500))
def test_a_step_s_rows_follow_from_its_number_alone(size, keep, step, before):
    batches = Batches(*size, Streams(3), 1, keep)
    batches(before)
    assert_array_equal(batches(step), Batches(*size, Streams(3), 1, keep)(step))


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 40), st.booleans(), st.integers(0, 30))
def test_the_parts_of_one_order_are_one_large_batch(workers, size, more, keep, step):
    rows = workers * size + more
    whole = Batches(rows, workers * size, Streams(1), keep=keep)
    parts = [Batches(rows, size, Streams(1), keep=keep, part=(k, workers)) for k in range(workers)]
    assert_array_equal(np.concatenate([part(step) for part in parts]), whole(step))
    assert {part.per_epoch for part in parts} == {whole.per_epoch}
    assert np.ptp([len(part(step)) for part in parts]) <= 1


def test_orders_differ_between_epochs_workers_and_seeds():
    def order(seed=0, worker=0, step=0):
        return tuple(Batches(40, 40, Streams(seed), worker)(step))

    assert len({order(), order(seed=1), order(worker=1), order(worker=-1), order(step=1)}) == 5
    assert order() == order()


def test_every_row_is_equally_likely_anywhere():
    batches = Batches(6, 2, Streams(0), 0)
    counts = np.zeros((6, 6))
    for epoch in range(3000):
        taken = np.concatenate([batches(3 * epoch + k) for k in range(3)])
        counts[np.arange(6), taken] += 1
    assert ((counts - 500) ** 2 / 500).sum() < 60  # chi-squared, 25 degrees of freedom: 1 chance in 10^4


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        ({"size": 0}, "a batch of 0 rows"),
        ({"size": 11}, "a batch of 11 rows is larger than the 10 rows to draw from: take at most 10"),
        ({"rows": 0, "size": 5}, "larger than the 0 rows to draw from: start fewer workers, or give at least a row for each"),
        (
            {"size": 1, "part": (1, 20)},
            "each of 20 workers is larger than the 10 rows to draw from: start fewer workers, or",
        ),
        ({"size": 4, "part": (0, 3)}, "a batch of 4 rows for each of 3 workers is larger than the 10 rows .* at most 3"),
    ],
)
def test_impossible_batches(arguments, sentence):
    with pytest.raises(UsageError, match=sentence):
        Batches(**{"rows": 10, "streams": Streams(0), **arguments})


blobs = st.builds(
    Blobs,
    rows=st.integers(1, 60),
    features=st.integers(1, 9),
    classes=st.integers(2, 5),
    spread=st.floats(0, 5),
    first=st.integers(0, 2**40),
    seed=st.integers(0, 2**64),
)


@given(blobs, st.data())
def test_blobs_make_any_block_alike(source, data):
    lo = data.draw(st.integers(0, source.rows))
    hi = data.draw(st.integers(lo, source.rows))
    (x, y), (part, labels) = source.read(0, source.rows), source.read(lo, hi)
    assert_array_equal(part, x[lo:hi])
    assert_array_equal(labels, y[lo:hi])
    assert_array_equal(source.read(lo, hi, np.float64)[0].astype(np.float32), part)
    assert x.dtype == np.float32 and (y >= 0).all() and (y < source.classes).all()
    if lo < source.rows:
        later = Blobs(**{**vars(source), "rows": source.rows - lo, "first": source.first + lo})
        assert_array_equal(later.read(0, later.rows)[0], x[lo:])


def test_blobs_are_normal_about_their_centres():
    x, y = Blobs(rows=30_000, features=3, classes=2, spread=0.5).read(0, 30_000, np.float64)
    centres = Blobs(rows=30_000, features=3, classes=2, spread=0).read(0, 30_000, np.float64)[0]
    noise = (x - centres) / 0.5
    assert len(np.unique(centres, axis=0)) == 2 and abs(y.mean() - 0.5) < 0.02
    assert np.abs(noise.mean(axis=0)).max() < 0.03 and np.abs(np.cov(noise.T) - np.eye(3)).max() < 0.04
