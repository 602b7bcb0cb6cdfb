"""Parsed rows on their way into shards: runs in memory, and beyond a limit in a scratch file.

A run is filled in the order of the text. Once it is known where every row goes, `bin` sorts a run's rows by the piece of
the output that they belong to (only by an index in memory, in fact in the scratch file), and `take` hands them out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from mpiopt.errors import DataError
from mpiopt.io.dataset.shard_writing import Form
from mpiopt.io.dataset.shuffle import Shuffle
from mpiopt.kernels.host.rows import bin_rows, pack

Beside = Mapping[int, np.ndarray]
NOTHING: Beside = MappingProxyType({})
Kind = type[np.int32 | np.uint64]

ROOM = 1 << 23  # nonzeros in a run: 64 MiB
ROW_ROOM = 1 << 20
ROW_BYTES = 28  # label, pointer, place and order


class Picked(NamedTuple):
    """Rows for one piece: places, where each starts in indices and data, how long it is, its label and what is beside that."""

    places: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    y: np.ndarray
    beside: np.ndarray
    indices: np.ndarray
    data: np.ndarray


@dataclass
class MemoryRun:
    """Rows in memory.

    y : (rows,) float64; indptr : (rows + 1,) int64; indices, data : (nonzeros,), or more until `trim`. beside : (rows, k)
    float64, what stands beside a label, once it is known.
    """

    y: np.ndarray
    indptr: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    beside: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    @classmethod
    def empty(cls, values: np.dtype, rows: int = ROW_ROOM, nonzeros: int = ROOM, indices: Kind = np.int32) -> "MemoryRun":
        """A run with room for so many rows and nonzeros, whose indices are of a type."""
        return cls(np.empty(rows), np.zeros(rows + 1, np.int64), np.empty(nonzeros, indices), np.empty(nonzeros, values))

    def trim(self, rows: int) -> None:
        """Keep the first ``rows`` rows: views, since memory that was never touched costs nothing."""
        self.y, self.indptr = self.y[:rows], self.indptr[: rows + 1]
        self.indices, self.data = self.indices[: self.indptr[-1]], self.data[: self.indptr[-1]]

    def ascend(self, add: bool, named: str, called: Callable[[int], int] = int) -> None:
        """Sort the entries of every row by their indices; ``add`` : up the values of one that comes twice, else an error.

        Raises DataError, which names the source, and an index by what it is ``called`` there.
        """
        width = int(self.indices.max()) + 1
        rows = csr_array((self.data, self.indices, self.indptr), shape=(self.rows, width))
        rows.sort_indices()
        at = rows.indices
        twice = np.flatnonzero((at[1:] == at[:-1]) & (np.diff(np.repeat(np.arange(self.rows), np.diff(rows.indptr))) == 0))
        if len(twice) and not add:
            raise DataError(
                f"{named}: a row has the index {called(at[twice[0]])} twice: give `indices=sum` to add up its values"
            )
        rows.sum_duplicates()
        self.indptr, self.indices, self.data = rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data

    def keep_below(self, limit: int) -> int:
        """Leave out the entries with an index of ``limit`` or more; returns how many there were."""
        kept = self.indices < limit
        self.indptr = np.concatenate(([0], np.cumsum(kept)))[self.indptr]
        self.indices, self.data = self.indices[kept], self.data[kept]
        return int(kept.size - self.indptr[-1])

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.y)

    @property
    def nbytes(self) -> int:
        """Memory in use, in bytes."""
        return ROW_BYTES * self.rows + self.beside.nbytes + self.indices.nbytes + self.data.nbytes

    def bin(self, first: int, shuffle: Shuffle, bounds: np.ndarray, given: Beside = NOTHING) -> None:
        """Sort by piece; ``first`` : the run's first row in the whole; bounds : (pieces + 1,) places.

        given : columns (rows,) of what stands beside the labels that came in files of their own.
        """
        for column, values in given.items():
            self.beside[:, column] = values
        self.places = shuffle(first, self.rows)
        self.order, self.cuts = np.empty(self.rows, np.int32), np.empty(len(bounds), np.int64)
        bin_rows(self.places, bounds, self.order, self.cuts)

    def take(self, piece: int) -> Picked:
        """The rows of ``piece``, in place."""
        which = self.order[self.cuts[piece] : self.cuts[piece + 1]]
        starts = self.indptr[which]
        lengths = self.indptr[which + 1] - starts
        return Picked(self.places[which], starts, lengths, self.y[which], self.beside[which], self.indices, self.data)

    def nonzeros(self) -> np.ndarray:
        """Stored entries in each piece : (pieces,) int64."""
        ends = np.concatenate(([0], np.cumsum(np.diff(self.indptr)[self.order])))
        return np.diff(ends[self.cuts])


@dataclass(frozen=True)
class _Stretch:
    """An array in a file, read by slices."""

    path: Path
    offset: int
    dtype: np.dtype
    size: int

    def __getitem__(self, part: slice) -> np.ndarray:
        lo, hi, _ = part.indices(self.size)
        return np.fromfile(self.path, self.dtype, hi - lo, offset=self.offset + lo * self.dtype.itemsize)

    def write(self, values: np.ndarray) -> None:
        with open(self.path, "r+b") as file:
            file.seek(self.offset)
            file.write(values.data)


@dataclass
class FileRun:
    """A run in the scratch file; the same interface as `MemoryRun`."""

    y: _Stretch
    indptr: _Stretch
    indices: _Stretch
    data: _Stretch
    places: _Stretch
    flat: _Stretch

    @classmethod
    def of(cls, run: MemoryRun, path: Path) -> "FileRun":
        """Append a run to the file at ``path``. Raises OSError."""
        with open(path, "ab") as file:
            stretches = []
            for values in (run.y, run.indptr, run.indices, run.data, np.zeros(run.rows, np.int64), run.beside.reshape(-1)):
                stretches.append(_Stretch(path, file.tell(), values.dtype, len(values)))
                file.write(np.ascontiguousarray(values).data)  # unlike tofile, says why it cannot
        return cls(*stretches)

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self.y.size

    def load(self) -> MemoryRun:
        """The run in memory."""
        return MemoryRun(self.y[:], self.indptr[:], self.indices[:], self.data[:], self._beside(0, self.rows))

    def store(self, run: MemoryRun) -> None:
        """Put labels, indices and values that have changed, but not their number, back into the file."""
        for stretch, values in ((self.y, run.y), (self.indices, run.indices), (self.data, run.data)):
            stretch.write(values)

    def _beside(self, lo: int, hi: int) -> np.ndarray:
        width = self.flat.size // max(self.rows, 1)
        return self.flat[lo * width : hi * width].reshape(hi - lo, width)

    def bin(self, first: int, shuffle: Shuffle, bounds: np.ndarray, given: Beside = NOTHING) -> None:
        """As `MemoryRun.bin`; sorts the rows in the file."""
        run = self.load()
        run.bin(first, shuffle, bounds, given)
        lengths = np.diff(run.indptr)[run.order]
        indices, data = np.empty_like(run.indices), np.empty_like(run.data)
        pack(run.indptr[run.order], lengths, run.indices, run.data, indices, data)
        self.cuts, self.counts = run.cuts, run.nonzeros()
        self.indptr.write(np.concatenate(([0], np.cumsum(lengths))))
        for stretch, values in (
            (self.y, run.y[run.order]),
            (self.places, run.places[run.order]),
            (self.flat, run.beside[run.order].reshape(-1)),
            (self.indices, indices),
            (self.data, data),
        ):
            stretch.write(values)

    def take(self, piece: int) -> Picked:
        """The rows of ``piece``, read from the file."""
        lo, hi = int(self.cuts[piece]), int(self.cuts[piece + 1])
        indptr = self.indptr[lo : hi + 1]
        start, stop = int(indptr[0]), int(indptr[-1])
        return Picked(
            self.places[lo:hi],
            indptr[:-1] - start,
            np.diff(indptr),
            self.y[lo:hi],
            self._beside(lo, hi),
            self.indices[start:stop],
            self.data[start:stop],
        )

    def nonzeros(self) -> np.ndarray:
        """Stored entries in each piece : (pieces,) int64."""
        return self.counts


@dataclass
class RunStore:
    """A rank's runs, in order, of which at most ``memory`` bytes stay in memory; the others go to the file ``scratch``.

    columns : the names of the numbers that stand beside a row's label, 1 unless somebody says otherwise.
    """

    memory: int
    scratch: Path
    columns: tuple[str, ...] = ()
    runs: list[MemoryRun | FileRun] = field(default_factory=list)

    @property
    def width(self) -> int:
        """How many numbers stand beside a label."""
        return len(self.columns)

    def add(self, run: MemoryRun) -> None:
        """Keep a finished run. Raises OSError."""
        if run.beside.shape != (run.rows, self.width):
            run.beside = np.ones((run.rows, self.width))
        self.runs.append(run)
        if sum(kept.nbytes for kept in self.runs if isinstance(kept, MemoryRun)) > self.memory:
            self.runs = [FileRun.of(kept, self.scratch) if isinstance(kept, MemoryRun) else kept for kept in self.runs]

    def each(self) -> Iterator[MemoryRun]:
        """The runs, one after the other in memory."""
        for run in self.runs:
            yield run if isinstance(run, MemoryRun) else run.load()

    def change(self, change: Callable[[MemoryRun], None]) -> None:
        """Change labels, indices and values of every run, whose number stays as it is. Raises OSError."""
        for kept in self.runs:
            run = kept if isinstance(kept, MemoryRun) else kept.load()
            change(run)
            if isinstance(kept, FileRun):
                kept.store(run)


def packed(picked: list[Picked], form: Form) -> tuple[np.ndarray, ...]:
    """Rows one after the other, ready to be sent: places, lengths, labels, indices, data."""
    lengths = _joined([rows.lengths for rows in picked], np.int64)
    indices, data = np.empty(lengths.sum(), np.int32), np.empty(lengths.sum(), form.values)
    at = 0
    for rows in picked:
        size = int(rows.lengths.sum())
        pack(rows.starts, rows.lengths, rows.indices, rows.data, indices[at : at + size], data[at : at + size])
        at += size
    return (
        _joined([rows.places for rows in picked], np.int64),
        lengths,
        _joined([rows.y for rows in picked], np.float64),
        _joined([rows.beside.reshape(-1) for rows in picked], np.float64),
        indices,
        data,
    )


def _joined(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.empty(0, dtype)


def unpacked(
    width: int, places: np.ndarray, lengths: np.ndarray, y: np.ndarray, flat: np.ndarray, indices: np.ndarray, data: np.ndarray
) -> Picked:
    """What `packed` made, after its journey; ``width`` : numbers beside a label."""
    starts, beside = np.cumsum(lengths) - lengths, flat.reshape(len(places), width)
    return Picked(places, starts, lengths, y, beside, indices, data)
