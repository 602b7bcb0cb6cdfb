"""A sparse matrix on the GPU, by rows and by columns, with the methods of `kernels.csr.CSR`."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import numpy as np

from mpiopt.arrays import Array, on_host
from mpiopt.errors import UsageError
from mpiopt.kernels.csr import CSR
from mpiopt.kernels.device.launch import demand, kernel, library, run

LARGEST = 2**31 - 1  # nonzeros in a block, so that sorting and counting may use 32 bits
PIECE = 1024  # entries that one warp sums of a long row
DENSE = 1 << 24  # entries of rows written out at a time
SORTING = 32  # bytes an entry that making the copy by columns may take for a while, besides the copy


@dataclass(frozen=True, eq=False)
class Lines:
    """Compressed lines: a block's rows, or its columns. start : (lines + 1,) int64, index : int32, data : VALUE.

    Lines of at most ``limit`` entries take ``lanes`` threads each; of longer ones there is a list, and of their pieces.
    """

    start: Array
    index: Array
    data: Array
    lanes: int = field(init=False)
    limit: int = field(init=False)
    long: tuple[Array, ...] = field(init=False)  # long lines, their first pieces, and the pieces' owners; or ()

    def __post_init__(self):
        xp, lengths = library(), library().diff(self.start)
        mean = int(lengths.sum()) / max(self.count, 1)
        lanes = next((lanes for lanes in (2, 4, 8, 16) if mean <= 4 * lanes), 32)
        long, limit = xp.flatnonzero(lengths > 64 * lanes), 64 * lanes
        object.__setattr__(self, "lanes", lanes)
        object.__setattr__(self, "limit", limit)
        object.__setattr__(self, "long", _pieces(long, lengths) if long.size else ())

    @property
    def count(self) -> int:
        """How many lines."""
        return self.start.size - 1

    def product(self, term: str, x: Array, out: Array, scale: Array | None = None, more: bool = False) -> None:
        """out (or out + for ``more``) = scale * sum over each line's entries of ``term``: plain a x, square a^2 x, norm a^2."""
        vector, value = out.dtype, self.data.dtype
        last = (out if scale is None else scale, np.int32(scale is not None), np.int32(more), out)
        arrays = self.start, self.index, self.data, x
        run(
            kernel("products", f"{term}_{self.lanes}", vector, value),
            self.count * self.lanes,
            np.int64(self.count),
            np.int64(self.limit),
            *arrays,
            *last,
        )
        if self.long:
            lines, first, owner = self.long
            partial = library().empty(owner.size, np.float64)
            run(
                kernel("products", f"{term}_pieces", vector, value),
                32 * owner.size,
                np.int64(owner.size),
                np.int64(PIECE),
                owner,
                first,
                lines,
                *arrays,
                partial,
            )
            run(
                kernel("products", "join_pieces", vector, value),
                32 * lines.size,
                np.int64(lines.size),
                first,
                lines,
                partial,
                *last,
            )


def _pieces(lines: Array, lengths: Array) -> tuple[Array, ...]:
    """The long lines (int64), the number of each one's first piece, one number more than lines, and each piece's line."""
    xp = library()
    first = xp.zeros(lines.size + 1, np.int64)
    first[1:] = xp.cumsum((lengths[lines] + (PIECE - 1)) // PIECE)
    owner = xp.searchsorted(first, xp.arange(int(first[-1])), side="right") - 1
    return lines, first, owner.astype(np.int32)


@dataclass(frozen=True, eq=False)
class Band:
    """Rows lo <= i < hi, by rows or by columns."""

    lo: int
    hi: int
    lines: Lines


@dataclass(frozen=True, eq=False)
class DeviceCSR:
    """A : shape (rows, cols) on the GPU, in blocks of rows with fewer than 2^31 nonzeros.

    indptr : (rows + 1,) int64, indices : int32, data : float32 or float64, on the GPU; vector : type of the vectors that
    it is multiplied with. ``atomic`` does without the copy by columns: half the memory, but A^T r is added up in whatever
    order the card comes to it, so that its last digits change from run to run.
    Raises UsageError where the copy does not fit into the card's memory.
    """

    indptr: Array
    indices: Array
    data: Array
    shape: tuple[int, int]
    vector: Any = np.float64
    atomic: bool = False
    blocks: tuple[Band, ...] = field(init=False)
    turned: tuple[Band, ...] = field(init=False)  # the copy by columns; () if ``atomic``
    _heads: dict = field(init=False, default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "vector", np.dtype(self.vector))
        starts = on_host(self.indptr)
        bounds = [0]
        while bounds[-1] < self.shape[0] or len(bounds) == 1:
            fits = int(np.searchsorted(starts, starts[bounds[-1]] + LARGEST, side="right")) - 1
            bounds.append(min(max(fits, bounds[-1] + 1), self.shape[0]))
        pairs = list(pairwise(bounds))
        if not self.atomic:
            most = max(int(starts[hi] - starts[lo]) for lo, hi in pairs)
            copy = self.nnz * (4 + self.data.dtype.itemsize) + 8 * len(pairs) * (self.shape[1] + 1)
            demand(copy + SORTING * most, f"the copy by columns of {self.nnz:,} nonzeros")
        blocks = tuple(Band(lo, hi, Lines(self.indptr[lo : hi + 1], self.indices, self.data)) for lo, hi in pairs)
        object.__setattr__(self, "blocks", blocks)
        object.__setattr__(self, "turned", () if self.atomic else tuple(self._turned(block, starts) for block in blocks))

    def _turned(self, block: Band, starts: np.ndarray) -> Band:
        begin, end = int(starts[block.lo]), int(starts[block.hi])
        return Band(block.lo, block.hi, _turned(block.lines, begin, end, self.shape[1]))

    @classmethod
    def of(cls, matrix: CSR, vector: Any = np.float64, atomic: bool = False) -> Self:
        """A host matrix's copy on the GPU. Raises UsageError with the bytes needed and free where it does not fit."""
        cupy, nnz = library(), matrix.nnz
        demand(nnz * (4 + matrix.data.dtype.itemsize) + matrix.indptr.nbytes, f"a matrix of {nnz:,} nonzeros")
        used = slice(int(matrix.indptr[0]), int(matrix.indptr[-1]))
        indptr = cupy.asarray(matrix.indptr - matrix.indptr[0])
        return cls(indptr, cupy.asarray(matrix.indices[used]), cupy.asarray(matrix.data[used]), matrix.shape, vector, atomic)

    @property
    def nnz(self) -> int:
        """Stored entries."""
        return int(self.indptr[-1] - self.indptr[0])

    def rows_slice(self, lo: int, hi: int) -> Self:
        """Rows lo <= i < hi; the entries are shared, the copy by columns is made anew and kept for the next call."""
        if (lo, hi) == (0, self.shape[0]):
            return self
        if (lo, hi) not in self._heads:
            self._heads.clear()
            arrays = self.indptr[lo : hi + 1], self.indices, self.data
            self._heads[lo, hi] = type(self)(*arrays, (hi - lo, self.shape[1]), self.vector, self.atomic)
        return self._heads[lo, hi]

    def take(self, rows: Array) -> Self:
        """The given rows (b,) in their order, copied; their A^T r is atomic, since a copy by columns would cost more."""
        xp = library()
        rows = xp.asarray(rows)
        starts = self.indptr[:-1][rows]
        indptr = xp.zeros(rows.size + 1, np.int64)
        indptr[1:] = xp.cumsum(self.indptr[1:][rows] - starts)
        entry = xp.arange(int(indptr[-1]))
        owner = xp.searchsorted(indptr, entry, side="right") - 1
        entry += (starts - indptr[:-1])[owner]
        shape = (rows.size, self.shape[1])
        return type(self)(indptr, self.indices[entry], self.data[entry], shape, self.vector, atomic=True)

    def dot(self, x: Array, out: Array | None = None) -> Array:
        """A x : (rows,), from x : (cols,); out is overwritten."""
        return self._by_rows("plain", x, self._check(x, 1, out, 0))

    def tdot(self, r: Array, out: Array | None = None) -> Array:
        """A^T r : (cols,), from r : (rows,); out is overwritten."""
        out = self._check(r, 0, out, 1)
        if self.atomic:
            return self._scatter(r, r, 0, out)
        for block in self.turned:
            block.lines.product("plain", r[block.lo : block.hi], out, more=block.lo > 0)
        return out

    def hvp(self, h: Array, v: Array, out: Array | None = None) -> Array:
        """A^T (h * (A v)) : (cols,), from h : (rows,), v : (cols,); out is overwritten."""
        self._check(h, 0, h, 0)
        out = self._check(v, 1, out, 1)
        if self.atomic:
            return self._scatter(h, v, 2, out)
        return self.tdot(self._by_rows("plain", v, library().empty(self.shape[0], self.vector), h), out)

    def squares(self, h: Array | None = None) -> Array:
        """sum_i h_i a_ij^2 : (cols,), from h : (rows,), all ones if None."""
        out = library().empty(self.shape[1], self.vector)
        if h is not None:
            self._check(h, 0, h, 0)
        if self.atomic:
            return self._scatter(h, out, 1, out)
        for block in self.turned:
            part = out if h is None else h[block.lo : block.hi]
            block.lines.product("norm" if h is None else "square", part, out, more=block.lo > 0)
        return out

    def gram(self, h: Array) -> Array:
        """The upper triangle, row by row, of sum_i h_i a_i a_i^T : (cols (cols + 1) / 2,), from h : (rows,), h >= 0."""
        xp, (rows, cols) = library(), self.shape
        square, step = xp.zeros((cols, cols), self.vector), max(1, DENSE // cols)
        for lo in range(0, rows, step):
            starts = self.indptr[lo : lo + step + 1]
            entries = xp.arange(int(starts[0]), int(starts[-1]))
            block = xp.zeros((starts.size - 1, cols), self.vector)
            block[xp.searchsorted(starts, entries, side="right") - 1, self.indices[entries]] = self.data[entries]
            block *= xp.sqrt(h[lo : lo + step])[:, None]
            square += block.T @ block
        return square[tuple(map(xp.asarray, np.triu_indices(cols)))]

    def row_squares(self) -> Array:
        """|a_i|^2 : (rows,)."""
        out = library().empty(self.shape[0], self.vector)
        return self._by_rows("norm", out, out)

    def _by_rows(self, term: str, x: Array, out: Array, scale: Array | None = None) -> Array:
        for block in self.blocks:
            cut = slice(block.lo, block.hi)
            block.lines.product(term, x, out[cut], None if scale is None else scale[cut])
        return out

    def _scatter(self, r: Array | None, v: Array, way: int, out: Array) -> Array:
        out[...] = 0
        factor = (out, np.int32(0)) if r is None else (r, np.int32(1))
        run(
            kernel("products", "scatter_atomic", self.vector, self.data.dtype),
            8 * self.shape[0],
            np.int64(self.shape[0]),
            self.indptr,
            self.indices,
            self.data,
            *factor,
            v,
            np.int32(way),
            out,
        )
        return out

    def _check(self, given: Array, axis: int, out: Array | None, out_axis: int) -> Array:
        """The array to write, once `given` and it are known to be what the unchecked kernels rely on."""
        out = library().empty(self.shape[out_axis], self.vector) if out is None else out
        ours = not isinstance(given, np.ndarray) and not isinstance(out, np.ndarray)
        fit = ours and given.shape == (self.shape[axis],) and out.shape == (self.shape[out_axis],)
        if not (fit and given.dtype == out.dtype == self.vector and given.flags.c_contiguous and out.flags.c_contiguous):
            raise UsageError(
                f"a device matrix of shape {self.shape} was given a vector {given.dtype}{given.shape} and an output "
                f"{out.dtype}{out.shape}; they must be on the GPU, contiguous, {self.vector} and of shape "
                f"({self.shape[axis]},) and ({self.shape[out_axis]},)"
            )
        return out


def _turned(rows: Lines, begin: int, end: int, cols: int) -> Lines:
    """The entries begin <= k < end of a block sorted by column, rows ascending within each."""
    xp, count = library(), end - begin
    start = xp.zeros(cols + 1, np.int64)
    index, data = xp.empty(count, np.int32), xp.empty(count, rows.data.dtype)
    if count:
        columns = rows.index[begin:end]
        start[1:] = xp.cumsum(xp.bincount(columns, minlength=cols))
        order = xp.argsort(columns)  # stable
        run(
            kernel("products", "turn", np.dtype(np.float64), rows.data.dtype),
            count,
            np.int64(count),
            np.int64(rows.count),
            np.int64(begin),
            rows.start,
            order,
            rows.data,
            index,
            data,
        )
    return Lines(start, index, data)
