"""A sparse matrix as compressed rows, in buffers that run on past their end: the kernels may look ahead freely."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.kernels import host
from mpiopt.kernels.host import reduction
from mpiopt.kernels.host.products_many import fits, laid, room
from mpiopt.kernels.host.rows import pack
from mpiopt.kernels.host.sound import complaint

PAD = 256
DENSE = 10  # a product of dense rows in BLAS is so many times faster than entry by entry
BLOCK = 1 << 20  # entries of dense rows at a time


@dataclass(frozen=True, eq=False)
class CSR:
    """A : shape (rows, cols), float32 or float64, at 4 + 4 (or 4 + 8) bytes a nonzero and 8 bytes a row.

    indptr : (rows + 1,) int64, offsets into indices and data, not necessarily from 0; indices : int32, data : float32
    or float64, both views of buffers at least PAD elements longer (`CSR.empty`, `CSR.of`). Vectors are float64 or
    float32 (then sums along a row are still kept in float64). Rows are this process's own: nothing here communicates.
    fewer : the same rows in fewer columns, where they came with them (`beside`); whatever is made of rows comes without.
    Raises UsageError on arrays that do not fit.
    """

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    shape: tuple[int, int]
    fewer: "FewerColumns | None" = field(init=False, default=None, repr=False)

    def __post_init__(self):
        if self.indptr.shape != (self.shape[0] + 1,) or self.indptr.dtype != np.int64 or self.indices.dtype != np.int32:
            raise UsageError(
                f"CSR of shape {self.shape} was given indptr {self.indptr.dtype}{self.indptr.shape} and indices "
                f"{self.indices.dtype}; it needs int64 ({self.shape[0] + 1},) and int32: use CSR.of to convert"
            )
        if min(_slack(self.indices), _slack(self.data)) < PAD:
            raise UsageError(f"CSR needs buffers that run on {PAD} elements past their end: use CSR.empty or CSR.of")

    @classmethod
    def empty(cls, rows: int, nnz: int, cols: int, dtype=np.float32) -> Self:
        """A matrix whose arrays the caller fills in place; indptr is all 0 at first."""
        return cls(np.zeros(rows + 1, np.int64), _padded(nnz, np.int32), _padded(nnz, dtype), (rows, cols))

    @classmethod
    def of(cls, indptr, indices, data, shape: tuple[int, int]) -> Self:
        """A padded copy of the three arrays, each row in the order of its columns; data keeps float32 or float64.

        Raises UsageError on arrays that do not fit, columns out of range or twice in a row, and values that are not finite
        or above 1e150, whose squares would not be.
        """
        indptr, indices, data = map(np.asarray, (indptr, indices, data))
        _demand(indptr, indices, data, shape)
        dtype = data.dtype if data.dtype in (np.float32, np.float64) else np.float64
        matrix = cls.empty(shape[0], len(data), shape[1], dtype)
        matrix.indptr[:], matrix.indices[:], matrix.data[:] = indptr, indices, data
        if matrix._complaint():
            matrix._sort()
        if found := matrix._complaint():
            raise UsageError(f"{found}: a CSR of shape {shape} cannot be made of these")
        return matrix

    def beside(self, fewer: "FewerColumns") -> Self:
        """These very rows, with what was made of them. Raises UsageError for other rows."""
        if fewer.rows.shape[0] != self.shape[0]:
            raise UsageError(f"{self.shape[0]} rows were given {fewer.rows.shape[0]} in fewer columns: give as many")
        made = replace(self)
        object.__setattr__(made, "fewer", fewer)
        return made

    def _complaint(self) -> str:
        return complaint(self.indptr, self.indices, self.data, self.shape[1])

    def _sort(self) -> None:
        """Put the entries of each row in the order of their columns."""
        entries = slice(self.indptr[0], self.indptr[-1])
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self.indptr))
        order = np.lexsort((self.indices[entries], rows)) + entries.start
        self.indices[entries], self.data[entries] = self.indices[order], self.data[order]

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return int(self.indptr[-1] - self.indptr[0])

    def renumbered(self, places: np.ndarray, cols: int) -> Self:
        """The same entries, of column j in column places[j] of ``cols``; places : (columns,) int32. Values are shared."""
        indices = _padded(len(self.indices), np.int32)
        reduction.renumber(self.indptr, self.indices, places, indices)
        indices[int(self.indptr[-1]) :] = 0
        return replace(self, indices=indices, shape=(self.shape[0], cols))

    def rows_slice(self, lo: int, hi: int) -> Self:
        """Rows lo <= i < hi, without a copy."""
        return type(self)(self.indptr[lo : hi + 1], self.indices, self.data, (hi - lo, self.shape[1]))

    def take(self, rows: np.ndarray) -> Self:
        """The given rows (b,) in their order, copied."""
        starts = self.indptr[:-1][rows]
        lengths = self.indptr[1:][rows] - starts
        out = self.empty(len(rows), int(lengths.sum()), self.shape[1], self.data.dtype)
        np.cumsum(lengths, out=out.indptr[1:])
        if len(rows):
            pack(starts, lengths, self.indices, self.data, out.indices, out.data)
        return out

    def dot(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """A x : (rows,), from x : (cols,); out is overwritten."""
        out = self._check(x, 1, out, 0)
        host.dot(self.indptr, self.indices, self.data, x, out)
        return out

    def tdot(self, r: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """A^T r : (cols,), from r : (rows,); out is overwritten."""
        out = self._check(r, 0, out, 1)
        host.tdot(self.indptr, self.indices, self.data, r, out)
        return out

    def hvp(self, h: np.ndarray, v: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """A^T (h * (A v)) : (cols,), from h : (rows,), v : (cols,), in one pass; out is overwritten."""
        self._check(h, 0, None, 0)
        out = self._check(v, 1, out, 1)
        host.hvp(self.indptr, self.indices, self.data, h, v, out)
        return out

    def squares(self, h: np.ndarray | None = None) -> np.ndarray:
        """sum_i h_i a_ij^2 : (cols,) float64, from h : (rows,), all ones if None."""
        h = np.empty(0) if h is None else h
        out = np.empty(self.shape[1])
        host.squares(self.indptr, self.indices, self.data, h, out)
        return out

    def dot_many(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """A x : (rows, k), from k vectors side by side, x : (cols, k); out is overwritten."""
        return self._beside(host.dot_many, x, self._check(x, 1, out, 0, beside=True))

    def tdot_many(self, r: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """A^T r : (cols, k), from r : (rows, k); out is overwritten."""
        return self._beside(host.tdot_many, r, self._check(r, 0, out, 1, beside=True))

    def squares_many(self, h: np.ndarray) -> np.ndarray:
        """sum_i a_ij^2 h_i : (cols, k) float64, from h : (rows, k)."""
        out = self._check(h, 0, None, 1, beside=True)
        host.squares_many(self.indptr, self.indices, self.data, h, out)
        return out

    def _beside(self, product: Callable[..., None], given: np.ndarray, out: np.ndarray) -> np.ndarray:
        """A product with several vectors, copied to and from where it is quick, if that is elsewhere."""
        into = out if fits(out) else room(*out.shape)
        product(self.indptr, self.indices, self.data, laid(given), into)
        if into is not out:
            out[...] = into[:, : out.shape[1]]
        return out

    def gram(self, h: np.ndarray) -> np.ndarray:
        """The upper triangle, row by row, of sum_i h_i a_i a_i^T : (cols (cols + 1) / 2,) float64, from h : (rows,), h >= 0."""
        rows, cols = self.shape
        out = np.zeros(cols * (cols + 1) // 2)
        lengths = np.diff(self.indptr)
        if float(lengths @ lengths) <= rows * cols**2 / DENSE:
            host.gram(self.indptr, self.indices, self.data, h, cols, out)
            return out
        square, step = np.zeros((cols, cols)), max(1, BLOCK // cols)
        for lo in range(0, rows, step):
            part = self.rows_slice(lo, min(lo + step, rows))
            block = np.empty(part.shape)
            host.spread(part.indptr, part.indices, part.data, np.sqrt(h[lo : lo + step]), block)
            square += block.T @ block
        return square[np.triu_indices(cols)]

    def row_squares(self) -> np.ndarray:
        """|a_i|^2 : (rows,) float64."""
        out = np.empty(self.shape[0])
        host.row_squares(self.indptr, self.data, out)
        return out

    def _check(self, given: np.ndarray, axis: int, out: np.ndarray | None, out_axis: int, beside: bool = False) -> np.ndarray:
        """The array to write, once `given` and it are known to have the lengths that the unchecked loops rely on.

        beside : of several vectors side by side, as many in both.
        """
        many = given.shape[1:2] if beside else ()
        asked, made = (self.shape[axis], *many), (self.shape[out_axis], *many)
        out = np.empty(made, given.dtype) if out is None else out
        if given.shape != asked or out.shape != made or (beside and not given.ndim == 2):
            raise UsageError(
                f"a matrix of shape {self.shape} was given a vector of shape {given.shape} and an output of shape "
                f"{out.shape}; they must be {asked} and {made}"
            )
        return out


@dataclass(frozen=True, eq=False)
class FewerColumns:
    """Some rows in fewer, renumbered columns, and the way back; see `problems.reduced`, which makes such.

    rows : those of one worker. columns, singles, sources, factors : of all workers, as `problems.reduced.Reduced` has them.
    """

    rows: CSR
    columns: np.ndarray
    singles: np.ndarray
    sources: np.ndarray
    factors: np.ndarray


def _demand(indptr: np.ndarray, indices: np.ndarray, data: np.ndarray, shape: tuple[int, int]) -> None:
    """Raise UsageError where the three arrays are not those of rows with so many columns."""
    kinds = indptr.dtype.kind in "iu" and (indices.dtype.kind in "iu" or not len(indices)) and data.dtype.kind in "biuf"
    if not (kinds and indptr.shape == (shape[0] + 1,) and indices.shape == data.shape == (len(data),)):
        raise UsageError(
            f"a CSR of shape {shape} was given indptr {indptr.dtype}{indptr.shape}, indices {indices.dtype}{indices.shape} and "
            f"data {data.dtype}{data.shape}: it needs integers ({shape[0] + 1},) and (nonzeros,), and numbers (nonzeros,)"
        )
    if not 0 <= indptr[0] <= indptr[-1] <= len(data) or (indptr[1:] < indptr[:-1]).any():
        raise UsageError(f"the indptr of a CSR is to ascend from 0 or above to at most its {len(data)} entries")
    if not 0 <= shape[1] < 2**31 or (len(indices) and not 0 <= indices.min() <= indices.max() < shape[1]):
        found = f" with columns {indices.min()} to {indices.max()}" if len(indices) else ""
        raise UsageError(f"a CSR of {shape[1]} columns{found} cannot be made: there may be 2^31 - 1, numbered from 0")


def _padded(size: int, dtype) -> np.ndarray:
    buffer = np.empty(size + PAD, dtype)
    buffer[size:] = 0
    return buffer[:size]


def _slack(array: np.ndarray) -> int:
    """Elements of the array's buffer past its end."""
    owner = array if array.base is None else array.base
    if not isinstance(owner, np.ndarray) or not array.flags.c_contiguous:
        return 0
    end = owner.ctypes.data + owner.nbytes - array.ctypes.data - array.nbytes
    return end // array.itemsize
