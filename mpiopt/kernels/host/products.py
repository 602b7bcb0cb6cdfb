"""Sparse matrix products on the arrays of a CSR matrix A : (rows, cols), one pass over the nonzeros each.

`indptr` : (rows + 1,) int64 holds absolute offsets into `indices` : int32 and `data` : float32 or float64, so that a
slice of rows is a slice of `indptr` alone. `indices` must be readable for AHEAD elements past indptr[-1] (see
`mpiopt.kernels.csr.PAD`). Sums are kept in float64. Nothing is checked here and nothing communicates; the loops
release the interpreter lock.

What makes them fast on one core: unsigned indices (no wrap-around test), four accumulators, the random accesses asked
for AHEAD elements early, and the two streams asked for STREAM elements early, since hardware prefetchers stop at
every page.
"""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.prefetch import prefetch, unsigned

AHEAD = 128
_AHEAD = np.uint64(AHEAD)
_STREAM = np.uint64(512)
_1, _2, _3, _4 = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)

_kernel = njit(cache=True, nogil=True, error_model="numpy")
_part = njit(cache=True, part=True, nogil=True, error_model="numpy")


@_part
def _row_dot(k, end, index, data, x):
    """sum of data[j] x[index[j]] over k <= j < end, asking for what the next rows will need."""
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    while k + _4 <= end:
        prefetch(index, k + _STREAM)
        prefetch(data, k + _STREAM)
        prefetch(x, index[k + _AHEAD])
        prefetch(x, index[k + _AHEAD + _1])
        prefetch(x, index[k + _AHEAD + _2])
        prefetch(x, index[k + _AHEAD + _3])
        a += np.float64(data[k]) * x[index[k]]
        b += np.float64(data[k + _1]) * x[index[k + _1]]
        c += np.float64(data[k + _2]) * x[index[k + _2]]
        d += np.float64(data[k + _3]) * x[index[k + _3]]
        k += _4
    while k < end:
        prefetch(x, index[k + _AHEAD])
        a += np.float64(data[k]) * x[index[k]]
        k += _1
    return (a + b) + (c + d)


@_part
def row_add(k, end, index, data, s, out):
    """out[index[j]] += s data[j] over k <= j < end, asking for what the next rows will need."""
    while k + _4 <= end:
        prefetch(index, k + _STREAM)
        prefetch(data, k + _STREAM)
        prefetch(out, index[k + _AHEAD])
        prefetch(out, index[k + _AHEAD + _1])
        prefetch(out, index[k + _AHEAD + _2])
        prefetch(out, index[k + _AHEAD + _3])
        out[index[k]] += data[k] * s
        out[index[k + _1]] += data[k + _1] * s
        out[index[k + _2]] += data[k + _2] * s
        out[index[k + _3]] += data[k + _3] * s
        k += _4
    while k < end:
        prefetch(out, index[k + _AHEAD])
        out[index[k]] += data[k] * s
        k += _1


@_kernel
def dot(indptr, indices, data, x, out):
    """out = A x; x : (cols,), out : (rows,), overwritten."""
    start, index = unsigned(indptr), unsigned(indices)
    for i in range(out.size):
        out[i] = _row_dot(start[i], start[i + 1], index, data, x)


@_kernel
def tdot(indptr, indices, data, r, out):
    """out = A^T r; r : (rows,), out : (cols,), overwritten."""
    start, index = unsigned(indptr), unsigned(indices)
    out[:] = 0
    for i in range(r.size):
        row_add(start[i], start[i + 1], index, data, np.float64(r[i]), out)


@_kernel
def hvp(indptr, indices, data, h, v, out):
    """out = A^T (h * (A v)) in one pass over the rows; h : (rows,), v, out : (cols,), out overwritten."""
    start, index = unsigned(indptr), unsigned(indices)
    out[:] = 0
    for i in range(h.size):
        s = h[i] * _row_dot(start[i], start[i + 1], index, data, v)
        row_add(start[i], start[i + 1], index, data, np.float64(s), out)


@_kernel
def squares(indptr, indices, data, h, out):
    """out_j = sum_i h_i a_ij^2; h : (rows,), or (0,) for all ones; out : (cols,), overwritten."""
    start, index = unsigned(indptr), unsigned(indices)
    out[:] = 0
    for i in range(start.size - 1):
        s = np.float64(h[i]) if h.size else 1.0
        k, end = start[i], start[i + 1]
        while k < end:
            prefetch(index, k + _STREAM)
            prefetch(data, k + _STREAM)
            prefetch(out, index[k + _AHEAD])
            out[index[k]] += s * np.float64(data[k]) * np.float64(data[k])
            k += _1


@_kernel
def row_squares(indptr, data, out):
    """out_i = |a_i|^2; out : (rows,) float64, overwritten."""
    start = unsigned(indptr)
    for i in range(out.size):
        s = 0.0
        for k in range(start[i], start[i + 1]):
            s += np.float64(data[k]) * np.float64(data[k])
        out[i] = s
