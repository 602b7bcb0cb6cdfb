"""Which rank reads which part of the text, and that part as whole lines.

Plain files are divided by bytes among all ranks; a compressed file can only be read from its start, so one rank reads it whole.
"""

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from io import BufferedIOBase, RawIOBase
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.errors import DataError
from mpiopt.io.tables.arrow import arrow
from mpiopt.io.text.bounded_xz import MOST, BoundedXz
from mpiopt.kernels.host.text import PAD

BLOCK = 1 << 20  # bytes parsed at a time: they stay in the cache
LINE = 1 << 28  # bytes of the longest line: some 20 million entries
Bytes = RawIOBase | BufferedIOBase
MARK = b"\xef\xbb\xbf"  # of UTF-8, with which some editors begin a file


def _zstd(path: Path, mode: str) -> Any:
    """A file packed by Zstandard (Collet and Kucherawy, RFC 8878, 2021), read by pyarrow."""
    return arrow().input_stream(str(path), compression="zstd")


_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": BoundedXz,
    b"\x28\xb5\x2f\xfd": _zstd,
}
_SLOW = 8  # how much longer a compressed byte takes than a plain one
BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)


class Part(NamedTuple):
    """Lines that start at byte ``start`` or later and before ``stop``; None for the whole of a compressed file.

    Of what is no text: other pieces in place of bytes, as its reader counts them.
    """

    number: int
    path: Path
    start: int
    stop: int | None


def divisible(path: Path) -> int | None:
    """The bytes of a file whose lines can be divided among ranks; None for a compressed one. Raises DataError."""
    size, opener = _probe(path)
    return size if opener is None else None


def parts(sources: Sequence[str | Path], rank: int, ranks: int, size: Callable[[Path], int | None] = divisible) -> list[Part]:
    """What one of ``ranks`` ranks reads. Parts are numbered in the order of the sources.

    size : how many pieces a file can be divided into, None for one that is read whole. Raises DataError.
    """
    mine, load = [], [0] * ranks
    for number, path in enumerate(map(Path, sources)):
        nbytes, opener = _probe(path)
        pieces = size(path)
        if pieces is not None:
            bounds = even(pieces, ranks)
            mine.append(Part(number * ranks + rank, path, int(bounds[rank]), int(bounds[rank + 1])))
        else:
            reader = load.index(min(load))
            load[reader] += nbytes * (1 if opener is None else _SLOW)
            if reader == rank:
                mine.append(Part(number * ranks, path, 0, None))
    return mine


def _probe(path: Path) -> tuple[int, Callable[..., Bytes] | None]:
    """A file's size and what decompresses it, if it is compressed."""
    try:
        with open(path, "rb") as file:
            head = file.read(8)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataError(f"{path} cannot be read: {str(error.strerror).lower()}") from error
    return size, next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), None)


def opened(path: Path) -> Bytes:
    """A file's content, decompressed if it is compressed. Raises DataError; reading may raise `BROKEN`."""
    opener = _probe(path)[1]
    return open(path, "rb", buffering=0) if opener is None else opener(path, "rb")


def cut_off(path: Path, error: Exception) -> DataError:
    """What to raise where reading ``path`` has raised one of `BROKEN`."""
    if isinstance(error, lzma.LZMAError) and "limit" in str(error):
        return DataError(f"{path} wants more than {MOST >> 20} MiB of memory to be decompressed: compress it by xz -9 or less")
    return DataError(f"{path} cannot be read to its end ({error}): it is damaged or incomplete")


def _line_start(file: Bytes, position: int) -> int:
    """The first line start at or after ``position``."""
    if position == 0:
        return 0
    file.seek(position - 1)
    while piece := file.read(BLOCK >> 4):
        if (found := piece.find(b"\n")) >= 0:
            return file.tell() - len(piece) + found + 1
    return file.tell()


def blocks(part: Part, size: int | None = None) -> Iterator[tuple[np.ndarray, int, int]]:
    """Whole lines: a buffer, how many bytes of it they are, and the first one's position in the (decompressed) file.

    size : bytes of the buffer, BLOCK unless given, more where a line is longer; it is used again, readable `PAD` bytes further.
    Raises DataError.
    """
    try:
        with opened(part.path) as file:
            at, left = 0, inf
            if part.stop is not None:
                at, end = _line_start(file, part.start), _line_start(file, part.stop)
                left = end - at
                file.seek(at)
            yield from _lines(part.path, file, at, left, size or BLOCK)
    except BROKEN as error:
        raise cut_off(part.path, error) from error


def _lines(path: Path, file: Bytes, at: int, left: float, size: int) -> Iterator[tuple[np.ndarray, int, int]]:
    raw, held = bytearray(size + PAD), 0
    while True:
        room = len(raw) - PAD - 1  # one byte for a last line without its newline
        got = 0
        with memoryview(raw) as view:
            while left and held < room and (got := file.readinto(view[held : int(min(held + left, room))])):
                held, left = held + got, left - got
        ended = not left or not got
        if ended and held and raw[held - 1] != 10:
            raw[held] = 10
            held += 1
        if not at and raw.startswith(MARK):
            raw[: len(MARK)] = b" " * len(MARK)
        cut = raw.rfind(b"\n", 0, held) + 1
        if cut:
            yield np.frombuffer(raw, np.uint8), cut, at
        if ended:
            return
        if not cut:
            if held > LINE:
                raise DataError(f"{where(path, at)} has more than {LINE:,} bytes: it is no row of LABEL INDEX:VALUE ...")
            raw = raw + bytearray(len(raw))  # a line longer than the buffer
            continue
        raw[: held - cut] = raw[cut:held]
        held, at = held - cut, at + cut


def where(path: Path, position: int) -> str:
    """File and line, counted only now that somebody asks."""
    line = 1
    with opened(path) as file:
        while position and (piece := file.read(min(BLOCK, position))):
            line += piece.count(b"\n")
            position -= len(piece)
    return f"{path}, line {line}"


def firsts(world: World, counted: list[tuple[int, list[int]]]) -> list[int]:
    """The first row of each of this rank's runs, from the rows of the runs of each part, by the parts' order. Collective."""
    totals = sorted((number, sum(rows)) for part in world.tell_all(counted) for number, rows in part)
    starts = dict(zip((number for number, _ in totals), np.cumsum([0, *(rows for _, rows in totals)]).tolist(), strict=False))
    return [starts[number] + sum(rows[:k]) for number, rows in counted for k in range(len(rows))]
