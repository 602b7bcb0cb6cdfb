"""Rows in fewer, renumbered columns beside X (`problems.reduced`), made of the shards of a set once all of them are written.

Each rank sees to its own shards, some rows at a time: once to count what columns have, once for the lengths of what is made,
once to make it. Memory: 8 bytes a feature, and what a few chunks take. The same files result from any number of ranks.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from mpiopt.comm.world import World
from mpiopt.io.dataset.index import CHUNK, Index, Shard
from mpiopt.io.dataset.output_files import Output, told_plainly
from mpiopt.io.dataset.reading import into
from mpiopt.io.dataset.reduced_index import BACK, ROWS, ReducedIndex, tie
from mpiopt.io.dataset.shard_writing import ChunkedColumn, chunks_of
from mpiopt.io.disk.sealed_file import seal_path
from mpiopt.kernels.csr import CSR
from mpiopt.kernels.host import reduction
from mpiopt.problems.reduced import NewColumns, fewer_rows, in_order, many, worthwhile

LARGE = 1e30  # of values: the length of many is a number of their type
Mine = list[tuple[int, Shard]]


class ReducedShard(NamedTuple):
    """What the index says of the reduced rows of a shard: see `ReducedIndex`."""

    merged: int
    singles: int
    nnz: int
    checksum: int


def reduce_shards(world: World, output: Output, mine: Mine, index: Index) -> tuple[Mine, ReducedIndex | None]:
    """This rank's shards with their reduced rows, and what the index says of all; None where that does not pay.

    Collective. Raises DataError on every rank. index : without its shards.
    """
    if not many(index.cols):
        return mine, None
    paths = [output.folder / shard.name for _, shard in mine]
    with world.together(f"writing {output.target}"), told_plainly(output.target):
        counts, size = np.zeros(index.cols, np.int32), 0.0
        for path, (_, shard) in zip(paths, mine, strict=True):
            size = max(size, _count(path, shard, counts))
    found = worthwhile(world.total([counts]))
    del counts
    if found is None or max(world.tell_all(size)) > LARGE:
        return mine, None
    with world.together(f"writing {output.target}"), told_plainly(output.target):
        made = [_beside(path, shard, found) for path, (_, shard) in zip(paths, mine, strict=True)]
    kept = [(number, shard) for (number, _), (shard, _) in zip(mine, made, strict=True)]
    told = [(number, one) for (number, _), (_, one) in zip(mine, made, strict=True)]
    entries = [one for _, one in sorted(entry for part in world.tell_all(told) for entry in part)]
    columns = [np.array(values, np.int64) for values in zip(*entries, strict=True)]
    return kept, ReducedIndex(in_order(found.places, found.kept), *columns)


def _count(path: Path, shard: Shard, counts: np.ndarray) -> float:
    """Add how many entries columns have in a shard, (cols,) int32; the largest value in size."""
    size = 0.0
    with h5py.File(path, "r", locking=False) as file:
        for block in _blocks(file, shard):
            reduction.occurrences(block.indptr, block.indices, counts)
            size = max(size, float(np.abs(block.data).max(initial=0.0)))
    return size


def _blocks(file: h5py.File, shard: Shard) -> Iterator[CSR]:
    """All rows of a shard, some at a time."""
    held, cols = {name: file[f"X/{name}"] for name in ROWS}, int(file["X"].attrs["shape"][1])
    step = max(1, CHUNK * shard.rows // max(1, shard.nnz))
    for lo in range(0, shard.rows, step):
        indptr = held["indptr"][lo : min(lo + step, shard.rows) + 1]
        block = CSR.empty(len(indptr) - 1, int(indptr[-1] - indptr[0]), cols, held["data"].dtype)
        block.indptr[:] = indptr - indptr[0]
        into(held["indices"], int(indptr[0]), block.indices)
        into(held["data"], int(indptr[0]), block.data)
        yield block


def _beside(path: Path, shard: Shard, found: NewColumns) -> tuple[Shard, ReducedShard]:
    """Put the reduced rows into a finished shard, which then has another size and seal, and the same digest."""
    singles, merged = 0, 0
    with h5py.File(path, "r", locking=False) as file:
        for block in _blocks(file, shard):
            alone = np.concatenate(([0], np.cumsum(found.places[block.indices] == reduction.SINGLE)))[block.indptr]
            singles, merged = singles + int(alone[-1]), merged + int(np.count_nonzero(np.diff(alone)))
    nnz = shard.nnz - singles + merged
    with h5py.File(path, "r+", locking=False) as file:  # HDF5 cuts the seal off
        columns = _columns(file, shard.rows, nnz, singles, found.kept + merged)
        at = 0, 0
        columns["indptr"].append(np.zeros(1, np.int64))
        for block in _blocks(file, shard):
            at = _append(columns, block, found, *at)
        for each in columns.values():
            each.finish()
        chunks = [chunk for name in _datasets(file) for chunk in chunks_of(file[name])]
    seal_path(path, chunks)
    with h5py.File(path, "r", locking=False) as file:
        made = ReducedShard(merged, singles, nnz, tie(file))
    return shard._replace(nbytes=path.stat().st_size), made


def _columns(file: h5py.File, rows: int, nnz: int, singles: int, cols: int) -> dict[str, ChunkedColumn]:
    """The datasets of the group, in the types and compression of X."""
    values = file["X/data"]
    gzip, group = values.compression_opts, file.create_group("reduced")
    group.attrs["encoding-type"], group.attrs["encoding-version"] = "csr_matrix", "0.1.0"
    group.attrs["shape"] = np.array([rows, cols], np.int64)
    whole, long = np.dtype(np.int32), np.dtype(np.int64)
    kinds = dict(zip(ROWS, ((nnz, values.dtype), (nnz, whole), (rows + 1, long)), strict=True))
    kinds |= dict(zip(BACK, ((singles, whole), (singles, whole), (singles, values.dtype)), strict=True))
    return {name: ChunkedColumn(group, name, size, dtype, gzip) for name, (size, dtype) in kinds.items()}


def _append(columns: dict[str, ChunkedColumn], block: CSR, found: NewColumns, entries: int, merged: int) -> tuple[int, int]:
    """Reduce some rows behind so many ``entries`` and ``merged`` columns of the shard; how many there are then."""
    made = fewer_rows(block, found.places, found.kept + merged, found.singles)
    values = made.data, made.indices, entries + made.starts[1:], made.columns, made.sources, made.factors
    for name, part in zip((*ROWS, *BACK), values, strict=True):
        columns[name].append(part)
    return entries + int(made.starts[-1]), merged + made.merged


def _datasets(file: h5py.File) -> list[str]:
    """The names of all datasets that are stored in chunks."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) and item.chunks else None)
    return found
