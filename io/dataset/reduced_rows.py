"""Reading rows in fewer, renumbered columns that lie beside X, each of its shards held against X's checksums.

What is not as it must be raises ValueError with a few words, for `Shards.opened` to name the file: kernels trust these numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import h5py
import numpy as np

from mpiopt.comm.world import World
from mpiopt.errors import DataError
from mpiopt.io.dataset.index import CHUNK, Shard
from mpiopt.io.dataset.reading import Dataset, into
from mpiopt.io.dataset.reduced_index import ReducedIndex, in_range, tie
from mpiopt.io.dataset.row_checks import pointers
from mpiopt.io.dataset.source import Share, Source
from mpiopt.io.disk.foreign_hdf5 import column
from mpiopt.kernels.csr import CSR, FewerColumns
from mpiopt.kernels.host.sound import LARGEST


def with_fewer(source: Source, world: World, found: Sequence[Share]) -> list[Share]:
    """The workers' shares with their rows in fewer columns beside them, where the data set has such of these values.

    Collective. Raises DataError on every rank: where they are not those of X, or damaged.
    """
    if not brought(source) or any(share.matrix.data.dtype != np.dtype(source.values) for share in found):
        return list(found)
    assert isinstance(source, Dataset)
    with world.together(f"reading {source.name}"):
        reader = ReducedRows.of(source)
        back = reader.back()
        pairs = [(share, reader.rows(share.lo, share.hi)) for share in found]
        return [share._replace(matrix=share.matrix.beside(FewerColumns(rows, *back))) for share, rows in pairs]


def brought(source: Source) -> bool:
    """Whether a source has rows in fewer columns. Not collective."""
    return isinstance(source, Dataset) and source.index.reduced is not None


class WayBack(NamedTuple):
    """See `FewerColumns`."""

    columns: np.ndarray
    singles: np.ndarray
    sources: np.ndarray
    factors: np.ndarray


class _Part(NamedTuple):
    """Rows of a shard within those of a worker: as `CSR` has them."""

    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray


@dataclass(frozen=True)
class ReducedRows:
    """Those of a data set that has such. Make one with `of`. Nothing is collective."""

    dataset: Dataset
    index: ReducedIndex

    @staticmethod
    def of(dataset: Dataset) -> "ReducedRows":
        """Of a set that has them."""
        assert dataset.index.reduced is not None
        return ReducedRows(dataset, dataset.index.reduced)

    def back(self) -> WayBack:
        """The way back, of all shards, each known to be of its X. Raises DataError."""
        count, kind = int(self.index.singles.sum()), np.dtype(self.dataset.values)
        way = WayBack(self.index.columns, np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, kind))
        at = 0
        for number, shard in enumerate(self.dataset.index.shards):
            here = slice(at, at := at + int(self.index.singles[number]))
            with self.dataset.opened(shard) as file:
                if tie(file) != self.index.checksum[number]:
                    raise ValueError("its reduced rows are not those of its X")
                self._part(file, number, *(part[here] for part in way[1:]))
        if not _each_once(way.columns, way.singles, self.dataset.cols):
            raise DataError(f"{self.dataset.path} is damaged (its reduced rows have a column twice): convert again")
        return way

    def _part(self, file: h5py.File, number: int, singles: np.ndarray, sources: np.ndarray, factors: np.ndarray) -> None:
        """Fill that of a shard."""
        kept, merged = self.index.kept, int(self.index.merged[number])
        for name, out in (("singles", singles), ("sources", sources), ("factors", factors)):
            into(column(file, f"reduced/{name}", (out.dtype.str[1:],), out.shape, packed=True), 0, out)
        above = not len(sources) or int(sources.min()) >= kept
        if not (in_range(singles, self.dataset.cols) and in_range(sources, kept + merged) and above):
            raise ValueError("its reduced rows lead to columns that there are not")
        if not bool((np.abs(factors) <= 2).all()):  # 1, but for rounding; NaN is none
            raise ValueError("its reduced rows lead back by factors that cannot be")
        sources += np.int32(self.index.before[number])

    def rows(self, lo: int, hi: int) -> CSR:
        """Rows lo <= i < hi, in reduced columns as all shards have them. Raises DataError."""
        parts = list(self.dataset.parts(lo, hi))
        spans = [self._span(*part) for part in parts]
        size = sum(end - start for start, end in spans)
        out = CSR.empty(hi - lo, size, self.index.cols, np.dtype(self.dataset.values))
        row, at = 0, 0
        for (shard, first, last), (start, end) in zip(parts, spans, strict=True):
            indptr, here = out.indptr[row : row + last - first + 1], slice(at, at + end - start)
            part = _Part(indptr, out.indices[here], out.data[here])
            with self.dataset.opened(shard) as file:
                self._fill(part, file, _number(shard), first, (start, end))
            indptr += at - start
            row, at = row + last - first, here.stop
        return out

    def _span(self, shard: Shard, first: int, last: int) -> tuple[int, int]:
        """The entries of a shard's rows: of all of them without opening it."""
        nnz = int(self.index.nnz[_number(shard)])
        if (first, last) == (0, shard.rows):
            return 0, nnz
        with self.dataset.opened(shard) as file:
            held = _pointers(file, shard.rows)
            start, end = int(held[first]), int(held[last])
            if not 0 <= start <= end <= nnz:
                raise ValueError(f"its reduced rows {first} to {last} cannot have the entries {start} to {end} of {nnz}")
            return start, end

    def _fill(self, part: "_Part", file: h5py.File, number: int, first: int, span: tuple[int, int]) -> None:
        """Read the rows of a shard from the ``first`` on; pointers as they are there. Raises ValueError."""
        nnz = (int(self.index.nnz[number]),)
        into(_pointers(file, self.dataset.index.shards[number].rows), first, part.indptr)
        pointers(part.indptr, *span)
        into(column(file, "reduced/indices", ("i4",), nnz, packed=True), span[0], part.indices)
        into(column(file, "reduced/data", (part.data.dtype.str[1:],), nnz, packed=True), span[0], part.data)
        self._settle(part, number)

    def _settle(self, part: "_Part", number: int) -> None:
        """Number the merged columns, each the last of its row, behind those of the shards before. Raises ValueError."""
        kept, merged = self.index.kept, int(self.index.merged[number])
        last = part.indptr[1:][np.diff(part.indptr) > 0] - part.indptr[0] - 1
        own = last[part.indices[last] >= kept]
        numbers = part.indices[own]
        if not in_range(part.indices, kept + merged) or np.count_nonzero(part.indices >= kept) != own.size:
            raise ValueError("its reduced rows have columns that there are not")
        if own.size and not (np.diff(numbers) == 1).all():
            raise ValueError("its reduced rows have merged columns that are not one after the other")
        for at in range(0, len(part.data), CHUNK):
            if not float(np.abs(part.data[at : at + CHUNK]).max()) <= LARGEST:  # nor is NaN
                raise ValueError("its reduced rows have values that are not finite, or too large")
        part.indices[own] += np.int32(self.index.before[number])


def _number(shard: Shard) -> int:
    return int(shard.name.removesuffix(".h5"))


def _pointers(file: h5py.File, rows: int) -> h5py.Dataset:
    return column(file, "reduced/indptr", ("i8",), (rows + 1,), packed=True)


def _each_once(columns: np.ndarray, singles: np.ndarray, cols: int) -> bool:
    """Whether no user's column is kept and merged, or either twice."""
    seen = np.zeros(cols, bool)
    seen[columns] = seen[singles] = True
    return int(np.count_nonzero(seen)) == len(columns) + len(singles)
