"""Laws of the GPU's sparse products, emulated on the CPU or on a card: they are those of scipy and of the host's kernels."""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from mpiopt.errors import UsageError
from mpiopt.kernels import device
from mpiopt.kernels.csr import CSR
from mpiopt.kernels.device import csr

few = settings(deadline=None, max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
seeds = st.integers(0, 2**32 - 1)
shapes = st.tuples(st.integers(0, 70), st.integers(1, 90))
types = st.sampled_from([("f4", "f8"), ("f8", "f8"), ("f4", "f4")])
TOLERANCE = {"f8": 1e-12, "f4": 2e-5}


def random(seed, shape, density, value):
    """A matrix with empty rows and columns, and one row and one column that are full."""
    rng = np.random.default_rng(seed)
    made = sparse.random(*shape, density, "lil", np.float64, rng)
    if shape[0] and seed % 2:
        made[int(rng.integers(shape[0]))] = rng.normal(size=shape[1])
        made[:, int(rng.integers(shape[1]))] = rng.normal(size=(shape[0], 1))
    return rng, made.tocsr().astype(value)


def host(matrix):
    return CSR.of(matrix.indptr, matrix.indices, matrix.data, matrix.shape)


def agree(xp, ours, theirs, rng, vector):
    """All products of a device matrix are those of scipy's ``theirs``."""
    (rows, cols), tolerance = theirs.shape, TOLERANCE[vector]
    theirs = theirs.astype(np.float64)
    x, r, h = (rng.normal(size=n).astype(vector) for n in (cols, rows, rows))
    size = 1 + float(abs(theirs).sum())
    near = {"rtol": tolerance, "atol": tolerance * size}
    on = [xp.asarray(v) for v in (x, r, h)]
    np.testing.assert_allclose(ours.dot(on[0]).get(), theirs @ x, **near)
    np.testing.assert_allclose(ours.tdot(on[1]).get(), theirs.T @ r, **near)
    np.testing.assert_allclose(ours.hvp(on[2], on[0]).get(), theirs.T @ (h * (theirs @ x)), rtol=1, atol=tolerance * size**2)
    squared = theirs.multiply(theirs).tocsr()
    np.testing.assert_allclose(ours.squares(on[2]).get(), squared.T @ h, rtol=1, atol=tolerance * size**2)
    whole = (theirs.T @ theirs.multiply(h[:, None] ** 2)).toarray()[np.triu_indices(cols)]
    np.testing.assert_allclose(ours.gram(on[2] ** 2).get(), whole, rtol=1, atol=tolerance * size**2)
    np.testing.assert_allclose(ours.squares().get(), squared.T @ np.ones(rows), rtol=tolerance, atol=tolerance * size**2)
    np.testing.assert_allclose(ours.row_squares().get(), squared @ np.ones(cols), rtol=tolerance, atol=tolerance * size**2)


@few
@given(seeds, shapes, st.floats(0, 0.6), types, st.booleans())
@example(1, (0, 1), 0.0, ("f4", "f8"), False)
@example(1, (0, 5), 0.0, ("f4", "f8"), True)
@example(2, (5, 1), 1.0, ("f4", "f8"), False)
@example(2, (33, 40), 0.0, ("f4", "f8"), False)
def test_products_equal_scipys(xp, seed, shape, density, kinds, atomic):
    rng, theirs = random(seed, shape, density, kinds[0])
    agree(xp, device.DeviceCSR.of(host(theirs), kinds[1], atomic), theirs, rng, kinds[1])


@pytest.mark.parametrize("density", [0.002, 0.02, 0.06, 0.12, 0.5])
def test_every_width_of_groups(xp, density):
    """Rows of 2 to 500 entries on average take 2 to 32 lanes each, and columns others."""
    rng, theirs = random(4, (300, 1000), density, "f4")
    ours = device.DeviceCSR.of(host(theirs))
    agree(xp, ours, theirs, rng, "f8")
    mean = theirs.nnz / 300
    assert ours.blocks[0].lines.lanes >= min(mean / 4, 32)


def test_long_rows_and_columns_are_cut_into_pieces(xp):
    rng = np.random.default_rng(0)
    long, wide = np.zeros((3, 5000)), np.zeros((5000, 3))
    long[0], long[2, 7], wide[:, 1], wide[4, 0] = rng.normal(size=5000), 1, rng.normal(size=5000), 1
    for dense in (long, wide):
        theirs = sparse.csr_matrix(dense)
        ours = device.DeviceCSR.of(host(theirs))
        pieces = [side.long[2].size for side in (ours.blocks[0].lines, ours.turned[0].lines) if side.long]
        assert pieces == [5]
        agree(xp, ours, theirs, rng, "f8")


@few
@given(seeds, st.integers(2, 60), st.integers(1, 200))
def test_blocks_of_rows_change_nothing_but_rounding(xp, seed, rows, largest):
    rng, theirs = random(seed, (rows, 20), 0.3, "f4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csr, "LARGEST", largest)
        ours = device.DeviceCSR.of(host(theirs))
    lengths = np.diff(theirs.indptr)
    for block in ours.blocks:
        assert block.hi - block.lo == 1 or lengths[block.lo : block.hi].sum() <= largest
    assert sum(block.hi - block.lo for block in ours.blocks) == rows
    agree(xp, ours, theirs, rng, "f8")


@few
@given(seeds, shapes, st.data())
def test_slices_and_chosen_rows(xp, seed, shape, data):
    rng, theirs = random(seed, shape, 0.2, "f4")
    ours = device.DeviceCSR.of(host(theirs))
    lo = data.draw(st.integers(0, shape[0]))
    hi = data.draw(st.integers(lo, shape[0]))
    agree(xp, ours.rows_slice(lo, hi), theirs[lo:hi], rng, "f8")
    assert ours.rows_slice(lo, hi) is ours.rows_slice(lo, hi)
    if shape[0]:
        chosen = rng.integers(shape[0], size=data.draw(st.integers(0, 9)))
        agree(xp, ours.take(chosen), theirs[chosen], rng, "f8")
    sliced = host(theirs).rows_slice(lo, hi)
    agree(xp, device.DeviceCSR.of(sliced), theirs[lo:hi], rng, "f8")


def test_the_same_bits_every_time(xp):
    rng, theirs = random(7, (400, 60), 0.5, "f4")
    r, x, h = (xp.asarray(rng.normal(size=n)) for n in (400, 60, 400))
    found = []
    for _ in range(3):
        ours = device.DeviceCSR.of(host(theirs))
        found.append([ours.dot(x).get(), ours.tdot(r).get(), ours.hvp(h, x).get(), ours.squares(h).get()])
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_a_vector_that_does_not_fit_is_refused(xp):
    _, theirs = random(1, (6, 4), 0.5, "f4")
    ours = device.DeviceCSR.of(host(theirs))
    for wrong in (xp.zeros(5), xp.zeros(4, np.float32), xp.zeros(8)[::2], np.zeros(4)):
        with pytest.raises(UsageError, match="device matrix of shape"):
            ours.dot(wrong)
    with pytest.raises(UsageError, match="device matrix of shape"):
        ours.hvp(xp.zeros(4), xp.zeros(4))


def test_out_of_memory_is_foretold(xp, monkeypatch):
    _, theirs = random(1, (60, 40), 0.5, "f4")
    monkeypatch.setattr("mpiopt.kernels.device.launch.free_bytes", lambda: 1000)
    with pytest.raises(UsageError, match=r"needs [\d,]+ bytes on the GPU, of which 1,000 are free"):
        device.DeviceCSR.of(host(theirs))
