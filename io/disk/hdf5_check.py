"""Whether a file can be handed to HDF5, which may hang or crash on damaged ones, or take nonsense for numbers.

Finished files are sealed (`disk.sealed_file`), and a sound seal is proof. A run under way or killed has none: another process
reads such a file first, and may hang or crash in our place.
"""

import errno
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from mpiopt.errors import DataError
from mpiopt.io.disk.sealed_file import ODD, damage, is_sealed, regular

LIMIT = 20.0  # seconds that the other process has
ROOM = 16 << 30  # bytes of address space that it has, where this process may have as much
SCANT = 3  # its exit code where it has less, and not enough
SCANTY = "there is too little memory to examine it: raise the limit of address space, ulimit -v"
BROKEN = (OSError, KeyError, RuntimeError, TypeError, ValueError, AttributeError, IndexError, MemoryError)
TASTE = f"""
import os, resource, sys
os.putenv("OPENBLAS_NUM_THREADS", "1")  # each would take address space
room = min([{ROOM}, *(limit for limit in resource.getrlimit(resource.RLIMIT_AS) if limit != resource.RLIM_INFINITY)])
resource.setrlimit(resource.RLIMIT_AS, (room, room))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
def scant(kind, error, trace):
    os._exit({SCANT} if room < {ROOM} and issubclass(kind, (MemoryError, ImportError)) else 1)
sys.excepthook = scant
import h5py
def visit(name, item):
    dict(item.attrs)
    if isinstance(item, h5py.Dataset):
        item[()]
with h5py.File(sys.argv[1], "r", locking=False) as file:
    visit("/", file)
    file.visititems(visit)
"""


def wrong(path: Path) -> str:
    """What keeps a file from being read, in a few words; "" where nothing does. Not collective. Raises OSError."""
    if not regular(path):
        return ODD
    if is_sealed(path):
        return damage(path)
    if not h5py.is_hdf5(path):
        return "it is not an HDF5 file, or damaged"
    try:
        # -P: no module of the working folder takes the place of another; what comes through PYTHONPATH is meant
        done = subprocess.run(
            [sys.executable, "-P", "-c", TASTE, path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "it is damaged: HDF5 does not come to an end with it"
    except OSError as error:
        if error.errno == errno.ENOMEM:  # a process cannot even be started
            return SCANTY
        raise
    if done.returncode == SCANT:
        return SCANTY
    return "" if done.returncode == 0 else "it is damaged: HDF5 refuses it"


def tail(path: Path) -> int:
    """Bytes that follow what HDF5 says is the file's end: a seal, or what is left of one. Raises OSError."""
    with path.open("rb") as file:
        head = file.read(48)
    version = head[8] if len(head) == 48 else 255
    end = struct.unpack_from("<Q", head, 40 if version < 2 else 28)[0] if version < 4 else 0
    return os.stat(path).st_size - end


def reason(error: Exception) -> str:
    """Why, in the system's words; HDF5 hides the number in its message."""
    number = getattr(error, "errno", None)
    if number is None and (found := re.search(r"errno = (\d+)", str(error))):
        number = int(found[1])
    return os.strerror(number).lower() if number else str(error).partition("\n")[0] or type(error).__name__


@contextmanager
def parsing(path: Path, what: str) -> Iterator[None]:
    """Turn whatever HDF5 and the parsing of what it says raise into a DataError that names ``path``; ``what`` to do then."""
    try:
        yield
    except BROKEN as error:
        raise DataError(f"{path} is damaged ({reason(error)[:100]}): {what}") from error
