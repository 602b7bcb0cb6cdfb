"""A file that HDF5 writes in memory and that comes to the disk when it is told to: a full disk never meets HDF5.

What lengthens the file is written first, so that a disk without room leaves it as it was; then what has changed in place.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from itertools import pairwise

import numpy as np

from mpiopt.io.disk import sealed_file
from mpiopt.io.disk.memory_pages import Pages


class Mirror(Pages):
    """What an open, empty file is to hold. Held by one rank; methods may raise OSError."""

    def __init__(self, file: FileIO) -> None:
        super().__init__()
        self._changed: list[tuple[int, int]] = []
        self._there = 0  # bytes on the disk
        self._file = file.fileno()

    def write(self, data) -> int:
        """Put bytes where it stands, in memory."""
        start = self.tell()
        count = super().write(data)
        self._changed.append((start, start + count))
        return count

    def sync(self) -> None:
        """Bring what has changed to the disk; where that fails for want of room, the file is what it was."""
        pieces = list(_merged(self._changed, self._there, self.length))
        try:
            for start, stop in pieces:
                if start >= self._there:
                    sealed_file.write(self._file, self._content(start, stop), start)
            if self.length > self._there:
                os.ftruncate(self._file, self.length)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._there)
            raise
        for start, stop in reversed(pieces):  # HDF5's own beginning comes last
            if start < self._there:
                sealed_file.write(self._file, self._content(start, stop), start)
        if self.length < self._there:
            os.ftruncate(self._file, self.length)
        self._there, self._changed = self.length, []

    def put(self, content: np.ndarray, at: int) -> None:
        """Write bytes (n,) uint8 to a place that HDF5 has reserved, past its memory."""
        sealed_file.write(self._file, content, at)

    def seal(self) -> None:
        """Close what is on the disk as one that is whole."""
        sealed_file.seal(self._file)

    def _content(self, start: int, stop: int) -> bytearray:
        at, out = self.tell(), bytearray(stop - start)
        self.seek(start)
        self.readinto(out)
        self.seek(at)
        return out


def _merged(changed: list[tuple[int, int]], there: int, length: int) -> Iterator[tuple[int, int]]:
    """Disjoint stretches of what has changed, ascending, up to ``length``; none lies on both sides of ``there``."""
    edges = sorted({*(edge for piece in changed for edge in piece if edge <= length), there, length})
    start = None
    for left, right in pairwise(edges):
        inside = any(a <= left and right <= b for a, b in changed)
        if start is not None and (not inside or left == there):
            yield start, left
            start = None
        if inside and start is None:
            start = left
    if start is not None:
        yield start, edges[-1]
