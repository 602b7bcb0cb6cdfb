"""Moving rows of different lengths about: sorting them into bins, packing them, putting them in their places."""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.prefetch import prefetch

_U = np.uint64
_AHEAD = 8  # rows
_LINE = _U(16)  # elements in a cache line

_kernel = njit(cache=True, nogil=True, error_model="numpy")
_part = njit(cache=True, part=True, nogil=True, error_model="numpy")


@_kernel
def bin_rows(places, bounds, order, cuts):
    """Sort rows by the bin in which their places fall, keeping their order inside a bin.

    places : (rows,) int64; bounds : (bins + 1,) int64, ascending. Fills order : (rows,) int32, the rows bin by bin, and
    cuts : (bins + 1,) int64, where each bin starts in it.
    """
    bins = bounds.size - 1
    which = np.empty(places.size, np.int32)
    cuts[:] = 0
    for i in range(places.size):
        low, high = 0, bins
        while high - low > 1:
            middle = (low + high) >> 1
            if places[i] < bounds[middle]:
                high = middle
            else:
                low = middle
        which[i] = low
        cuts[low + 1] += 1
    for b in range(bins):
        cuts[b + 1] += cuts[b]
    at = cuts.copy()
    for i in range(places.size):
        order[at[which[i]]] = i
        at[which[i]] += 1


@_kernel
def pack(starts, lengths, indices, data, packed_indices, packed_data):
    """Copy the rows indices[starts[i] : starts[i] + lengths[i]], and data's, one after the other."""
    at, last = _U(0), starts.size - 1
    for i in range(starts.size):
        _ask(indices, data, _U(starts[min(i + _AHEAD, last)]))
        start = _U(starts[i])
        for j in range(_U(lengths[i])):
            packed_indices[at + j] = indices[start + j]
            packed_data[at + j] = data[start + j]
        at += _U(lengths[i])


@_kernel
def kept_entries(indptr, indices, data, place, ends, out_indices, out_data):
    """Copy the entries with a place from 0 on, one row after the other, their indices now their places.

    ends : (rows + 1,), where each row then ends, overwritten. What is copied to has room for all entries, and one more.
    """
    at = _U(0)
    ends[0] = 0
    for i in range(ends.size - 1):
        for k in range(_U(indptr[i]), _U(indptr[i + 1])):
            to = place[_U(indices[k])]
            out_indices[at] = to
            out_data[at] = data[k]
            at += _U(to >= 0)  # the next one is written over what is not kept, which takes no guess
        ends[i + 1] = at


@_kernel
def place(targets, starts, lengths, indices, data, indptr, out_indices, out_data, base, unit):
    """Copy row i to row targets[i] of the matrix (indptr, out_indices, out_data), taking ``base`` off its indices.

    base : of the indices' type. unit : divide each row by its Euclidean norm; rows without nonzeros stay as they are.
    """
    last = targets.size - 1
    for i in range(targets.size):
        ahead = min(i + _AHEAD, last)
        _ask(indices, data, _U(starts[ahead]))
        _ask(out_indices, out_data, _U(indptr[targets[ahead]]))
        start, at, n = _U(starts[i]), _U(indptr[targets[i]]), _U(lengths[i])
        first, scale = 1.0, 1.0
        if unit:
            first, scale = _norm_scales(data, start, n)
        for j in range(n):
            out_indices[at + j] = indices[start + j] - base
            out_data[at + j] = (data[start + j] * first) * scale


@_part
def _norm_scales(data, start, n):
    """Two factors that bring the values data[start : start + n] to Euclidean norm 1; 1 and 1 where all are 0.

    The first is a power of two, and 1 unless squares would overflow or vanish (Blue, A portable Fortran program to find
    the Euclidean norm of a vector, 1978).
    """
    first, squares, largest = 1.0, 0.0, 0.0
    for j in range(n):
        squares += np.float64(data[start + j]) * np.float64(data[start + j])
    if not 1e-270 < squares < 1e270:
        for j in range(n):
            largest = max(largest, abs(np.float64(data[start + j])))
        if largest == 0.0:
            return 1.0, 1.0
        first = 2.0**600 if largest < 1e-100 else 2.0**-600 if largest > 1e100 else 1.0
        squares = 0.0
        for j in range(n):
            squares += (np.float64(data[start + j]) * first) ** 2
    return first, 1.0 / np.sqrt(squares)


@_part
def _ask(indices, data, at):
    """Ask for a row that is due soon: rows lie anywhere, and the processor cannot guess where."""
    prefetch(indices, at)
    prefetch(data, at)
    prefetch(indices, at + _LINE)
    prefetch(data, at + _LINE)
