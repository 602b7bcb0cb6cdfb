"""Writing a data set: shards and index under temporary names, put in place when all is there."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from math import fsum
from pathlib import Path

import h5py
import numpy as np

from mpiopt import __version__
from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.errors import DataError, MpioptError, UsageError
from mpiopt.io.chunked import Form, Rows, ShardWriter
from mpiopt.io.guard import reason
from mpiopt.io.item import Item
from mpiopt.io.labels import Labels, Tallied
from mpiopt.io.layout import CHUNK, Index, Shard, folder, shard_name, stride_for, write_index
from mpiopt.io.measured import Measured
from mpiopt.io.schema import DATA, replaceable
from mpiopt.io.source import Source

SHARD, SHARDS = 1 << 22, 256  # nonzeros of a shard: 32 MiB of indices and values; more, once there are so many shards


@dataclass(frozen=True)
class Output:
    """The files of a data set to be: ``target`` (DATA.h5) and DATA.shards, until `publish` under other names."""

    target: Path

    @property
    def folder(self) -> Path:
        """Where the shards are being written; other scratch files may stand there too, but are removed in the end."""
        return self.target.with_name(folder(self.target).name + ".partial")

    @property
    def index(self) -> Path:
        """Where the index is being written."""
        return self.target.with_name(self.target.name + ".partial")

    @property
    def names(self) -> tuple[Path, ...]:
        """All that is written, moved or removed."""
        return self.target, self.index, folder(self.target), self.folder, self._old

    def check(self, overwrite: bool) -> None:
        """Refuse a name that cannot be used. Raises UsageError."""
        if self.target.suffix != ".h5":
            raise UsageError(f"the data set is to be called {self.target}, but the name must end in .h5")
        for path in (self.target, folder(self.target)):
            if path.exists() and not overwrite:
                raise UsageError(f"{path} exists: give another name, or --overwrite to replace it")
        replaceable(self.target, DATA, "a data set of mpiopt convert")

    def prepare(self) -> None:
        """Make an empty folder for the shards, in place of what a killed conversion may have left."""
        self.discard()
        shutil.rmtree(self._old, ignore_errors=True)
        self.folder.mkdir(parents=True)

    @property
    def _old(self) -> Path:
        """Where the shards of a data set that is being replaced wait until the new ones stand."""
        return self.target.with_name(folder(self.target).name + ".old")

    def discard(self) -> None:
        """Remove everything unfinished."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.index.unlink(missing_ok=True)

    def publish(self) -> None:
        """Put the finished files in place by renaming; what they replace is removed only then."""
        final = folder(self.target)
        if final.exists():
            final.rename(self._old)
        self.folder.rename(final)
        self.index.replace(self.target)
        shutil.rmtree(self._old, ignore_errors=True)


@contextmanager
def writing(world: World, target: str | Path, overwrite: bool) -> Iterator[Output]:
    """The output ``target``, prepared by rank 0 and cleared away by it if the block fails. Collective."""
    output = Output(Path(target))
    with world.together(f"preparing {target}"):
        output.check(overwrite)
    world.barrier()  # nobody may find what rank 0 is about to make
    with world.together(f"preparing {target}"), told_plainly(output.target):
        if world.rank == 0:
            output.prepare()
    try:
        yield output
    except BaseException as error:
        if isinstance(error, MpioptError):
            world.barrier()  # an error that all share: everybody has closed its files
        if world.rank == 0:
            output.discard()
        raise


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Turn what the file system says into a DataError that names ``path``."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be written ({reason(error)}); what was unfinished is removed") from error


def shard_count(asked: int | None, rows: int, nnz: int) -> int:
    """The number of shards: as asked for, or one per SHARD nonzeros up to SHARDS; never by the number of ranks."""
    return asked if asked is not None else max(1, min(rows, round(nnz / SHARD), SHARDS))


def finish(world: World, output: Output, mine: list[tuple[int, Shard]], index: Index) -> Index:
    """Write the index over every rank's shards and put all in place. Collective; returns the index written."""
    entries = sorted(entry for part in world.tell_all(mine) for entry in part)
    index = Index(**{**vars(index), "shards": tuple(shard for _, shard in entries)})
    with world.together(f"writing {output.target}"), told_plainly(output.target):
        if world.rank == 0:
            write_index(output.index, index)
            output.publish()
    return index


def described(measured: Measured, cols: int, labels: Labels, **more) -> Index:
    """An index without its shards, which `finish` fills in."""
    return Index(
        rows=measured.rows, cols=cols, nnz=int(measured.prefix[-1]), labels=labels, lengths=measured.lengths,
        prefix=measured.prefix, stride=stride_for(measured.rows), shards=(), version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"), **more,
    )  # fmt: skip


def dense_index(rows: int, item: Item, labels: Labels, **more) -> Index:
    """An index of dense rows without its shards: every value counts as a nonzero."""
    nnz, normalize = rows * item.size, "none" if item.mean is None else "channels"
    return Index(
        rows=rows, cols=item.size, nnz=nnz, labels=labels, lengths=(item.size, float(item.size), item.size), item=item,
        prefix=np.array([0, nnz]), stride=rows, shards=(), version=__version__, normalize=normalize,
        created=datetime.now(UTC).isoformat(timespec="seconds"), **more,
    )  # fmt: skip


def write_shards(world: World, source: Source, target: str | Path, *, shards: int | None = None,
                 values=np.float32, gzip: int | None = None, overwrite: bool = False) -> Index:  # fmt: skip
    """Write any source as a data set, its rows in their order; every rank writes some of the shards, one after another.

    A rank holds one shard at a time. Collective. Raises UsageError or DataError on every rank.
    """
    count = shard_count(shards, source.rows, source.nnz)
    bounds = even(source.rows, count)
    measured, tallied, sums, mine = Measured(source.rows), Tallied(), [], []
    with writing(world, target, overwrite) as output:
        with world.together(f"writing {target}"), told_plainly(output.target):
            for number in range(world.rank, count, world.size):
                lo, hi = int(bounds[number]), int(bounds[number + 1])
                matrix, y, weight = source.read(lo, hi, values)
                form = Form(source.cols, np.dtype(values), np.dtype(np.float64), weight is not None, gzip)
                writer = ShardWriter(output.folder / shard_name(number), hi - lo, matrix.nnz, form)
                rows = Rows(np.diff(matrix.indptr), matrix.indices, matrix.data, y, weight)
                writer.append(rows)
                mine.append((number, writer.finish()))
                measured.add(lo, rows.lengths)
                tallied.add(y)
                sums.append(float(y.sum()))
        measured.merge(world)
        labels = together_labels(world, tallied, sums, source.rows)
        return finish(world, output, mine, described(measured, source.cols, labels, shuffle=None, normalize="none",
                                                     sources=(source.name,)))  # fmt: skip


def together_labels(world: World, tallied: Tallied, sums: list[float], rows: int) -> Labels:
    """The labels of all rows from each rank's count and its sums of fixed pieces, the same for any rank count. Collective."""
    whole = Tallied()
    for part in world.tell_all(tallied):
        whole.merge(part)
    pieces = [piece for part in world.tell_all(sums) for piece in part]
    return whole.summary(fsum(pieces) / rows)


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write one-dimensional arrays in chunks with checksums, by h5py alone. Raises OSError."""
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file.create_dataset(name, data=values, chunks=(min(CHUNK, len(values)),), fletcher32=True)
