"""Reading checkpoints back: which generation is sound, and what it says of itself."""

import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from mpiopt.errors import DataError
from mpiopt.io.schema import CHECKPOINT
from mpiopt.io.sealed import damage
from mpiopt.stop import Record
from mpiopt.train import Lesson

SCHEMA_VERSION = 1


class Saved(NamedTuple):
    """A sound checkpoint as it was found; the same on every rank."""

    path: Path
    warning: str  # why it is not the newest, or ""
    run_id: str
    identity: dict[str, Any]
    index: dict[str, Any]
    history: tuple[Record | Lesson, ...]
    fresh: tuple[bool, ...]

    @property
    def round(self) -> int:
        """The round after which it was written."""
        return self.history[-1].round


def newest(paths: tuple[Path, ...]) -> Saved | None:
    """The first of the checkpoints that is sound, None where there is none at all. Not collective.

    Raises DataError where none is sound, or where the sound one is not for this version.
    """
    wrong = []
    for path in paths:
        try:
            if not (found := damage(path)):
                saved = _opened(path)
                said = f"{' and '.join(wrong)} cannot be used: going on from {path}, which is of round {saved.round}"
                return saved._replace(warning=said) if wrong else saved
        except FileNotFoundError:
            continue
        except OSError as error:
            found = why(error)
        wrong.append(f"{path} ({found})")
    if wrong:
        raise DataError(f"{' and '.join(wrong)} cannot be used: bring back a sound copy, or start anew with --resume never")
    return None


def _opened(path: Path) -> Saved:
    with h5py.File(path, "r", locking=False) as file:
        about = dict(file.attrs)
        if about.get("schema") != CHECKPOINT:
            raise DataError(f"{path} is not a checkpoint of mpiopt: name another file with --checkpoint")
        if about["schema_version"] > SCHEMA_VERSION:
            raise DataError(f"{path} was written by mpiopt {about['version']}, which is newer than this one: use that one")
        columns = {name: column[()].tolist() for name, column in file["history"].items()}
        index = json.loads(file["index"][()])
    kind = Record if "gradient_norm" in columns else Lesson
    history = [kind(*line) for line in zip(*(columns[name] for name in kind._fields), strict=True)]
    fresh = tuple(columns["fresh"])
    return Saved(path, "", about["run_id"], json.loads(about["identity"]), index, tuple(history), fresh)


def why(error: Exception) -> str:
    """What the system says of a failure, in a few words."""
    return os.strerror(error.errno).lower() if getattr(error, "errno", None) else str(error).splitlines()[0]
