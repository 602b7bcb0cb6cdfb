"""Reading a data set: any block of rows from any number of shards, straight into the arrays of a matrix."""

import socket
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Literal, Self

import h5py
import numpy as np

from mpiopt.comm.world import World
from mpiopt.errors import DataError
from mpiopt.io.dataset import row_checks
from mpiopt.io.dataset.beside import COLUMNS, WEIGHT
from mpiopt.io.dataset.index import CHUNK, Index, Shard, begun, folder, read_index
from mpiopt.io.dataset.index_checks import consistent
from mpiopt.io.dataset.labels import Labels
from mpiopt.io.dataset.sparse_rows import SparseRows
from mpiopt.io.disk.hdf5_check import BROKEN, parsing, reason
from mpiopt.io.disk.sealed_file import damage, is_sealed
from mpiopt.kernels.csr import CSR


@dataclass(frozen=True, eq=False)
class Shards(ABC):
    """The data set in ``path`` (DATA.h5 beside DATA.shards), of one kind of rows. Make one with `open`."""

    path: Path
    index: Index

    @classmethod
    def open(cls, path: str | Path, world: World | None = None) -> Self:
        """Read the index on rank 0, see that every shard is there in its full size, and tell the others.

        Collective over ``world``; None for this process alone. Raises DataError on every rank.
        """
        path = Path(path)
        if world is None:
            return cls(path, cls._sound(path))
        with world.together(f"opening {path}"):
            index = cls._sound(path) if world.rank == 0 else None
        return cls(path, world.tell(index))

    @classmethod
    def _sound(cls, path: Path) -> Index:
        """The index, once all that it names is there."""
        index = read_index(path)
        with parsing(path, "convert again"):
            consistent(index)
        cls.accept(path, index)
        for shard in index.shards:
            _complete(path, shard)
        return index

    @classmethod
    @abstractmethod
    def accept(cls, path: Path, index: Index) -> None:
        """See that this class can read the set. Raises DataError."""

    @property
    def name(self) -> str:
        """The file's name."""
        return str(self.path)

    @cached_property
    def content(self) -> str:
        """A checksum of the checksums of all rows, and of what dense ones are divided by."""
        item = self.index.item and (self.index.item.scale, self.index.item.mean, self.index.item.std)
        about = [(shard.rows, shard.nnz, shard.digest) for shard in self.index.shards], item
        return blake2b(repr(about).encode(), digest_size=8).hexdigest()

    @property
    def rows(self) -> int:
        """Rows of the whole set."""
        return self.index.rows

    @property
    def labels(self) -> Labels:
        """The labels of the whole set."""
        return self.index.labels

    @cached_property
    def starts(self) -> np.ndarray:
        """The first row of every shard, and the number of rows: (shards + 1,) int64."""
        return np.concatenate(([0], np.cumsum([shard.rows for shard in self.index.shards], dtype=np.int64)))

    def parts(self, lo: int, hi: int) -> Iterator[tuple[Shard, int, int]]:
        """The shards that rows lo to hi lie in, with the first and last row inside each."""
        for number in range(max(0, int(np.searchsorted(self.starts, lo, side="right")) - 1), len(self.index.shards)):
            start, stop = int(self.starts[number]), int(self.starts[number + 1])
            if start >= hi:
                return
            if max(lo, start) < min(hi, stop):
                yield self.index.shards[number], max(lo, start) - start, min(hi, stop) - start

    @contextmanager
    def opened(self, shard: Shard) -> Iterator[h5py.File]:
        """A shard, known to be the one that the index means; what HDF5 says of it becomes a DataError."""
        path = _complete(self.path, shard)
        try:
            if is_sealed(path) and (found := damage(path)):
                raise OSError(found)
            with h5py.File(path, "r", locking=False) as file:  # finished files never change: no lock, network or not
                if file.attrs.get("digest") != shard.digest:
                    advice = begun(self.path) or "convert again"
                    raise DataError(f"{path} belongs to another conversion than {self.path}: {advice}")
                yield file
        except BROKEN as error:
            raise DataError(
                f"{path} is damaged, as host {socket.gethostname()} finds it ({reason(error)}): copy it again or convert again"
            ) from error

    def verify(self, number: int) -> None:
        """Read shard ``number`` as a solve would, and so see that it is sound. Not collective. Raises DataError."""
        lo, hi = self.starts[number : number + 2].tolist()
        step = max(1, CHUNK * (hi - lo) // max(1, self.index.shards[number].nnz))
        for start in range(lo, hi, step):
            self.read(start, min(start + step, hi), None)

    @abstractmethod
    def read(self, lo: int, hi: int, dtype: np.typing.DTypeLike | None) -> tuple:
        """Rows lo <= i < hi, looked at as they come in (`dataset.row_checks`)."""


@dataclass(frozen=True, eq=False)
class Dataset(Shards):
    """A sparse data set, a `Source`. Make one with `open`."""

    @classmethod
    def accept(cls, path: Path, index: Index) -> None:
        """See that the rows are sparse. Raises DataError."""
        if index.item is not None:
            raise DataError(
                f"{path} holds dense rows of {index.item.text()}, but sparse ones are needed here: "
                "train on it, or give a set converted from svmlight text"
            )

    @property
    def cols(self) -> int:
        """Features."""
        return self.index.cols

    @property
    def nnz(self) -> int:
        """Stored entries of the whole set."""
        return self.index.nnz

    @cached_property
    def values(self) -> Literal["float32", "float64"]:
        """Type of the stored values, float32 or float64; of a set of before indexes said so that in its first shard.

        Raises DataError.
        """
        stored = self.index.values or self._type(self.parts(0, self.rows)).name
        return "float64" if stored == "float64" else "float32"

    def blocks(self, workers: int) -> np.ndarray:
        """Row bounds (workers + 1,) int64 of contiguous blocks with about equally many nonzeros; blocks may be empty.

        A row counts for its nonzeros and one more. Exact up to 2^17 rows, beyond that interpolated between the entries of
        the index's table, so that no shard is touched. Not collective.
        """
        rows = np.minimum(np.arange(len(self.index.prefix)) * self.index.stride, self.rows)
        cost = self.index.prefix + rows
        cuts = np.rint(np.interp(cost[-1] * np.arange(1, workers) / workers, cost, rows))
        return np.concatenate(([0], cuts, [self.rows])).astype(np.int64)

    def read(self, lo: int, hi: int, dtype: np.typing.DTypeLike | None = None) -> SparseRows:
        """Rows lo <= i < hi with values of ``dtype``; see `Source.read`.

        Beside what it returns it holds one chunk. Checksums are verified on the way, and that pointers, columns, values,
        labels, weights and offsets are what they must be. Not collective. Raises DataError, and UsageError where ``dtype`` is
        too small.
        """
        parts = list(self.parts(lo, hi))
        spans = [self._span(*part) for part in parts]
        matrix = CSR.empty(hi - lo, sum(end - start for start, end in spans), self.cols, dtype or self._type(parts))
        y, more, row, at = np.empty(hi - lo), dict.fromkeys(COLUMNS), 0, 0
        for (shard, first, last), (start, end) in zip(parts, spans, strict=True):
            rows, here = slice(row, row + last - first), slice(at, at + end - start)
            with self.opened(shard) as file:
                held = row_checks.SparseArrays.of(file, shard, self.index.beside)
                indptr = matrix.indptr[row : rows.stop + 1]
                into(held.indptr, first, indptr)
                row_checks.pointers(indptr, start, end)
                indptr += at - start
                into(held.indices, start, matrix.indices[here])
                into(held.data, start, matrix.data[here])
                row_checks.narrowed(matrix.data[here], held.data, start)
                row_checks.entries(matrix, rows, first)
                into(held.y, first, y[rows])
                row_checks.labelled(y[rows], self.labels)
                for name in COLUMNS:
                    more[name] = self._beside(name, getattr(held, name), more[name], first, rows, hi - lo)
            row, at = rows.stop, here.stop
        return SparseRows(matrix, y, **more)

    @staticmethod
    def _beside(
        name: str, held: h5py.Dataset | None, so_far: np.ndarray | None, first: int, rows: slice, count: int
    ) -> np.ndarray | None:
        """Weights or offsets (count,) with those of a shard; rows of shards without have 1 and 0."""
        if held is None:
            return so_far
        values = np.full(count, float(name == WEIGHT)) if so_far is None else so_far
        into(held, first, values[rows])
        row_checks.beside(name, values[rows])
        return values

    def _type(self, parts: Iterable[tuple[Shard, int, int]]) -> np.dtype:
        """Type of the values in the first of some shards; single precision where there is none."""
        for shard, _, _ in parts:
            with self.opened(shard) as file:
                return row_checks.SparseArrays.of(file, shard, self.index.beside).data.dtype.newbyteorder("=")
        return np.dtype(np.float32)

    def _span(self, shard: Shard, first: int, last: int) -> tuple[int, int]:
        """The entries of a shard's rows: of all of them without opening it."""
        if (first, last) == (0, shard.rows):
            return 0, shard.nnz
        with self.opened(shard) as file:
            return row_checks.SparseArrays.of(file, shard, self.index.beside).span(first, last)


def into(dataset: h5py.Dataset, start: int, out: np.ndarray) -> None:
    """dataset[start : start + len(out)] into ``out``, without an array in between."""
    if len(out):
        dataset.read_direct(out, np.s_[start : start + len(out)])


def _complete(index: Path, shard: Shard) -> Path:
    """A shard, which is there in its full size. Raises DataError."""
    path = folder(index) / shard.name
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(
            f"the shard {path} is missing on host {socket.gethostname()} ({str(error.strerror).lower()}): "
            f"{begun(index) or 'the folder of shards must stand beside the index, and every host must see it'}"
        ) from error
    if size != shard.nbytes:
        raise DataError(
            f"the shard {path} is truncated or replaced: it has {size} bytes instead of {shard.nbytes}; "
            f"{begun(index) or 'copy it again or convert again'}"
        )
    return path
