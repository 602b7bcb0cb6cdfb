"""Whether the rows in fewer columns beside X are what would be made of it, to the bit."""

import numpy as np

from mpiopt.errors import DataError
from mpiopt.io.dataset.index import CHUNK
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.reduced_rows import ReducedRows, WayBack
from mpiopt.kernels.csr import CSR
from mpiopt.kernels.host import reduction
from mpiopt.problems.reduced import FewerRows, fewer_rows


def verify_reduced(dataset: Dataset) -> None:
    """Read both and compare, some rows at a time. Not collective. Raises DataError."""
    held = ReducedRows.of(dataset)
    back, first, merged = held.back(), 0, held.index.kept
    places = np.full(dataset.cols, reduction.NOWHERE, np.int32)
    places[back.columns], places[back.singles] = np.arange(len(back.columns), dtype=np.int32), reduction.SINGLE
    step = max(1, CHUNK * dataset.rows // max(1, dataset.nnz))
    for lo in range(0, dataset.rows, step):
        hi = min(lo + step, dataset.rows)
        made = fewer_rows(dataset.read(lo, hi, None).matrix, places, merged, len(back.singles))
        count = len(made.columns)
        here = WayBack(back.columns, *(part[first : first + count] for part in back[1:]))
        if not _same(held.rows(lo, hi), here, made):
            raise DataError(
                f"{dataset.path} is damaged (its reduced rows are not those of X, from row {lo:,} on): convert again"
            )
        first, merged = first + count, merged + made.merged


def _same(rows: CSR, back: WayBack, made: FewerRows) -> bool:
    """Whether some reduced rows and their part of the way back are those that were ``made``."""
    held = rows.indptr, rows.indices, rows.data, back.singles, back.sources, back.factors
    starts, indices, data, _, *way = made
    return all(np.array_equal(a, b) for a, b in zip(held, (starts, indices, data, *way), strict=True))
