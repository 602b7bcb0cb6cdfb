"""Rows in fewer, renumbered columns beside X (`problems.reduced`): what the index says of them, and what ties them to X.

index    reduced/columns, and one entry a shard of merged, singles, nnz, checksum
shard    reduced/data, indices, indptr as those of X, of columns that all shards have in common and, behind them, merged
         ones of its own; reduced/singles, sources, factors: the user's columns that were merged, the column that stands
         for each, and the part of it that is theirs
"""

from typing import NamedTuple
from zlib import crc32

import h5py
import numpy as np

from mpiopt.io.disk.foreign_hdf5 import FLOAT, INTEGER, column

X, ROWS, BACK = "X", ("data", "indices", "indptr"), ("singles", "sources", "factors")
BY_SHARD = ("merged", "singles", "nnz", "checksum")


class ReducedIndex(NamedTuple):
    """columns : (kept,) int32, the user's columns of the first reduced ones. Of each shard, (shards,) int64: merged columns,
    columns that were merged, entries of its reduced rows, `tie`.
    """

    columns: np.ndarray
    merged: np.ndarray
    singles: np.ndarray
    nnz: np.ndarray
    checksum: np.ndarray

    @property
    def kept(self) -> int:
        """Columns that were not merged."""
        return len(self.columns)

    @property
    def cols(self) -> int:
        """Reduced columns."""
        return self.kept + int(self.merged.sum())

    @property
    def before(self) -> np.ndarray:
        """Merged columns of the shards before each, (shards,)."""
        return np.cumsum(self.merged) - self.merged

    def write(self, place: h5py.Group) -> None:
        """Put it into a group. Raises OSError."""
        for name, values in self._asdict().items():
            place[name] = values

    @staticmethod
    def read(file: h5py.File, place: str) -> "ReducedIndex":
        """What a group has. Raises ValueError."""
        found = [column(file, f"{place}/{name}", INTEGER, (None,))[()].astype(np.int64) for name in BY_SHARD]
        return ReducedIndex(column(file, f"{place}/columns", ("i4",), (None,))[()].astype(np.int32), *found)

    def claims(self, rows: list[int], nnz: list[int], cols: int) -> list[tuple[bool, str]]:
        """What must hold beside shards of so many ``rows`` and ``nnz``, of ``cols`` columns, and what is wrong where it does
        not."""
        told = "its reduced rows"
        if any(len(values) != len(rows) for values in self[1:]):
            return [(False, f"{told} are of other shards")]
        counts = np.array([self.merged, self.singles, self.nnz])
        shorter = self.nnz == np.array(nnz) - self.singles + self.merged
        most = np.minimum(np.array(rows), self.singles)
        return [
            (bool((counts >= 0).all() and (self.merged <= most).all() and shorter.all()), f"{told} do not fit its rows"),
            (self.kept + int(self.singles.sum()) <= cols, f"{told} are of more columns than it has"),
            (in_range(self.columns, cols), f"{told} are of columns that it does not have"),
        ]


def in_range(numbers: np.ndarray, end: int) -> bool:
    """Whether all are from 0 to below ``end``."""
    return not len(numbers) or 0 <= int(numbers.min()) <= int(numbers.max()) < end


def tie(file: h5py.File) -> int:
    """A checksum of the checksums of all chunks of a shard's X and of what was made of it, as they stand in the file.

    HDF5 holds each against its chunk as that is read, and writes another where a chunk is changed. Raises ValueError.
    """
    found = 0
    with open(file.filename, "rb", buffering=0) as raw:
        for name in (*(f"{X}/{part}" for part in ROWS), *(f"reduced/{part}" for part in (*ROWS, *BACK))):
            stored = column(file, name, (*FLOAT, *INTEGER), (None,), packed=True)
            if stored.size and not stored.fletcher32:
                raise ValueError(f"{name} is stored without checksums")
            for k in range(stored.id.get_num_chunks() if stored.size else 0):
                place = stored.id.get_chunk_info(k)
                raw.seek(place.byte_offset + place.size - 4)
                found = crc32(raw.read(4), found)
    return found
