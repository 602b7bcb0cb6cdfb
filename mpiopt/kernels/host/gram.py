"""The sum of h_i a_i a_i^T over the rows of a CSR matrix A : (rows, cols), for few columns.

Its upper triangle, where it is wanted whole, lies row by row in (cols (cols + 1) / 2,) float64: entry (j, k), j <= k, at
j cols - j (j + 1) / 2 + k.
"""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.prefetch import unsigned

_1 = np.uint64(1)

_kernel = njit(cache=True, nogil=True, error_model="numpy")
_part = njit(cache=True, part=True, nogil=True, error_model="numpy")


@_part
def _before(j, cols):
    """Where line j of a triangle would have its column 0."""
    line = np.uint64(j)
    return line * np.uint64(cols) - line * (line + _1) // np.uint64(2)


@_kernel
def gram(indptr, indices, data, h, cols, out):
    """out += sum_i h_i a_i a_i^T, its upper triangle; h : (rows,). The columns of a row need not ascend (`host.reduction`)."""
    start, index = unsigned(indptr), unsigned(indices)
    for i in range(h.size):
        k, end = start[i], start[i + 1]
        ascends = True
        for at in range(k + _1, end):
            ascends &= index[at] > index[at - _1]
        while k < end:
            line = _before(index[k], cols)
            s = np.float64(h[i]) * np.float64(data[k])
            if ascends:
                for other in range(k, end):
                    out[line + index[other]] += s * np.float64(data[other])
            else:
                for other in range(k, end):
                    low, high = min(index[k], index[other]), max(index[k], index[other])
                    out[_before(low, cols) + high] += s * np.float64(data[other])
            k += _1


@_kernel
def gram_rows(indptr, indices, data, h, lo, out):
    """out[j - lo] += line j of sum_i h_i a_i a_i^T from column lo on, lines from lo; h : (rows,)."""
    start, index, hi = unsigned(indptr), unsigned(indices), lo + out.shape[0]
    for i in range(h.size):
        k, end = start[i], start[i + 1]
        while k < end and index[k] < lo:
            k += _1
        first = k
        while k < end and index[k] < hi:
            line = out[index[k] - lo]
            s = np.float64(h[i]) * np.float64(data[k])
            for other in range(first, end):
                line[index[other] - lo] += s * np.float64(data[other])
            k += _1


@_kernel
def pooled(indptr, indices, data, r, place, out):
    """out[place_i] += r_i a_i for the rows with a place from 0 on, out : (places, cols); r, place : (rows,)."""
    for i in range(r.size):
        if place[i] >= 0:
            for k in range(indptr[i], indptr[i + 1]):
                out[place[i], indices[k]] += r[i] * np.float64(data[k])


@_kernel
def spread(indptr, indices, data, scale, out):
    """out_ij = scale_i a_ij; scale : (rows,), out : (rows, cols), overwritten."""
    out[:] = 0
    for i in range(scale.size):
        for k in range(indptr[i], indptr[i + 1]):
            out[i, indices[k]] = np.float64(scale[i]) * np.float64(data[k])
