"""Which of our files a path is: --overwrite replaces a file of its own kind only."""

from pathlib import Path

import h5py

from mpiopt.errors import UsageError
from mpiopt.io.guard import BROKEN, wrong


def schema_of(path: Path) -> str | None:
    """The ``schema`` attribute of an HDF5 file of ours; None for anything else. Not collective."""
    try:
        if wrong(path):
            return None
        with h5py.File(path, "r", locking=False) as file:
            found = file.attrs.get("schema")
    except BROKEN:
        return None
    return found if isinstance(found, str) else None


def replaceable(path: Path, schema: str, what: str) -> None:
    """Raise UsageError where ``path`` exists and is not ``what``, a file of this schema. Not collective."""
    if path.exists() and schema_of(path) != schema:
        raise UsageError(f"{path} exists and is not {what}: --overwrite replaces nothing else; give another name")
