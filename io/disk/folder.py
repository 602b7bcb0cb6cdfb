"""Whether HDF5 files can be written, locked and read in a folder: network file systems differ."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import h5py


class Folder(NamedTuple):
    """What was found: an empty ``problem`` means that all is well."""

    path: str
    writable: bool
    locks: bool
    problem: str


def probe(path: str | Path) -> Folder:
    """Write an HDF5 file in a folder of its own under ``path`` and read it back, with and without a lock. Not collective."""
    try:
        with TemporaryDirectory(prefix=".mpiopt-", dir=path) as scratch:
            return _probe(Path(path), Path(scratch) / "probe.h5")
    except OSError as error:
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        return Folder(str(path), False, False, f"files cannot be written there: {why}")


def _probe(path: Path, file: Path) -> Folder:
    with h5py.File(file, "w", locking=False) as unlocked:
        unlocked["x"] = range(8)
    try:
        with h5py.File(file, "r+", locking=True) as locked:
            locked["y"] = locked["x"][()]
    except OSError:
        return Folder(
            str(path),
            True,
            False,
            "HDF5 cannot lock files there; mpiopt goes on without locks, so let no two jobs write one file",
        )
    return Folder(str(path), True, True, "")


def hdf5_version() -> str:
    """The version of the HDF5 library."""
    return h5py.version.hdf5_version
