"""The products of `host.products` with several vectors at once: the rows are read once for all of them.

Vectors stand side by side, (cols, k) and (rows, k) in the order of C, so that what an entry of the matrix meets lies together;
eight, four, two and one at a time (`host.lanes`). Where lines begin with cache lines (`laid`), eight take as long as two alone;
elsewhere four times that.
"""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.lanes import row_add, row_dot
from mpiopt.kernels.host.prefetch import prefetch, unsigned

AHEAD = 64  # entries
_AHEAD, _0, _1, _2, _4, _8, _16 = (np.uint64(each) for each in (AHEAD, 0, 1, 2, 4, 8, 16))

LINE = 8  # numbers in a cache line

_kernel = njit(cache=True, nogil=True, error_model="numpy")
_part = njit(cache=True, part=True, nogil=True, error_model="numpy")
_dot8, _dot4, _dot2, _dot1 = map(row_dot, (8, 4, 2, 1))
_add8, _add4, _add2, _add1 = map(row_add, (8, 4, 2, 1))


def room(count: int, k: int) -> np.ndarray:
    """An empty table (count, k or a few more), laid out as the loops like it."""
    width = k if k in (1, 2, 4) else 4 if k == 3 else -(-k // LINE) * LINE
    whole = np.empty(count * width + LINE)
    first = -whole.ctypes.data // whole.itemsize % LINE
    return whole[first : first + count * width].reshape(count, width)


def laid(table: np.ndarray) -> np.ndarray:
    """A table (count, k) as the loops like it: itself, or a copy in float64 with 0 in the columns beyond k."""
    if fits(table):
        return table
    out = room(*table.shape)
    out[:, : table.shape[1]] = table
    out[:, table.shape[1] :] = 0
    return out


def fits(table: np.ndarray) -> bool:
    """Whether it is laid out so."""
    k, plain = table.shape[1], table.dtype == np.float64 and table.flags.c_contiguous
    return plain and (k == 1 or (table.ctypes.data % (8 * LINE) == 0 and (k in (2, 4) or k % LINE == 0)))


@_kernel
def dot_many(indptr, indices, data, x, out):
    """out = A x, overwritten; x : (cols, k), out : (rows, k)."""
    start, index = unsigned(indptr), unsigned(indices)
    flat, into, width = x.reshape(-1), out.reshape(-1), np.uint64(x.shape[1])
    for i in range(out.shape[0]):
        k, end, c, at = start[i], start[i + 1], _0, np.uint64(i) * width
        while c + _8 <= width:
            _dot8(k, end, index, data, flat, width, c, _AHEAD, into, at + c)
            c += _8
        if c + _4 <= width:
            _dot4(k, end, index, data, flat, width, c, _AHEAD, into, at + c)
            c += _4
        if c + _2 <= width:
            _dot2(k, end, index, data, flat, width, c, _AHEAD, into, at + c)
            c += _2
        if c < width:
            _dot1(k, end, index, data, flat, width, c, _AHEAD, into, at + c)


@_kernel
def tdot_many(indptr, indices, data, r, out):
    """out = A^T r, overwritten; r : (rows, k), out : (cols, k)."""
    start, index = unsigned(indptr), unsigned(indices)
    flat, factors, width = out.reshape(-1), r.reshape(-1), np.uint64(out.shape[1])
    out[:] = 0.0
    for i in range(r.shape[0]):
        k, end, c, at = start[i], start[i + 1], _0, np.uint64(i) * width
        while c + _8 <= width:
            _add8(k, end, index, data, flat, width, c, _AHEAD, factors, at + c)
            c += _8
        if c + _4 <= width:
            _add4(k, end, index, data, flat, width, c, _AHEAD, factors, at + c)
            c += _4
        if c + _2 <= width:
            _add2(k, end, index, data, flat, width, c, _AHEAD, factors, at + c)
            c += _2
        if c < width:
            _add1(k, end, index, data, flat, width, c, _AHEAD, factors, at + c)


@_part
def _ask(flat, first, width):
    """Ask for flat[first : first + width]."""
    k = np.uint64(0)
    while k < width:
        prefetch(flat, first + k)
        k += _8


@_kernel
def squares_many(indptr, indices, data, h, out):
    """out_j = sum_i a_ij^2 h_i, overwritten; h : (rows, k), out : (cols, k)."""
    start, index = unsigned(indptr), unsigned(indices)
    flat, width = out.reshape(-1), np.uint64(out.shape[1])
    out[:] = 0.0
    for i in range(h.shape[0]):
        row = h[i]
        k, end = start[i], start[i + 1]
        while k < end:
            _ask(flat, np.uint64(index[k + _16]) * width, width)
            a, line = np.float64(data[k]) * np.float64(data[k]), out[index[k]]
            for c in range(row.size):
                line[c] += a * row[c]
            k += _1
