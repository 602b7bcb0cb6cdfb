"""Reading a data set: any block of rows from any number of shards, straight into the arrays of a matrix."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import h5py
import numpy as np

from mpiopt.comm.world import World
from mpiopt.errors import DataError
from mpiopt.io.guard import BROKEN
from mpiopt.io.labels import Labels
from mpiopt.io.layout import Index, Shard, folder, read_index
from mpiopt.io.sealed import damage, is_sealed
from mpiopt.kernels.csr import CSR


@dataclass(frozen=True, eq=False)
class Shards:
    """The data set in ``path`` (DATA.h5 beside DATA.shards), of either kind. Make one with `open`."""

    path: Path
    index: Index

    @classmethod
    def open(cls, path: str | Path, world: World | None = None) -> Self:
        """Read the index on rank 0, see that every shard is there in its full size, and tell the others.

        Collective over ``world``; None for this process alone. Raises DataError on every rank.
        """
        path, index = Path(path), None
        with nullcontext() if world is None else world.together(f"opening {path}"):
            if world is None or world.rank == 0:
                index = read_index(path)
                cls.accept(path, index)
                for shard in index.shards:
                    _complete(folder(path) / shard.name, shard)
        return cls(path, index if world is None else world.tell(index))

    @classmethod
    def accept(cls, path: Path, index: Index) -> None:
        """See that this class can read the set. Raises DataError."""

    @property
    def name(self) -> str:
        """The file's name."""
        return str(self.path)

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
        path = folder(self.path) / shard.name
        _complete(path, shard)
        try:
            if is_sealed(path) and (found := damage(path)):
                raise OSError(found)
            with h5py.File(path, "r", locking=False) as file:  # finished files never change: no lock, network or not
                if file.attrs.get("digest") != shard.digest:
                    raise DataError(f"{path} belongs to another conversion than {self.path}: convert again")
                yield file
        except BROKEN as error:
            raise DataError(
                f"{path} is damaged: HDF5 refuses it on host {socket.gethostname()} "
                f"({str(error).splitlines()[0]}); copy it again or convert again"
            ) from error

    def verify(self, number: int) -> None:
        """Read every chunk of shard ``number`` and so check its checksums. Not collective. Raises DataError."""
        with self.opened(self.index.shards[number]) as file:
            names = [name for name in ("X/data", "X/indices", "X/indptr", "y", "weight") if name in file]
            for dataset in (file[name] for name in names if len(file[name])):
                chunk = np.empty((dataset.chunks[0], *dataset.shape[1:]), dataset.dtype)
                for start in range(0, len(dataset), len(chunk)):
                    into(dataset, start, chunk[: len(dataset) - start])


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

    def blocks(self, workers: int) -> np.ndarray:
        """Row bounds (workers + 1,) int64 of contiguous blocks with about equally many nonzeros; blocks may be empty.

        A row counts for its nonzeros and one more. Exact up to 2^17 rows, beyond that interpolated between the entries of
        the index's table, so that no shard is touched. Not collective.
        """
        rows = np.minimum(np.arange(len(self.index.prefix)) * self.index.stride, self.rows)
        cost = self.index.prefix + rows
        cuts = np.rint(np.interp(cost[-1] * np.arange(1, workers) / workers, cost, rows))
        return np.concatenate(([0], cuts, [self.rows])).astype(np.int64)

    def read(self, lo: int, hi: int, dtype=np.float32) -> tuple[CSR, np.ndarray, np.ndarray | None]:
        """Rows lo <= i < hi with values of ``dtype``, raw labels and weights (hi - lo,) float64; see `Source.read`.

        Beside what it returns it holds one chunk. Checksums are verified on the way. Not collective. Raises DataError.
        """
        if self.cols >= 2**31:
            raise DataError(f"{self.path} has {self.cols} features: fewer than 2^31 can be read into a matrix")
        parts = list(self.parts(lo, hi))
        counts = [self._count(*part) for part in parts]
        matrix = CSR.empty(hi - lo, sum(counts), self.cols, dtype)
        y, weight, row, at = np.empty(hi - lo), None, 0, 0
        for (shard, first, last), count in zip(parts, counts, strict=True):
            with self.opened(shard) as file:
                rows, entries = slice(row, row + last - first), slice(at, at + count)
                indptr = matrix.indptr[row : row + last - first + 1]
                into(file["X/indptr"], first, indptr)
                start = int(indptr[0])
                indptr += at - start
                into(file["X/indices"], start, matrix.indices[entries])
                into(file["X/data"], start, matrix.data[entries])
                into(file["y"], first, y[rows])
                if "weight" in file:
                    weight = np.empty(hi - lo) if weight is None else weight
                    into(file["weight"], first, weight[rows])
            row, at = rows.stop, entries.stop
        return matrix, y, weight

    def _count(self, shard: Shard, first: int, last: int) -> int:
        with self.opened(shard) as file:
            return int(file["X/indptr"][last] - file["X/indptr"][first])


def into(dataset: h5py.Dataset, start: int, out: np.ndarray) -> None:
    """dataset[start : start + len(out)] into ``out``, without an array in between."""
    if len(out):
        dataset.read_direct(out, np.s_[start : start + len(out)])


def _complete(path: Path, shard: Shard) -> None:
    """Whether a shard is there in its full size. Raises DataError."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(
            f"the shard {path} is missing on host {socket.gethostname()} ({error.strerror.lower()}): "
            "the folder of shards must stand beside the index, and every host must see it"
        ) from error
    if size != shard.nbytes:
        raise DataError(
            f"the shard {path} is truncated or replaced: it has {size} bytes instead of {shard.nbytes}; "
            "copy it again or convert again"
        )
