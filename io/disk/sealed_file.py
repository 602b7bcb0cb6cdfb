"""Sealed files: every byte stands under a CRC-32 that follows the content, so that damage is found before HDF5 sees it.

    content    whatever program reads the file; HDF5 does not mind what follows its last byte
    table      (pieces, 3) int64: first byte, last byte + 1 and CRC-32 of each piece, in order and without gaps; OWN in
               place of the CRC-32 of what carries a checksum of its own
    footer     magic, length of the content, number of pieces, CRC-32 of the table

The CRC-32 of a large piece can be had while it is being written; the small remainder is read once more.
"""

import os
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from zlib import crc32

import numpy as np

MAGIC = b"mpiopt\x00\x01"
FOOTER = struct.Struct("<8sQQQ")
READ = 1 << 24  # bytes read at once
OWN = -2
ODD = "it is not a regular file"

Piece = tuple[int, int, int]  # first byte, last byte + 1, CRC-32


def seal(file: int, known: Iterable[Piece] = ()) -> None:
    """Append table and footer to an open file descriptor; ``known`` : pieces whose CRC-32 is known, or OWN.

    Raises OSError, and leaves the content as it was.
    """
    length = os.fstat(file).st_size
    table = np.array(list(_without_gaps(file, sorted(known), length)), np.int64).reshape(-1, 3).tobytes()
    os.lseek(file, length, os.SEEK_SET)
    try:
        write(file, table + FOOTER.pack(MAGIC, length, len(table) // 24, crc32(table)))
    except OSError:
        os.ftruncate(file, length)
        raise


def seal_path(path: Path, known: Iterable[Piece] = ()) -> None:
    """`seal` the finished file at ``path``. Raises OSError."""
    file = os.open(path, os.O_RDWR)
    try:
        seal(file, known)
    finally:
        os.close(file)


def regular(path: Path) -> bool:
    """Whether there is a file that can be read again and again; a pipe, which may never end, is none. Raises OSError."""
    return stat.S_ISREG(path.stat().st_mode)


def is_sealed(path: Path) -> bool:
    """Whether a regular file ends as sealed ones do; its content may still be damaged. Raises OSError."""
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        return size >= FOOTER.size and os.pread(file.fileno(), len(MAGIC), size - FOOTER.size) == MAGIC


def damage(path: Path) -> str:
    """What is wrong with a sealed file, in a few words; "" for a sound one. Reads all of it. Raises OSError."""
    if not regular(path):
        return ODD
    with path.open("rb", buffering=0) as opened:
        file, size = opened.fileno(), opened.seek(0, os.SEEK_END)
        if size < FOOTER.size:
            return "it is not whole"
        magic, length, pieces, checksum = FOOTER.unpack(os.pread(file, FOOTER.size, size - FOOTER.size))
        if magic != MAGIC or length + 24 * pieces + FOOTER.size != size:
            return "it is not whole, or not sealed by mpiopt"
        table = os.pread(file, 24 * pieces, length)
        if crc32(table) != checksum:
            return "its checksums are damaged"
        rows = [tuple(map(int, row)) for row in np.frombuffer(table, np.int64).reshape(-1, 3)]
        if [*(start for start, _, _ in rows), length] != [0, *(stop for _, stop, _ in rows)]:
            return "its checksums do not cover it"
        broken = [start for start, stop, found in rows if found != OWN and _crc(file, start, stop) != found]
    return f"the checksum of what begins at byte {broken[0]:,} does not hold" if broken else ""


def write(file: int, data: bytes | bytearray | memoryview | np.ndarray, at: int | None = None) -> None:
    """Write all of ``data`` (bytes) at an offset, or where the file stands. Raises OSError."""
    view, done = memoryview(data.data if isinstance(data, np.ndarray) else data).cast("B"), 0
    while done < len(view):
        rest = view[done:]
        done += os.write(file, rest) if at is None else os.pwrite(file, rest, at + done)


def _without_gaps(file: int, known: list[Piece], length: int) -> Iterator[Piece]:
    end = 0
    for start, stop, found in [*known, (length, length, 0)]:
        if start > end:
            yield end, start, _crc(file, end, start)
        if stop > start:
            yield start, stop, found
        end = stop


def _crc(file: int, start: int, stop: int) -> int:
    found = 0
    while start < stop:
        block = os.pread(file, min(READ, stop - start), start)
        if not block:
            return -1
        found, start = crc32(block, found), start + len(block)
    return found
