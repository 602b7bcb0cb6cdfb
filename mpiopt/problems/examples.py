"""Rows with answers in memory, handed out batch by batch: dense rows, scaled on the way, or sparse ones."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.errors import DataError
from mpiopt.kernels.csr import CSR
from mpiopt.problems.flaws import finite, first
from mpiopt.words import counted

if TYPE_CHECKING:
    from scipy.sparse import csr_array

PART = 65536  # rows that are looked through at once


class Examples(Protocol):
    """One worker's rows."""

    @property
    def rows(self) -> int:
        """Rows of this worker."""

    def take(self, rows: slice | Array, dtype: np.dtype) -> tuple[Array, Array]:
        """Those rows (b, *shape) of ``dtype`` and their answers (b,) or (b, outputs); perhaps views: not to be written."""

    def flawed(self) -> int | None:
        """The first row that holds, or whose answer is, no finite number."""


@runtime_checkable
class Flat(Protocol):
    """One worker's rows, for models that look at a row as a vector."""

    @property
    def rows(self) -> int:
        """Rows of this worker."""

    @property
    def features(self) -> int:
        """Values in one row."""

    @property
    def y(self) -> Array:
        """The answers: (rows,) class numbers, or (rows, outputs) real."""

    def flat(self, rows: slice | Array, dtype: np.dtype) -> "tuple[Array | csr_array, Array]":
        """As `take`, rows as a matrix (b, features), which may be sparse."""

    def flawed(self) -> int | None:
        """See `Examples.flawed`."""


@dataclass(frozen=True, eq=False)
class Dense:
    """Rows x : (rows, *shape) of any real type, with answers y : (rows,) or (rows, outputs).

    scaled : (stored rows (b, *shape), dtype) -> a new array of that type and shape, such as
    `mpiopt.io.dataset.dense_row.Item.scaled`; None where the values are used as they are. Raises DataError unless there are as
    many answers as rows.
    """

    x: Array
    y: Array
    scaled: Callable[[Array, np.dtype], Array] | None = None

    def __post_init__(self) -> None:
        _fit(len(self.x), self.y)

    @property
    def rows(self) -> int:
        """Rows of this worker."""
        return len(self.x)

    @property
    def features(self) -> int:
        """Values in one row."""
        return prod(self.x.shape[1:])

    def take(self, rows: slice | Array, dtype: np.dtype) -> tuple[Array, Array]:
        """See `Examples.take`."""
        if not isinstance(rows, slice):
            rows = namespace(self.x).asarray(rows)
            x, y = self.x.take(rows, axis=0), self.y.take(rows, axis=0)
        else:
            x, y = self.x[rows], self.y[rows]
        return (x.astype(dtype, copy=False) if self.scaled is None else self.scaled(x, dtype)), y

    def flat(self, rows: slice | Array, dtype: np.dtype) -> tuple[Array, Array]:
        """See `Flat.flat`."""
        x, y = self.take(rows, dtype)
        return x.reshape(len(x), self.features), y

    def flawed(self) -> int | None:
        """See `Examples.flawed`."""
        return first(finite(self.x[lo : lo + PART]) & finite(self.y[lo : lo + PART]) for lo in range(0, self.rows, PART))


@dataclass(frozen=True, eq=False)
class Tokens:
    """Windows of text, x (rows, block + 1) of whole numbers: a row is all tokens but the last, its answer all but the first."""

    x: Array

    @property
    def rows(self) -> int:
        """Rows of this worker."""
        return len(self.x)

    def take(self, rows: slice | Array, dtype: np.dtype) -> tuple[Array, Array]:
        """See `Examples.take`; int64, whatever ``dtype``."""
        x = self.x[rows].astype(np.int64)
        return x[:, :-1], x[:, 1:]

    def flawed(self) -> None:
        """See `Examples.flawed`: whole numbers are finite."""


@dataclass(frozen=True, eq=False)
class Sparse:
    """The rows of a CSR matrix (rows, features), with answers y : (rows,) or (rows, outputs). Raises DataError as `Dense`."""

    matrix: CSR
    y: Array

    def __post_init__(self) -> None:
        _fit(self.rows, self.y)

    @property
    def rows(self) -> int:
        """Rows of this worker."""
        return self.matrix.shape[0]

    @property
    def features(self) -> int:
        """Columns of the matrix."""
        return self.matrix.shape[1]

    def flat(self, rows: slice | Array, dtype: np.dtype) -> "tuple[csr_array, Array]":
        """See `Flat.flat`; slices are not copied."""
        from scipy.sparse import csr_array  # a tenth of a second, which only those with sparse rows wait for

        a = self.matrix.rows_slice(rows.start, rows.stop) if isinstance(rows, slice) else self.matrix.take(rows)
        span = slice(int(a.indptr[0]), int(a.indptr[-1]))
        # scipy wants both kinds of index alike; a batch has fewer than 2^31 nonzeros
        parts = a.data[span].astype(dtype, copy=False), a.indices[span], (a.indptr - a.indptr[0]).astype(np.int32)
        return csr_array(parts, a.shape), self.y[rows]

    def flawed(self) -> int | None:
        """See `Examples.flawed`; the values of a `CSR` are looked at where it is made."""
        return first([finite(self.y)])


def _fit(rows: int, y: Array) -> None:
    if len(y) != rows:
        raise DataError(f"{counted(rows, 'row')} but {counted(len(y), 'answer')}: give one answer for each row")
