"""Writing a data set: shards and index under temporary names, put in place when all is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from math import fsum
from pathlib import Path

import h5py
import numpy as np

from mpiopt import __version__
from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.errors import MpioptError
from mpiopt.io.dataset.beside import COLUMNS, OFFSET, WEIGHT
from mpiopt.io.dataset.dense_row import Item
from mpiopt.io.dataset.index import CHUNK, Index, Shard, shard_name, stride_for, write_index
from mpiopt.io.dataset.labels import Labels, Tallied
from mpiopt.io.dataset.nonzero_counts import NonzeroCounts
from mpiopt.io.dataset.output_files import Output, told_plainly
from mpiopt.io.dataset.reduced_writing import reduce_shards
from mpiopt.io.dataset.shard_writing import Form, ShardRows, ShardWriter
from mpiopt.io.dataset.source import Source

SHARD, SHARDS = 1 << 22, 256  # nonzeros of a shard: 32 MiB of indices and values; more, once there are so many shards


@contextmanager
def writing(world: World, target: str | Path, overwrite: bool) -> Iterator[Output]:
    """The output ``target``, prepared by rank 0 and cleared away by it if the block fails. Collective."""
    output = Output(Path(target))
    try:
        with world.together(f"preparing {target}"), told_plainly(output.target):
            if world.rank == 0:
                output.prepare(overwrite)
        yield output
    except BaseException as error:
        if isinstance(error, MpioptError):
            world.barrier()  # an error that all share: everybody has closed its files
        if world.rank == 0:
            output.discard()
        raise


def shard_count(asked: int | None, rows: int, nnz: int) -> int:
    """The number of shards: as asked for, or one per SHARD nonzeros up to SHARDS; never by the number of ranks."""
    return asked if asked is not None else max(1, min(rows, round(nnz / SHARD), SHARDS))


def finish(world: World, output: Output, mine: list[tuple[int, Shard]], index: Index, reduce: bool = False) -> Index:
    """Write the index over every rank's shards and put all in place. Collective; returns the index written.

    reduce : put rows in fewer columns beside X first, where that pays.
    """
    if reduce:
        mine, reduced = reduce_shards(world, output, mine, index)
        index = replace(index, reduced=reduced)
    entries = sorted(entry for part in world.tell_all(mine) for entry in part)
    index = replace(index, shards=tuple(shard for _, shard in entries))
    with world.together(f"writing {output.target}"), told_plainly(output.target):
        if world.rank == 0:
            write_index(output.index, index)
            output.publish()
    return index


def described(measured: NonzeroCounts, cols: int, labels: Labels, **more) -> Index:
    """An index without its shards, which `finish` fills in."""
    return Index(
        rows=measured.rows,
        cols=cols,
        nnz=int(measured.prefix[-1]),
        labels=labels,
        lengths=measured.lengths,
        prefix=measured.prefix,
        stride=stride_for(measured.rows),
        shards=(),
        version=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
    )


def dense_index(rows: int, item: Item, labels: Labels, **more) -> Index:
    """An index of dense rows without its shards: every value counts as a nonzero."""
    nnz, normalize = rows * item.size, "none" if item.mean is None else "channels"
    return Index(
        rows=rows,
        cols=item.size,
        nnz=nnz,
        labels=labels,
        lengths=(item.size, float(item.size), item.size),
        item=item,
        prefix=np.array([0, nnz]),
        stride=rows,
        shards=(),
        version=__version__,
        normalize=normalize,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        **more,
    )


def write_shards(
    world: World,
    source: Source,
    target: str | Path,
    *,
    shards: int | None = None,
    values=np.float32,
    gzip: int | None = None,
    overwrite: bool = False,
    reduce: bool = False,
) -> Index:
    """Write any source as a data set, its rows in their order; every rank writes some of the shards, one after another.

    reduce : put the rows in fewer columns beside X, where that pays. A rank holds one shard at a time. Collective. Raises
    UsageError or DataError on every rank.
    """
    count = shard_count(shards, source.rows, source.nnz)
    bounds = even(source.rows, count)
    measured, tallied, sums, mine = NonzeroCounts(source.rows), Tallied(), [], []
    had: set[str] = set()  # what rows have beside their labels
    with writing(world, target, overwrite) as output:
        with world.together(f"writing {target}"), told_plainly(output.target):
            for number in range(world.rank, count, world.size):
                lo, hi = int(bounds[number]), int(bounds[number + 1])
                matrix, y, weight, offset = source.read(lo, hi, values)
                beside = tuple(name for name, given in ((WEIGHT, weight), (OFFSET, offset)) if given is not None)
                form = Form(source.cols, np.dtype(values), np.dtype(np.float64), beside, gzip)
                writer = ShardWriter(output.folder / shard_name(number), hi - lo, matrix.nnz, form)
                rows = ShardRows(np.diff(matrix.indptr), matrix.indices, matrix.data, y, weight, offset)
                writer.append(rows)
                mine.append((number, writer.finish()))
                had.update(beside)
                measured.add(lo, rows.lengths)
                tallied.add(y)
                sums.append(float(y.sum()))
        measured.merge(world)
        labels = together_labels(world, tallied, sums, source.rows)
        had.update(*world.tell_all(had))
        return finish(
            world,
            output,
            mine,
            described(
                measured,
                source.cols,
                labels,
                shuffle=None,
                normalize="none",
                sources=(source.name,),
                values=np.dtype(values).name,
                beside=tuple(name for name in COLUMNS if name in had),
            ),
            reduce,
        )


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
