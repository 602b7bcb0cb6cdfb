"""Laws of the data side: numbers, checksums, orders, blocks, generators."""

from fractions import Fraction
from itertools import pairwise

import h5py
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mpiopt.errors import DataError
from mpiopt.io.dataset.index import Index, stride_for, strides
from mpiopt.io.dataset.labels import Labels, Tallied, binary_labels
from mpiopt.io.dataset.nonzero_counts import NonzeroCounts
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.shard_writing import Form, ShardRows, ShardWriter
from mpiopt.io.dataset.shuffle import Shuffle
from mpiopt.io.dataset.synthetic import Synthetic, from_spec
from mpiopt.io.disk.fletcher32 import fletcher32
from tests.svm_text import assert_same_rows, contents, parsed

FEW = settings(max_examples=40)

decimals = st.builds(
    lambda sign, whole, fraction, exponent: sign + (whole + ("." + fraction if fraction is not None else "")) + exponent,
    st.sampled_from(["", "+", "-"]),
    st.text("0123456789", min_size=1, max_size=20),
    st.none() | st.text("0123456789", max_size=24),
    st.just("") | st.builds("{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), st.integers(0, 30)),
)
doubles = st.floats(allow_nan=False, allow_infinity=False).map(repr)
singles = st.floats(allow_nan=False, allow_infinity=False, width=32)
midway = st.builds(  # decimals beside the middle of two singles, where rounding twice goes wrong
    lambda x, tail: f"{(x + float(np.nextafter(np.float32(x), np.float32(np.inf)))) / 2:.{tail}f}",
    st.floats(2.0**-10, 2.0**20, width=32),
    st.integers(5, 40),
)
numbers = st.lists(decimals | doubles | singles.map(repr) | midway, min_size=1, max_size=30)


def nearest_single(text: str) -> np.float32:
    """The float32 nearest to a decimal, by exact arithmetic."""
    exact, guess = Fraction(text), np.float32(float(text))
    near = [np.nextafter(guess, np.float32(-np.inf)), guess, np.nextafter(guess, np.float32(np.inf))]
    return min(near, key=lambda n: (abs(Fraction(float(n)) - exact), int(n.view(np.uint32)) & 1))


@given(numbers)
@example(["3e23", "1e23", "7e-23", "1e-30", "2047e40", "4095e25", "9007199254740993e23", "18446744073709551615e-40"])
def test_doubles_are_what_float_says(tmp_path_factory, texts):
    path = tmp_path_factory.getbasetemp() / "doubles.svm"
    path.write_text("".join(f"{text} 1:{text}\n" for text in texts))
    wanted = np.array([float(text) for text in texts])
    if not np.isfinite(wanted).all():
        with pytest.raises(DataError, match="is too large"):
            parsed(path)
        return
    y, _, _, data = parsed(path)
    assert_array_equal(y, wanted)
    assert_array_equal(data.view(np.uint64), wanted.view(np.uint64))


@given(st.lists(decimals | singles.map(repr) | singles.map(lambda x: f"{x:.9g}") | midway, min_size=1, max_size=30))
def test_singles_are_the_nearest(tmp_path_factory, texts):
    texts = [text for text in texts if abs(float(text)) < 3e38] or ["1"]
    path = tmp_path_factory.getbasetemp() / "singles.svm"
    path.write_text("0 " + " ".join(f"{k + 1}:{text}" for k, text in enumerate(texts)) + "\n")
    data = parsed(path, np.float32)[3]
    assert_array_equal(data, np.array([nearest_single(text) for text in texts]))


@given(st.integers(1, 5000), st.integers(-(2**70), 2**70), st.integers(1, 7))
def test_a_shuffle_is_a_permutation_made_anywhere(rows, seed, blocks):
    shuffle = Shuffle(rows, seed)
    cuts = np.linspace(0, rows, blocks + 1).astype(int)
    places = np.concatenate([shuffle(int(a), int(b - a)) for a, b in pairwise(cuts)])
    assert_array_equal(np.sort(places), np.arange(rows))
    assert_array_equal(places, shuffle(0, rows))
    assert_array_equal(Shuffle(rows, None)(0, rows), np.arange(rows))


@FEW
@given(st.lists(st.integers(0, 255), min_size=1, max_size=3000), st.sampled_from([None, 0, 255]))
def test_the_checksum_is_the_one_of_hdf5(tmp_path_factory, values, fill):
    data = np.array(values * 2, np.uint8) if fill is None else np.full(2 * len(values), fill, np.uint8)
    with h5py.File(tmp_path_factory.getbasetemp() / "sum.h5", "w") as file:
        dataset = file.create_dataset("x", data=data, chunks=(len(data),), fletcher32=True)
        file.flush()
        raw = dataset.id.read_direct_chunk((0,))[1]
    assert int.from_bytes(raw[-4:], "little") == fletcher32(data)


@FEW
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.sets(st.integers(0, 40)), st.sampled_from([None, 4]))
def test_a_shard_is_the_same_however_its_rows_come(tmp_path_factory, lengths, cuts, gzip):
    folder = tmp_path_factory.getbasetemp()
    lengths = np.array(lengths)
    ends = np.concatenate(([0], np.cumsum(lengths)))
    rng = np.random.default_rng(0)
    indices, data, y = rng.integers(0, 9, ends[-1]), rng.random(ends[-1]), rng.random(len(lengths))
    form = Form(9, np.dtype(np.float32), np.dtype(np.float64), ("weight",), gzip)
    written = []
    for name, stops in (("a.h5", []), ("b.h5", sorted(c for c in cuts if c < len(lengths)))):
        writer = ShardWriter(folder / name, len(lengths), int(ends[-1]), form)
        for lo, hi in zip([0, *stops], [*stops, len(lengths)], strict=True):
            part = slice(ends[lo], ends[hi])
            writer.append(ShardRows(lengths[lo:hi], indices[part], data[part], y[lo:hi], y[lo:hi]))
        written.append(writer.finish()._replace(name=""))
    assert written[0] == written[1]
    assert contents(folder / "a.h5") == contents(folder / "b.h5")
    with h5py.File(folder / "b.h5") as file:
        assert_array_equal(file["X/indptr"], ends)
        assert_array_equal(file["X/indices"], indices)
        assert_array_equal(file["X/data"], data.astype(np.float32))
        assert_array_equal(file["weight"], y)


def index_of(lengths: np.ndarray) -> Index:
    measured = NonzeroCounts(len(lengths))
    measured.add(0, lengths)
    return Index(
        rows=len(lengths),
        cols=9,
        nnz=int(lengths.sum()),
        labels=Labels(None, None, 0, 1, 0),
        lengths=measured.lengths,
        shuffle=None,
        normalize="none",
        sources=(),
        shards=(),
        prefix=measured.prefix,
        stride=stride_for(len(lengths)),
        created="",
        version="",
    )


@given(st.lists(st.integers(0, 60), min_size=1, max_size=300), st.integers(1, 40))
def test_blocks_hold_equally_many_nonzeros(lengths, workers):
    lengths = np.array(lengths)
    bounds = Dataset(None, index_of(lengths)).blocks(workers)
    assert bounds[0] == 0 and bounds[-1] == len(lengths) and len(bounds) == workers + 1
    assert (np.diff(bounds) >= 0).all()
    cost = np.concatenate(([0], np.cumsum(lengths + 1)))
    assert (np.abs(np.diff(cost[bounds]) - cost[-1] / workers) <= lengths.max() + 1).all()


@given(st.lists(st.integers(0, 70_000), min_size=1, max_size=50))
def test_measured_lengths(lengths):
    lengths = np.array(lengths)
    least, median, greatest = index_of(lengths).lengths
    assert (least, greatest) == (lengths.min(), lengths.max())
    assert median == np.median(np.minimum(lengths, 1 << 16))


@given(st.integers(0, 2**40))
def test_the_table_of_nonzeros_stays_small(rows):
    assert strides(rows) <= 1 << 17
    assert strides(rows) * stride_for(rows) >= rows


specifications = st.builds(
    Synthetic,
    rows=st.integers(1, 60),
    cols=st.integers(4, 200),
    per_row=st.floats(1, 4),
    spread=st.floats(0, 1.5),
    exponent=st.floats(0, 2.5),
    binary=st.booleans(),
    planted=st.floats(0.01, 1),
    signal=st.floats(0, 9),
    seed=st.integers(0, 2**64),
) | st.builds(
    Synthetic,
    rows=st.integers(20, 60),
    cols=st.integers(12, 200),
    per_row=st.floats(10, 12),
    counts=st.booleans(),
    own=st.floats(0, 0.9),
    topics=st.integers(1, 10),
)


@FEW
@given(specifications, st.data())
def test_a_generator_makes_any_block_alike(source, data):
    lo = data.draw(st.integers(0, source.rows))
    hi = data.draw(st.integers(lo, source.rows))
    (whole, y, *_), (part, y_part, *_) = source.read(0, source.rows), source.read(lo, hi)
    ends = whole.indptr
    inside = slice(ends[lo], ends[hi])
    assert_same_rows(
        (y_part, part.indptr, part.indices, part.data),
        (y[lo:hi], ends[lo : hi + 1] - ends[lo], whole.indices[inside], whole.data[inside]),
    )
    assert_array_equal(source.read(lo, hi, np.float64)[0].data.astype(np.float32), part.data)


@FEW
@given(specifications)
def test_generated_rows_are_well_formed(source):
    matrix, y, weight, *_ = source.read(0, source.rows, np.float64)
    assert weight is None and set(y) <= {-1.0, 1.0}
    assert source.nnz == matrix.nnz
    alone = np.bincount(matrix.indices, minlength=source.cols)[source.shared :]
    assert (alone == 1).all()
    for a, b in zip(matrix.indptr, matrix.indptr[1:], strict=False):
        assert b > a and (np.diff(matrix.indices[a:b]) > 0).all()
        assert 0 <= matrix.indices[a] and matrix.indices[b - 1] < source.cols
        assert np.isclose(np.linalg.norm(matrix.data[a:b]), 1)
    assert from_spec(source.name) == source


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0, 2.0, 7.5]) | st.integers(0, 200).map(float), min_size=1), st.integers(1, 5))
def test_labels_are_counted_in_any_parts(values, parts):
    whole = Tallied()
    for part in np.array_split(np.array(values), parts):
        other = Tallied()
        other.add(part)
        whole.merge(other)
    once = Tallied()
    once.add(np.array(values))
    assert whole.summary(0.0) == once.summary(0.0)
    assert once.summary(0.0).distinct in (None, tuple(sorted(set(values))))
    assert once.summary(0.0).one == (len(set(values)) == 1)


@given(st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=30), st.sampled_from("< <= > >= == != ".split(" ")))
def test_rules_are_those_of_python(values, rule):
    tally, bound = Tallied(), values[0]
    tally.add(np.array(values))
    wanted = [eval(f"{value} {rule or '=='} {bound}") for value in values]
    if all(wanted) or not any(wanted):
        return
    labels = binary_labels(np.array(values), tally.summary(0.0), f"{rule}{bound:g}")
    assert_array_equal(labels, np.where(wanted, 1.0, -1.0))
    assert labels.dtype == np.float32
