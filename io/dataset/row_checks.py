"""What the rows of a shard must be, looked at where they enter, so that no kernel needs bounds checks.

What is not as it must be raises ValueError with a few words, for `Shards.opened` to name the file.
"""

from collections.abc import Collection
from typing import NamedTuple

import h5py
import numpy as np

from mpiopt.errors import UsageError
from mpiopt.io.dataset.beside import COLUMNS, WEIGHT, faulty
from mpiopt.io.dataset.dense_row import Item
from mpiopt.io.dataset.index import CHUNK, Shard
from mpiopt.io.dataset.labels import Labels, shown
from mpiopt.io.disk.foreign_hdf5 import FLOAT, INTEGER, NUMBER, column
from mpiopt.kernels.csr import CSR
from mpiopt.kernels.host.sound import complaint


class SparseArrays(NamedTuple):
    """The datasets of a sparse shard, of the types and sizes that the index says."""

    data: h5py.Dataset
    indices: h5py.Dataset
    indptr: h5py.Dataset
    y: h5py.Dataset
    weight: h5py.Dataset | None
    offset: h5py.Dataset | None

    @classmethod
    def of(cls, file: h5py.File, shard: Shard, beside: Collection[str]) -> "SparseArrays":
        """Those of an open shard; ``beside`` (of `dataset.beside`) has to be there."""
        nnz, rows = (shard.nnz,), (shard.rows,)
        return cls(
            column(file, "X/data", FLOAT, nnz, packed=True),
            column(file, "X/indices", INTEGER, nnz, packed=True),
            column(file, "X/indptr", ("i8",), (shard.rows + 1,), packed=True),
            column(file, "y", FLOAT, rows, packed=True),
            *(column(file, name, FLOAT, rows, packed=True) if name in {*file, *beside} else None for name in COLUMNS),
        )

    def span(self, first: int, last: int) -> tuple[int, int]:
        """The first and the last entry + 1 of rows first <= i < last."""
        start, end = int(self.indptr[first]), int(self.indptr[last])
        whole = (first or start == 0) and (last < len(self.y) or end == len(self.data))
        if not (0 <= start <= end <= len(self.data) and whole):
            raise ValueError(f"its rows {first} to {last} cannot have the entries {start} to {end} of {len(self.data)}")
        return start, end


def dense(file: h5py.File, shard: Shard, item: Item) -> tuple[h5py.Dataset, h5py.Dataset]:
    """The rows and the labels of an open dense shard."""
    stored = np.dtype(item.stored).str[1:]
    return (
        column(file, "X/data", (stored,), (shard.rows, *item.shape), packed=True),
        column(file, "y", NUMBER, (shard.rows,), packed=True),
    )


def pointers(indptr: np.ndarray, start: int, end: int) -> None:
    """See that the row pointers (rows + 1,) ascend from ``start`` to ``end``."""
    if indptr[0] != start or indptr[-1] != end or (np.diff(indptr) < 0).any():
        raise ValueError(f"its row pointers do not ascend from {start} to {end}")


def entries(matrix: CSR, rows: slice, first: int) -> None:
    """See that rows of a matrix, the first of which is row ``first`` of the shard, are sound."""
    indptr = matrix.indptr[rows.start : rows.stop + 1]
    if found := complaint(indptr, matrix.indices, matrix.data, matrix.shape[1], first):
        raise ValueError(found)


def narrowed(values: np.ndarray, stored: h5py.Dataset, start: int) -> None:
    """See that ``values`` (n,), read from entry ``start`` on, have lost none to the type that they are wanted in.

    Raises UsageError: what is stored is sound.
    """
    if values.dtype.itemsize >= stored.dtype.itemsize:
        return
    for at in range(0, len(values), CHUNK):
        lost = ~np.isfinite(values[at : at + CHUNK])
        if lost.any() and np.isfinite(value := stored[start + at + int(lost.argmax())]):
            raise UsageError(f"the value {value:g} is stored, which is too large for `values={values.dtype}`: leave that out")


def labelled(y: np.ndarray, labels: Labels) -> None:
    """See that labels (rows,) are among those of the whole set."""
    unknown = labels.unknown(y)
    if len(unknown):
        raise ValueError(f"it has the label {shown(float(unknown[0]))}, and the labels are {labels.text()}")


def beside(name: str, values: np.ndarray) -> None:
    """See that weights (rows,) are finite and not negative, and offsets finite."""
    if faulty(name, values).any():
        raise ValueError(f"it has {name}s that are {'negative or ' * (name == WEIGHT)}not finite")


def finite(x: np.ndarray) -> None:
    """See that dense rows are finite, some at a time."""
    for rows in np.array_split(x, -(-x.size // CHUNK)) if x.dtype.kind == "f" and x.size else ():
        if not np.isfinite(rows).all():
            raise ValueError("it has values that are not finite")
