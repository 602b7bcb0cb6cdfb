"""Laws of generated rows with what real columns have: twins, lone columns, units far apart."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mpiopt.io.dataset.synthetic import Synthetic, from_spec

FEW = settings(max_examples=40)
spoilt = st.builds(
    Synthetic,
    rows=st.integers(1, 60),
    cols=st.integers(12, 200),
    per_row=st.floats(1, 4),
    exponent=st.floats(0, 2),
    twins=st.floats(0, 0.3),
    lone=st.floats(0, 0.3),
    scales=st.floats(0, 6),
    seed=st.integers(0, 2**64),
)


def dense(source, lo=0, hi=None):
    """Rows of a source as an array, and their labels."""
    rows, y, *_ = source.read(lo, source.rows if hi is None else hi, np.float64)
    found = np.zeros(rows.shape)
    found[np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr)), rows.indices] = rows.data
    assert all((np.diff(row) > 0).all() for row in np.split(rows.indices, rows.indptr[1:-1]))
    return found, y


@FEW
@given(spoilt)
def test_it_has_twins_lone_columns_and_units_far_apart(source):
    twins, lone = int(source.twins * source.cols), int(source.lone * source.cols)
    plain = replace(source, twins=0, lone=0, scales=0, cols=source.cols - twins - lone)
    (found, y), (before, same) = dense(source), dense(plain)
    assert_array_equal(y, same)
    drawn, last = plain.cols, plain.cols + twins
    units = found[:, :drawn][before > 0] / before[before > 0]
    assert_array_equal(np.rint(np.log2(units)), np.log2(units))
    assert np.ptp(np.log10(units)) <= source.scales + 0.31
    step = drawn // max(twins, 1)
    assert_array_equal(found[:, drawn:last], found[:, : step * twins : step])
    holders = (found[:, last:] > 0).sum(axis=0)
    assert holders.max(initial=0) <= -(-source.rows // max(lone, 1))
    assert source.nnz == (found > 0).sum() and from_spec(source.name) == source


@FEW
@given(spoilt, st.data())
def test_any_block_of_it_is_made_alike(source, data):
    lo = data.draw(st.integers(0, source.rows))
    hi = data.draw(st.integers(lo, source.rows))
    (whole, y), (part, part_y) = dense(source), dense(source, lo, hi)
    assert_array_equal(whole[lo:hi], part)
    assert_array_equal(y[lo:hi], part_y)
