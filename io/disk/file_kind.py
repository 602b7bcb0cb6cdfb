"""Which of our files a path is, by the letters at its beginning: a job writes over files of its own kind only.

HDF5 keeps a file's first text attribute, ``schema``, as its length and its letters. They are looked for among the first
bytes, so that a damaged file is still known, and nothing is handed to HDF5 which may be anything.
"""

import os
import stat
from pathlib import Path

from mpiopt.errors import UsageError

HEAD = 1 << 20  # bytes looked at
SIGNATURE = b"\x89HDF\r\n\x1a\n"
RUN, DATA, CHECKPOINT, PREDICTIONS = "mpiopt-run", "mpiopt-data", "mpiopt-checkpoint", "mpiopt-predictions"
LETTERS = {name: len(name).to_bytes(8, "little") + name.encode() for name in (RUN, DATA, CHECKPOINT, PREDICTIONS)}


def schema_of(path: Path) -> str | None:
    """The ``schema`` of an HDF5 file of ours, sound or not; None for anything else. Not collective."""
    try:
        head = _head(path)
    except OSError:
        return None
    places = {head.find(letters): name for name, letters in LETTERS.items() if letters in head}
    return places[min(places)] if places and head.startswith(SIGNATURE) else None


def is_of(path: Path, schema: str) -> bool:
    """Whether a file is of this schema, or empty as one that was only begun. Not collective."""
    return schema_of(path) == schema or (path.is_file() and path.stat().st_size == 0)


def replaceable(path: Path, schema: str, what: str) -> None:
    """Raise UsageError where ``path`` exists and is not ``what``, a file of this schema. Not collective."""
    if os.path.lexists(path) and not is_of(path, schema):
        raise UsageError(f"{path} exists and is not {what}: nothing else is replaced; give another name, or move it away")


def _head(path: Path) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.pread(file, HEAD, 0) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    finally:
        os.close(file)
