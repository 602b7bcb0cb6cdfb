"""The products of `host.products` with several vectors at once: the rows are read once for all of them.

Vectors stand side by side, (cols, k) and (rows, k) in the order of C, so that what an entry of the matrix meets lies together:
from 8 of them on a product costs a third of what as many alone do.
"""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.prefetch import prefetch

AHEAD = 16  # entries; the lines of each are asked for, of which a vector alone has one
_AHEAD, _1, _LINE = np.uint64(AHEAD), np.uint64(1), np.uint64(8)  # numbers in a cache line

_kernel = njit(cache=True, nogil=True, error_model="numpy")


@_kernel
def _ask(flat, first, width):
    """Ask for flat[first : first + width]."""
    k = np.uint64(0)
    while k < width:
        prefetch(flat, first + k)
        k += _LINE


@_kernel
def dot_many(indptr, indices, data, x, out):
    """out = A x, overwritten; x : (cols, k), out : (rows, k)."""
    start, index = indptr.view(np.uint64), indices.view(np.uint32)
    flat, width = x.reshape(-1), np.uint64(x.shape[1])
    out[:] = 0.0
    for i in range(out.shape[0]):
        row = out[i]
        k, end = start[i], start[i + 1]
        while k < end:
            _ask(flat, np.uint64(index[k + _AHEAD]) * width, width)
            a, line = np.float64(data[k]), x[index[k]]
            for c in range(row.size):
                row[c] += a * line[c]
            k += _1


@_kernel
def tdot_many(indptr, indices, data, r, out):
    """out = A^T r, overwritten; r : (rows, k), out : (cols, k)."""
    start, index = indptr.view(np.uint64), indices.view(np.uint32)
    flat, width = out.reshape(-1), np.uint64(out.shape[1])
    out[:] = 0.0
    for i in range(r.shape[0]):
        row = r[i]
        k, end = start[i], start[i + 1]
        while k < end:
            _ask(flat, np.uint64(index[k + _AHEAD]) * width, width)
            a, line = np.float64(data[k]), out[index[k]]
            for c in range(row.size):
                line[c] += a * row[c]
            k += _1


@_kernel
def squares_many(indptr, indices, data, h, out):
    """out_j = sum_i a_ij^2 h_i, overwritten; h : (rows, k), out : (cols, k)."""
    start, index = indptr.view(np.uint64), indices.view(np.uint32)
    flat, width = out.reshape(-1), np.uint64(out.shape[1])
    out[:] = 0.0
    for i in range(h.shape[0]):
        row = h[i]
        k, end = start[i], start[i + 1]
        while k < end:
            _ask(flat, np.uint64(index[k + _AHEAD]) * width, width)
            a, line = np.float64(data[k]) * np.float64(data[k]), out[index[k]]
            for c in range(row.size):
                line[c] += a * row[c]
            k += _1
