"""npz archives: their arrays read front to back, never whole, and those that hold rows x and class numbers y."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import cast

import numpy as np
from numpy.lib import format as npy

from mpiopt.errors import DataError
from mpiopt.io.images.sources import class_numbers, exactly, spans
from mpiopt.io.text.parts import Bytes

# what readers raise for a damaged archive; NotImplementedError is zipfile's for a compression that it does not know
_BROKEN = (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


@dataclass(frozen=True)
class Member:
    """One array of an archive: name, shape, type, and where its data begin (bytes)."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    start: int

    @property
    def entry(self) -> int:
        """Bytes of one entry along the first axis."""
        return prod(self.shape[1:]) * self.dtype.itemsize

    @contextmanager
    def at(self, lo: int) -> Iterator[Bytes]:
        """The member as a stream that stands before entry ``lo``."""
        with _member(self.path, self.name) as file:
            file.seek(self.start + lo * self.entry)
            yield file

    def take(self, file: Bytes, count: int) -> np.ndarray:
        """The next entries (count, ...) of a stream from `at`. Raises DataError."""
        raw = exactly(file, count * self.entry, self.path)
        return np.frombuffer(raw, self.dtype).reshape(count, *self.shape[1:])

    def whole(self) -> np.ndarray:
        """All of it."""
        with self.at(0) as file:
            return self.take(file, self.shape[0])


@contextmanager
def _member(path: Path, name: str) -> Iterator[Bytes]:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(name + ".npy") as file:
            yield cast("Bytes", file)  # a ZipExtFile
    except _BROKEN as error:
        raise DataError(f"{path} cannot be read to its end (array {name!r}: {error}): it is damaged or incomplete") from error


def look(path: Path, name: str) -> Member:
    """What the head of an array says. Raises DataError."""
    with _member(path, name) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        start = file.tell()
    if dtype.hasobject:
        raise DataError(f"{path}: the array {name!r} holds Python objects, which are not read: save it as numbers")
    if not shape or (fortran and len(shape) > 1):
        raise DataError(f"{path}: the array {name!r} is {'in Fortran order' if shape else 'one number'}: save rows in C order")
    return Member(path, name, shape, dtype, start)


def names(path: Path) -> set[str]:
    """The names of an archive's arrays. Raises DataError."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except _BROKEN as error:
        raise DataError(f"{path} cannot be read as an npz archive ({error}): it is damaged or incomplete") from error


@dataclass(frozen=True)
class Arrays:
    """Rows x (rows, ...) and class numbers y; bytes are kept as such, other numbers become float32."""

    x: Member
    y: Member

    @property
    def path(self) -> Path:
        """The archive."""
        return self.x.path

    @property
    def files(self) -> tuple[Path, ...]:
        """The archive alone."""
        return (self.path,)

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.x.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row; a plain number is one feature."""
        return self.x.shape[1:] or (1,)

    @property
    def stored(self) -> str:
        """The type that the rows are stored in."""
        return "uint8" if self.x.dtype == np.uint8 else "float32"

    def blocks(self, lo: int, hi: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `Pack.blocks`."""
        with self.x.at(lo) as rows, self.y.at(lo) as labels:
            for start, stop in spans(lo, hi, self.x.entry):
                with np.errstate(over="ignore"):
                    x = self.x.take(rows, stop - start).reshape(-1, *self.shape).astype(self.stored, copy=False)
                self._refuse_infinite(x, start)
                yield x, class_numbers(self.y.take(labels, stop - start).reshape(-1), self.path, start)

    def _refuse_infinite(self, x: np.ndarray, first: int) -> None:
        if x.dtype == np.float32 and not np.isfinite(x).all():
            row = first + int(np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))[0])
            raise DataError(f"{self.path}: row {row} of x has a value that is not finite in single precision")


def open_arrays(path: Path) -> Arrays:
    """The arrays x and y of an archive, as yet unread. Raises DataError if they do not fit together."""
    x, y = look(path, "x"), look(path, "y")
    for member in (x, y):
        if member.dtype.kind not in "buif":
            raise DataError(f"{x.path}: the array {member.name!r} is of type {member.dtype}, but is to hold real numbers")
    if prod(y.shape) != y.shape[0] or y.shape[0] != x.shape[0]:
        raise DataError(f"{x.path}: x has the shape {x.shape} and y {y.shape}: there is to be one label for each row")
    if not prod(x.shape[1:]):
        raise DataError(f"{x.path}: x has the shape {x.shape}: there is nothing in a row")
    return Arrays(x, y)
