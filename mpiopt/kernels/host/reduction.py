"""Rows with fewer and renumbered columns: those of one entry merged row by row, the others by how often they occur.

Arrays as in `host.products`. The columns of a row do not ascend afterwards.
"""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.prefetch import prefetch, unsigned

_AHEAD = np.uint64(64)  # entries
SINGLE, NOWHERE = -2, -1

_kernel = njit(cache=True, nogil=True, error_model="numpy")


@_kernel
def occurrences(indptr, indices, counts):
    """Add to counts : (cols,) int32 how many entries each column has."""
    index = unsigned(indices)
    for k in range(np.uint64(indptr[0]), np.uint64(indptr[-1])):
        prefetch(counts, index[k + _AHEAD])
        counts[index[k]] += np.int32(1)


@_kernel
def renumber(indptr, indices, places, out):
    """Fill out : (entries,) int32, as long as indices, with the numbers ``places`` (cols,) int32 of the rows' columns."""
    index = unsigned(indices)
    for k in range(np.uint64(indptr[0]), np.uint64(indptr[-1])):
        prefetch(places, index[k + _AHEAD])
        out[k] = places[index[k]]


@_kernel
def popularity(counts, places):
    """Columns of more than one entry numbered by falling counts, ties as they were; how many there are.

    counts : (cols,) int32. places : (cols,) int32, overwritten: the number, `SINGLE` or `NOWHERE`.
    """
    most = np.int64(1)
    for j in range(counts.size):
        most = max(most, np.int64(counts[j]))
    begins = np.empty(most + 2, np.int64)
    for count in range(begins.size):
        begins[count] = 0
    for j in range(counts.size):
        begins[counts[j]] += 1
    kept = np.int64(0)
    for count in range(most, 1, -1):
        held = begins[count]
        begins[count] = kept
        kept += held
    for j in range(counts.size):
        count = counts[j]
        if count > 1:
            places[j] = begins[count]
            begins[count] += 1
        else:
            places[j] = SINGLE if count == 1 else NOWHERE
    return kept


@_kernel
def reduce_rows(indptr, indices, data, places, first, starts, out_indices, out_data, columns, sources, factors):
    """Fill the reduced rows, one after the other, and what undoes the merging; how many single entries and merged columns.

    first : the number of the first row's merged column, after all others; rows with single entries have one after the other, at
    their end. A merged column has the length of what it stands for, and its coefficient times ``factors`` are theirs. starts :
    (rows + 1,) int64, where the new rows begin; out_indices, out_data : as long as the old ones at least; columns, sources :
    (singles,) int32 or longer, the user's column and the merged one; factors : as these, a_ij s / s'^2 where s' is that length
    and s what is stored. All are overwritten.
    """
    start, index = unsigned(indptr), unsigned(indices)
    at, single, merged = np.uint64(0), np.uint64(0), first
    one = np.uint64(1)
    starts[0] = 0
    for i in range(starts.size - 1):
        square, k, end, begun = 0.0, start[i], start[i + 1], single
        while k < end:
            prefetch(places, index[k + _AHEAD])
            place = places[index[k]]
            if place == SINGLE:
                columns[single], sources[single], factors[single] = index[k], merged, data[k]
                square += np.float64(data[k]) * data[k]
                single += one
            else:
                out_indices[at], out_data[at] = place, data[k]
                at += one
            k += one
        if single > begun:
            out_indices[at], out_data[at] = merged, np.sqrt(square)
            factor = out_data[at] / square if square > 0.0 else 0.0
            for j in range(begun, single):
                factors[j] *= factor
            merged += 1
            at += one
        starts[i + 1] = np.int64(at)
    return np.int64(single), merged - first
