"""A source of dense rows, and what its readers share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from mpiopt.errors import DataError
from mpiopt.io.text.parts import BROKEN, Bytes, cut_off, opened

BLOCK = 1 << 22  # bytes of rows that are read at a time


class Pack(Protocol):
    """Dense rows of one file (or pair of files) in its order. Nothing is collective; small enough to be told to others."""

    @property
    def path(self) -> Path:
        """The file, or the first of them."""

    @property
    def rows(self) -> int:
        """How many there are."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""

    @property
    def stored(self) -> str:
        """The type of the values."""

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""

    def blocks(self, lo: int, hi: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows lo <= i < hi in blocks of some BLOCK bytes: x (n, *shape) of type ``stored``, class numbers y (n,) int32.

        Raises DataError.
        """


@contextmanager
def stream(path: Path) -> Iterator[Bytes]:
    """A file's decompressed content; what goes wrong while reading becomes a DataError."""
    try:
        with opened(path) as file:
            yield file
    except BROKEN as error:
        raise cut_off(path, error) from error


def exactly(file: Bytes, size: int, path: Path) -> bytearray:
    """The next ``size`` bytes. Raises DataError where the file ends before."""
    out = bytearray(size)
    held = 0
    while held < size and (got := file.readinto(memoryview(out)[held:])):
        held += got
    if held < size:
        raise DataError(f"{path} is incomplete: it ends {size - held:,} bytes early")
    return out


def spans(lo: int, hi: int, size: int) -> Iterator[tuple[int, int]]:
    """Bounds of blocks of rows of ``size`` bytes each."""
    step = max(1, BLOCK // max(1, size))
    return ((start, min(start + step, hi)) for start in range(lo, hi, step))


def class_numbers(y: np.ndarray, path: Path, first: int) -> np.ndarray:
    """Labels y (n,) of the rows from ``first`` on as int32. Raises DataError unless they are whole numbers from 0 up."""
    numbers = np.asarray(y, np.float64)
    bad = np.flatnonzero(~((numbers >= 0) & (numbers < 2**31 - 1) & (numbers == np.floor(numbers))))
    if len(bad):
        raise DataError(
            f"{path} has the label {numbers[bad[0]]:g} in row {first + int(bad[0])}: the classes of dense rows are to be "
            "numbered 0, 1, 2, ..."
        )
    return numbers.astype(np.int32)
