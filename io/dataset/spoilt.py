"""What real columns have and drawn ones lack: twins, columns that hardly any row has, and scales far apart."""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.csr import CSR
from mpiopt.kernels.host.hashing import draw, mix, unit

TEN = np.log2(10.0)
_LONE, _SCALE = (np.uint64(k << 56) for k in (16, 17))


def spoil(plain: CSR, cols: int, twins: int, lone: int, scales: float, rows: tuple[int, int], key: np.uint64) -> CSR:
    """Rows of a larger set, (n, cols), from its drawn columns, which are the first.

    twins : columns behind those, equal to every so many-th of them. lone : the last columns, which about one row each has.
    scales : decades over which the columns' units are spread, which are powers of two. rows : the number of the first row, and
    of all rows.
    """
    n, drawn = plain.shape
    counts = np.zeros(n + 1, np.int64)
    step = drawn // twins if twins else 0
    _count(key, plain.indptr, plain.indices, counts, step, twins, lone, *rows)
    made = CSR.empty(n, int(counts[-1]), cols, plain.data.dtype)
    made.indptr[:] = counts
    columns = step, twins, lone, drawn, scales
    _spread(key, plain.indptr, plain.indices, plain.data, made.indptr, made.indices, made.data, *columns, *rows)
    return made


@njit(cache=True, part=True)
def _stands_alone(key, row, lone, rows):
    """Whether a row has a lone column."""
    return unit(draw(mix(key ^ _LONE), np.uint64(row))) * rows < lone


@njit(cache=True, part=True)
def _twin(column, step, twins):
    """The number of a column's twin, -1 where it has none."""
    return column // step if step and column % step == 0 and column // step < twins else -1


@njit(cache=True, nogil=True)
def _count(key, indptr, indices, counts, step, twins, lone, first, rows):
    for i in range(counts.size - 1):
        entries = indptr[i + 1] - indptr[i] + _stands_alone(key, first + i, lone, rows)
        for k in range(indptr[i], indptr[i + 1]):
            entries += _twin(indices[k], step, twins) >= 0
        counts[i + 1] = counts[i] + entries


@njit(cache=True, nogil=True)
def _spread(key, indptr, indices, data, to, index, value, step, twins, lone, drawn, scales, first, rows):
    """Fill rows whose lengths are known, columns ascending: the drawn ones, the twins, the lone one."""
    units = mix(key ^ _SCALE)
    for i in range(to.size - 1):
        own, far = to[i], to[i] + indptr[i + 1] - indptr[i]
        for k in range(indptr[i], indptr[i + 1]):
            column = indices[k]
            index[own] = column
            value[own] = data[k] * 2.0 ** np.rint(scales * TEN * (unit(draw(units, np.uint64(column))) - 0.5))
            twin = _twin(column, step, twins)
            if twin >= 0:
                index[far], value[far] = drawn + twin, value[own]
                far += 1
            own += 1
        if far < to[i + 1]:
            index[far] = drawn + twins + (first + i) * lone // rows
            value[far] = 1.0 / np.sqrt(to[i + 1] - to[i])
