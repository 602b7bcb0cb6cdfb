"""Reading checkpoints back: which generation is sound, and what it says of itself."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mpiopt.engine.stop import Record
from mpiopt.errors import DataError
from mpiopt.io.disk.file_kind import CHECKPOINT
from mpiopt.io.disk.foreign_hdf5 import NUMBER, TEXTS, attribute, column, columns
from mpiopt.io.disk.hdf5_check import parsing
from mpiopt.io.disk.sealed_file import damage
from mpiopt.io.runs.checkpoint_file import Form, stored
from mpiopt.io.runs.expected_forms import expected
from mpiopt.paths.path import PathRecord
from mpiopt.playing.drive import Move
from mpiopt.training.drive import Lesson

SCHEMA_VERSION = 3
OLDEST = 3  # before, states had no names
KINDS: tuple[type[Record | Lesson | Move | PathRecord], ...] = (
    Record,
    Lesson,
    Move,
    PathRecord,
)  # of histories, told apart by their columns


FORM = [[int], str]  # the shape of an array, and its type as NumPy writes it
INDEX = {"tree": object, "parts": [[object]], "arrays": {str: FORM}, "own": [{str: FORM}], "shared": [str], "rows": [int]}


@dataclass(frozen=True)
class Saved:
    """A sound checkpoint as it was found; the same on every rank."""

    path: Path
    warning: str  # why it is not the newest, or ""
    run_id: str
    identity: dict[str, Any]
    index: dict[str, Any]
    history: tuple[Record | Lesson | Move | PathRecord, ...]
    fresh: tuple[bool, ...]

    @property
    def round(self) -> int:
        """The round after which it was written."""
        return self.history[-1].round


def newest(paths: tuple[Path, ...]) -> Saved | None:
    """The first of the checkpoints that is sound, None where there is none at all. Not collective.

    Raises DataError where none is sound, or where the sound one is not for this version.
    """
    wrong: list[str] = []
    for path in paths:
        try:
            if not (found := damage(path)):
                with parsing(path, "start anew with `resume=never`"):
                    saved = _opened(path)
                said = f"{' and '.join(wrong)} cannot be used: going on from {path}, which is of round {saved.round}"
                return replace(saved, warning=said) if wrong else saved
        except FileNotFoundError:
            continue
        except OSError as error:
            found = why(error)
        wrong.append(f"{path} ({found})")
    if wrong:
        raise DataError(f"{' and '.join(wrong)} cannot be used: bring back a sound copy, or start anew with `resume=never`")
    return None


def _opened(path: Path) -> Saved:
    with h5py.File(path, "r", locking=False) as file:
        if file.attrs.get("schema") != CHECKPOINT:
            raise DataError(f"{path} is not a checkpoint of mpiopt: name another file with `checkpoint`")
        version, run_id = attribute(file, "version", str), attribute(file, "run_id", str)
        form = attribute(file, "schema_version", int)
        if form > SCHEMA_VERSION:
            raise DataError(f"{path} was written by mpiopt {version}, which is newer than this one: use that one")
        if form < OLDEST:
            raise DataError(
                f"{path} was written by an earlier mpiopt, which kept states in another form: go on with that one, "
                "or start anew with `resume=never`"
            )
        found = {name: column.tolist() for name, column in columns(file, "history", NUMBER).items()}
        identity = expected(json.loads(attribute(file, "identity", str)), {str: object}, "its identity")
        index = expected(json.loads(column(file, "index", TEXTS, ())[()]), INDEX, "its index")
        _demand_arrays(file, index)
    kind = max(KINDS, key=lambda kind: len(set(kind._fields) & set(found)))
    expected(found, {name: [(float, int, bool)] for name in (*kind._fields, "fresh")}, "its history")
    history = tuple(kind(*line) for line in zip(*(found[name] for name in kind._fields), strict=True))
    if not history or len(found["fresh"]) != len(history):
        raise ValueError("its history has no rounds")
    return Saved(path, "", run_id, identity, index, history, tuple(found["fresh"]))


def _demand_arrays(file: h5py.File, index: dict[str, Any]) -> None:
    """See that every array of an index is in the file, whole and as it says. Raises ValueError."""
    if not len(index["parts"]) == len(index["own"]) == len(index["rows"]):
        raise ValueError("its index is not of one number of workers")
    if strange := set(index["shared"]) - set(index["arrays"]):
        raise ValueError(f"its index has no array {min(strange)[:40]!r}")
    for name, (shape, kind) in forms(index).items():
        found = column(file, name, (np.dtype(kind).str[1:],), stored(shape))
        if found.size and found.id.get_offset() is None:
            raise ValueError(f"{name} is not stored in one piece")


def forms(index: dict[str, Any]) -> dict[str, Form]:
    """Every dataset's shape and type."""
    own = {f"workers/{worker}/{name}": form for worker, mine in enumerate(index["own"]) for name, form in mine.items()}
    return {f"all/{name}": form for name, form in index["arrays"].items()} | own


def why(error: Exception) -> str:
    """What the system says of a failure, in a few words."""
    return os.strerror(error.errno).lower() if isinstance(error, OSError) and error.errno else str(error).splitlines()[0]
