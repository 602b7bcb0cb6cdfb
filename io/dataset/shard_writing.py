"""One shard file, written front to back in whole chunks, each with its checksum."""

from contextlib import suppress
from math import prod
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import h5py
import numpy as np

from mpiopt.io.dataset.beside import WEIGHT
from mpiopt.io.dataset.dense_row import Item
from mpiopt.io.dataset.index import CHUNK, Shard
from mpiopt.io.disk.fletcher32 import fletcher32
from mpiopt.io.disk.sealed_file import OWN, Piece, seal_path


class ShardRows(NamedTuple):
    """Some rows: their lengths (rows,) int64, indices and data (nonzeros,), raw labels y, weights and offsets (rows,)."""

    lengths: np.ndarray
    indices: np.ndarray
    data: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None = None
    offset: np.ndarray | None = None


class Form(NamedTuple):
    """How a shard is stored; gzip : level 1 to 9, or None for no compression; beside : of `dataset.beside`, what rows have."""

    cols: int
    values: np.dtype
    labels: np.dtype
    beside: tuple[str, ...]
    gzip: int | None


class _Writer:
    """What both kinds of shard have in common. ``columns`` : all of the file's datasets, in the digest's order."""

    def __init__(self, path: Path, rows: int, nnz: int) -> None:
        self.path, self.rows, self.nnz = path, rows, nnz
        self._file = h5py.File(path, "w", locking=False)  # nobody else knows this name yet
        self._columns: list[ChunkedColumn] = []

    def finish(self) -> Shard:
        """Write what is left, close the file and say what it holds."""
        sums = np.concatenate([column.finish() for column in self._columns])
        digest = crc32(sums.astype("<u4").tobytes())
        self._file.attrs["digest"] = digest
        chunks = [chunk for column in self._columns for chunk in column.chunks()]
        self._file.close()
        seal_path(self.path, chunks)
        return Shard(self.path.name, self.rows, self.nnz, self.path.stat().st_size, digest)

    def give_up(self) -> None:
        """Close the unfinished file; what cannot be written is lost, as it must be on a full disk."""
        with suppress(OSError, RuntimeError):
            self._file.close()


class DenseWriter(_Writer):
    """The shard at ``path`` with ``rows`` dense rows, given in order by `append`; otherwise as `ShardWriter`."""

    def __init__(self, path: Path, rows: int, item: Item, gzip: int | None) -> None:
        super().__init__(path, rows, rows * item.size)
        group = self._file.create_group("X")
        group.attrs["encoding-type"], group.attrs["encoding-version"] = "dict", "0.1.0"
        self._data = ChunkedColumn(group, "data", rows, np.dtype(item.stored), gzip, item.shape)
        self._y = ChunkedColumn(self._file, "y", rows, np.dtype(np.int32), gzip)
        self._columns = [self._data, self._y]
        group["data"].attrs.update(
            {
                "encoding-type": "array",
                "encoding-version": "0.2.0",
                "item_shape": np.array(item.shape, np.int64),
                "scale": item.scale,
            }
        )

    def append(self, x: np.ndarray, y: np.ndarray) -> None:
        """Add the rows x : (n, *item) and their labels y : (n,) after those that are there."""
        self._data.append(x)
        self._y.append(y)


class ShardWriter(_Writer):
    """The shard at ``path`` with ``rows`` rows and ``nnz`` nonzeros, given in order by `append`.

    Equal rows make equal datasets, bit for bit, however they are divided among the calls. Not collective. Raises OSError.
    """

    def __init__(self, path: Path, rows: int, nnz: int, form: Form) -> None:
        super().__init__(path, rows, nnz)
        matrix = self._file.create_group("X")
        matrix.attrs["encoding-type"], matrix.attrs["encoding-version"] = "csr_matrix", "0.1.0"
        matrix.attrs["shape"] = np.array([rows, form.cols], np.int64)
        self._data = ChunkedColumn(matrix, "data", nnz, form.values, form.gzip)
        self._indices = ChunkedColumn(matrix, "indices", nnz, np.dtype(np.int32), form.gzip)
        self._indptr = ChunkedColumn(matrix, "indptr", rows + 1, np.dtype(np.int64), form.gzip)
        self._y = ChunkedColumn(self._file, "y", rows, form.labels, form.gzip)
        self._beside = {name: ChunkedColumn(self._file, name, rows, np.dtype(np.float64), form.gzip) for name in form.beside}
        self._columns = [self._data, self._indices, self._indptr, self._y, *self._beside.values()]
        self._end = 0
        self._indptr.append(np.zeros(1, np.int64))

    def append(self, block: ShardRows) -> None:
        """Add rows after those that are there."""
        ends = self._end + np.cumsum(block.lengths)
        self._end = int(ends[-1]) if len(ends) else self._end
        self._indptr.append(ends)
        self._data.append(block.data)
        self._indices.append(block.indices)
        self._y.append(block.y)
        for name, column in self._beside.items():
            values = getattr(block, name)
            column.append(np.full(len(block.y), float(name == WEIGHT)) if values is None else values)


class ChunkedColumn:
    """A dataset of ``size`` entries of ``shape`` filled in order; chunks go to the file as they are, or through gzip."""

    def __init__(
        self, group: h5py.Group, name: str, size: int, dtype: np.dtype, gzip: int | None, shape: tuple[int, ...] = ()
    ) -> None:
        chunk = min(max(1, CHUNK // prod(shape)), size), *shape
        stored = {"chunks": chunk, "fletcher32": True, "compression": gzip, "shuffle": gzip is not None}
        self._dataset = group.create_dataset(name, (size, *shape), dtype, **(stored if size else {}), fill_time="never")
        self._raw = np.zeros(prod(chunk) * dtype.itemsize + 4, np.uint8)  # a chunk and its checksum
        self._chunk = self._raw[:-4].view(dtype).reshape(chunk)
        self._zeros = (0,) * len(shape)
        self._direct = gzip is None
        self._at, self._filled = 0, 0
        self._sums: list[int] = []

    def append(self, values: np.ndarray) -> None:
        """Add values behind those that are there."""
        taken = 0
        while taken < len(values):
            part = values[taken : taken + len(self._chunk) - self._filled]
            self._chunk[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            taken += len(part)
            if self._filled == len(self._chunk):
                self._flush()

    def _flush(self) -> None:
        self._chunk[self._filled :] = 0
        self._sums.append(fletcher32(self._raw[:-4]))
        if self._direct:
            self._raw[-4:] = np.frombuffer(self._sums[-1].to_bytes(4, "little"), np.uint8)
            self._dataset.id.write_direct_chunk((self._at, *self._zeros), self._raw)
        else:
            self._dataset[self._at : self._at + self._filled] = self._chunk[: self._filled]
        self._at += self._filled
        self._filled = 0

    def finish(self) -> np.ndarray:
        """Write the last chunk and return every chunk's checksum (before compression)."""
        if self._filled:
            self._flush()
        if self._at != len(self._dataset):
            raise ValueError(f"{self._dataset.name} was given {self._at} values of {len(self._dataset)}")
        return np.array(self._sums, np.uint32)

    def chunks(self) -> list[Piece]:
        """See `chunks_of`."""
        return chunks_of(self._dataset)


def chunks_of(dataset: h5py.Dataset) -> list[Piece]:
    """Where its chunks, all written and each with a checksum of its own, stand in the file."""
    stored = dataset.id
    count = stored.get_num_chunks() if dataset.size else 0
    places = [(info.byte_offset, info.byte_offset + info.size) for info in map(stored.get_chunk_info, range(count))]
    return [(start, stop, OWN) for start, stop in places]
