"""A run file opened for reading: what is to be seen before anything in it is believed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from mpiopt import __version__
from mpiopt.errors import DataError
from mpiopt.io.disk import foreign_hdf5
from mpiopt.io.disk.file_kind import RUN
from mpiopt.io.disk.hdf5_check import parsing, tail, wrong
from mpiopt.io.disk.sealed_file import is_sealed

SCHEMA_VERSION = 1


@contextmanager
def opened_run(path: str | Path) -> Iterator[h5py.File]:
    """The file, unlocked, so that a run under way can be read; whatever is wrong with it is a DataError."""
    path = Path(path)
    try:
        found = wrong(path)
    except OSError as error:
        raise DataError(f"the run file {path} cannot be read: {why(error, path)}") from error
    if found:
        raise DataError(f"the run file {path} cannot be read: {found}")
    with parsing(path, "try again if it was being written meanwhile"), h5py.File(path, "r", locking=False) as file:
        if file.attrs.get("schema") != RUN or not {"history", "solution"} <= set(file):
            raise DataError(f"{path} is not a run file of mpiopt: name one that mpiopt solve or train has written")
        if foreign_hdf5.attribute(file, "schema_version", int) > SCHEMA_VERSION:
            raise DataError(f"{path} was written by a newer mpiopt than this one, {__version__}: install that one to read it")
        if foreign_hdf5.attribute(file, "reason", str) != "RUNNING" and not is_sealed(path) and tail(path):
            raise DataError(f"the run file {path} cannot be read: its seal is damaged")
        yield file


def why(error: OSError, place: Path) -> str:
    """The reason of a failure at ``place`` in a word, where HDF5 gives its inner life."""
    if error.errno:
        return os.strerror(error.errno).lower()
    return "it is not an HDF5 file, or damaged" if place.is_file() else str(error).partition("(")[0].strip().lower()
