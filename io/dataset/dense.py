"""Dense rows with class numbers: reading a converted set, and what every source of such rows offers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import h5py
import numpy as np

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.errors import DataError
from mpiopt.io.dataset import row_checks
from mpiopt.io.dataset.dense_row import Item
from mpiopt.io.dataset.index import Index, read_index
from mpiopt.io.dataset.reading import Dataset, Shards, into
from mpiopt.io.dataset.source import RowSource

PASS = 8192  # rows that are held at a time of those that are passed over


class DenseSource(RowSource, Protocol):
    """Dense rows with class numbers 0 to classes - 1; blocks have equally many rows."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""

    @property
    def classes(self) -> int:
        """How many there are."""

    @property
    def item(self) -> Item:
        """What a row is."""

    def read(self, lo: int, hi: int, dtype: np.typing.DTypeLike | None = np.float32) -> tuple[np.ndarray, np.ndarray]:
        """Rows lo <= i < hi as (hi - lo, *shape) of ``dtype``, scaled, and their class numbers (hi - lo,) int64.

        dtype : None for the rows as they are stored, for `Item.scaled` to scale later: pixels then take a quarter of the
        memory. Holds nothing beyond what it returns and one chunk. Raises DataError.
        """


@dataclass(frozen=True, eq=False)
class DenseDataset(Shards):
    """A converted set of dense rows, a `DenseSource`. Make one with `open`."""

    @classmethod
    def accept(cls, path: Path, index: Index) -> None:
        """See that the rows are dense. Raises DataError."""
        _dense(path, index)

    @property
    def item(self) -> Item:
        """What a row is."""
        return _dense(self.path, self.index)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return self.item.shape

    @property
    def classes(self) -> int:
        """One more than the largest class number."""
        return int(self.labels.greatest) + 1

    def blocks(self, workers: int) -> np.ndarray:
        """See `RowSource.blocks`."""
        return even(self.rows, workers)

    def read(self, lo: int, hi: int, dtype: np.typing.DTypeLike | None = np.float32) -> tuple[np.ndarray, np.ndarray]:
        """See `DenseSource.read`. Checksums are verified on the way, and that labels and values are sound. Not collective."""
        x, y, at = np.empty((hi - lo, *self.shape), dtype or self.item.stored), np.empty(hi - lo, np.int64), 0
        for shard, first, last in self.parts(lo, hi):
            rows = slice(at, at + last - first)
            with self.opened(shard) as file:
                data, labels = row_checks.dense(file, shard, self.item)
                into(labels, first, y[rows])
                row_checks.labelled(y[rows], self.labels)
                self._rows_into(data, first, x[rows], dtype is None)
                row_checks.finite(x[rows])
            at = rows.stop
        return x, y

    def _rows_into(self, data: h5py.Dataset, first: int, out: np.ndarray, plain: bool) -> None:
        """Rows from ``first`` on; what is to be scaled goes chunk by chunk, each read once."""
        if plain:
            into(data, first, out)
            return
        chunk, at = np.empty((data.chunks[0], *self.shape), data.dtype), 0
        while at < len(out):
            part = out[at : at + len(chunk) - (first + at) % len(chunk)]
            into(data, first + at, chunk[: len(part)])
            self.item.scale_into(chunk[: len(part)], part)
            at += len(part)


def _dense(path: Path, index: Index) -> Item:
    if index.item is None:
        raise DataError(f"{path} holds sparse rows, but dense ones are needed here: convert images or npz")
    return index.item


def open_dense(name: str, world: World) -> DenseSource:
    """The source called ``name``: DATA.h5, or made rows such as "blobs" or "blobs:rows=500,seed=3".

    Collective. Raises UsageError for an unknown name, DataError for a file that cannot be used, on every rank.
    """
    from mpiopt.io.dataset.blobs import Blobs
    from mpiopt.io.dataset.synthetic import changed

    kind, _, changes = name.partition(":")
    return changed(Blobs(), changes) if kind == Blobs.kind else DenseDataset.open(name, world)


def open_either(path: Path) -> Dataset | DenseDataset:
    """The converted set at ``path``, whichever its rows are. Not collective. Raises DataError."""
    return (Dataset if read_index(path).item is None else DenseDataset).open(path)


class Held(NamedTuple):
    """The rows lo <= i < hi that one worker draws from: x (hi - lo, *shape), class numbers y (hi - lo,) int64."""

    lo: int
    hi: int
    x: np.ndarray
    y: np.ndarray


def held(
    source: DenseSource,
    world: World,
    ownership: Literal["sharded", "shared"] = "sharded",
    dtype: np.typing.DTypeLike | None = np.float32,
) -> list[Held]:
    """What every worker that this rank hosts draws from, in worker order.

    sharded : each its own block. shared : each all rows, which the workers of a rank have in common. dtype : see
    `DenseSource.read`. Collective: what one rank cannot read raises the same DataError on every rank.
    """
    with world.together(f"reading {source.name}"):
        if ownership == "shared":
            return [Held(0, source.rows, *source.read(0, source.rows, dtype))] * len(world.hosted)
        bounds = source.blocks(world.workers)
        return [_block(source, int(bounds[w]), int(bounds[w + 1]), dtype) for w in world.hosted]


def _classes(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return y


def scattered(
    source: DenseSource,
    world: World,
    shares: Callable[[np.ndarray], Sequence[np.ndarray]],
    dtype: np.typing.DTypeLike | None = np.float32,
    looks_at: Callable[[np.ndarray, np.ndarray], np.ndarray] = _classes,
) -> list[Held]:
    """As `held`, of rows wherever they lie. shares : what is looked at of all rows (rows,) -> each worker's rows, ascending.

    looks_at : rows as they are stored and their class numbers -> one number a row, the class unless given.

    Every rank reads through all rows twice and holds its own. Collective; what `shares` raises too is raised on every rank.
    """
    with world.together(f"reading {source.name}"):
        cuts = [(lo, min(lo + PASS, source.rows)) for lo in range(0, source.rows, PASS)]
        parts_of = [(looks_at(x, y), y) for x, y in (source.read(lo, hi, None) for lo, hi in cuts)]
        seen, y = (np.concatenate(column) for column in zip(*parts_of, strict=True))
        wanted = shares(seen)
        own: list[list[np.ndarray]] = [[] for _ in world.hosted]
        for lo, hi in cuts:
            x, _ = source.read(lo, hi, dtype)
            for worker, parts in zip(world.hosted, own, strict=True):
                rows = wanted[worker]
                parts.append(x[rows[(lo <= rows) & (rows < hi)] - lo])
        return [
            Held(0, len(wanted[w]), np.concatenate(parts), y[wanted[w]]) for w, parts in zip(world.hosted, own, strict=True)
        ]


def _block(source: DenseSource, lo: int, hi: int, dtype) -> Held:
    return Held(lo, hi, *source.read(lo, hi, dtype))
