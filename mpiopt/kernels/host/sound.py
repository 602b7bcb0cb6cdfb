"""Whether the rows of a matrix are such that kernels need no bounds checks and squares no care: one look at every entry."""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.prefetch import unsigned

LARGEST = 1e150  # magnitude of a value: the sum of many of its squares is still finite
_U = np.uint64
_1 = _U(1)

_kernel = njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)


@_kernel
def sound(indptr, indices, data, cols, largest):
    """Whether the columns of every row ascend, from 0 or above to below ``cols``, and no value is above ``largest``.

    indptr : (rows + 1,) int64, ascending, within indices and data; indices : int32; data and largest : float32 or float64.
    Over all entries at once, several at a time, wherever rows begin: there alone columns may fall.
    """
    first, end = _U(indptr[0]), _U(indptr[-1])
    index, top = unsigned(indices), np.uint32(cols)
    wrong, falls = np.int32(0), np.int64(0)
    for j in range(first, end):
        wrong |= np.int32(index[j] >= top) | np.int32(not np.abs(data[j]) <= largest)
    for j in range(first + _1, end):
        falls += np.int64(index[j] <= index[j - _1])
    for i in range(_U(0), _U(indptr.size - 1)):
        start = _U(indptr[i])
        if first < start < _U(indptr[i + _1]):
            falls -= np.int64(index[start] <= index[start - _1])
    return wrong == 0 and falls == 0


@_kernel
def _unsound(indptr, indices, data, cols, largest):
    """The first row that is not sound."""
    for i in range(indptr.size - 1):
        if not sound(indptr[i : i + 2], indices, data, cols, largest):
            return i
    return -1


def complaint(indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, cols: int, first: int = 0) -> str:
    """What is wrong with the first row that is not sound, in a few words, the rows numbered from ``first``; "" for none."""
    largest = data.dtype.type(min(LARGEST, float(np.finfo(data.dtype).max)))
    if sound(indptr, indices, data, cols, largest):
        return ""
    row = _unsound(indptr, indices, data, cols, largest)
    entries = slice(indptr[row], indptr[row + 1])
    columns, values = indices[entries], data[entries]
    if columns.min() < 0 or columns.max() >= cols:
        outside = columns[(columns < 0) | (columns >= cols)][0]
        return f"row {first + row} has an entry in column {outside}, and the columns are 0 to {cols - 1}"
    if (np.diff(columns) <= 0).any():
        return f"the columns of row {first + row} do not ascend"
    value = values[~(np.abs(values) <= largest)][0]
    return f"row {first + row} has the value {value:g} ({values.dtype}), and values are finite and at most {LARGEST:g} in size"
