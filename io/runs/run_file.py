"""Run files: what a solve did, round by round, and what it found.

    RUN.h5   attributes   schema="mpiopt-run", schema_version, method, reason, reason_text, config (TOML), ...
             history/     columns of equal length on the dimension scale `round`: seconds, objective, gradient_norm, ...
             solution/    x (d,), intercept (), of several classes (d, classes) and (classes,); buffers/NAME: what a model keeps
                          beside x, such as running statistics; layout: what the parts of x are called (`runs.naming`)

Every record is flushed, and the file keeps HDF5's oldest format: a run that is killed leaves a file that opens and
holds all rounds but perhaps the last. ``reason`` is RUNNING until the run says why it ended. A file that is closed is
sealed (`disk.sealed_file`): HDF5 does not mind, and damage is found.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np

from mpiopt import __version__
from mpiopt.errors import DataError, MpioptError
from mpiopt.io.dataset.made_features import NO_MADE, Made
from mpiopt.io.disk import foreign_hdf5
from mpiopt.io.disk.file_kind import RUN, is_of, replaceable
from mpiopt.io.disk.hdf5_check import reason
from mpiopt.io.disk.held_name import HeldName
from mpiopt.io.disk.memory_backed import Mirror
from mpiopt.io.disk.memory_pages import PAGE
from mpiopt.io.runs.attributes import said
from mpiopt.io.runs.checkpoint_file import reserved
from mpiopt.io.runs.naming import UNNAMED, Naming
from mpiopt.io.runs.opened_run import SCHEMA_VERSION, opened_run, why
from mpiopt.words import storable

CHUNK = 512  # rounds in a chunk of a column
BUFFERS = "buffers"
NOTHING: Mapping[str, Any] = MappingProxyType({})
INTEGERS = ("round", "bytes_sent", "vector_rounds", "messages", "steps", "leader")


def claim(path: str | Path, *, overwrite: bool = False, run_id: str = "") -> None:
    """Make sure that a file can be written at ``path``, and make its folder; the file is not touched. Not collective.

    run_id : the run that goes on: a file that it has left may be replaced. Raises DataError where there is another, unless
    it may be overwritten, and where it cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not overwrite and not (run_id and run_of(path) == run_id):
            raise DataError(f"{path} exists: name another file with `out`, or give `overwrite` to replace it")
        replaceable(path, RUN, "a run file of mpiopt")
        with path.open("r+b") if path.exists() else TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise DataError(f"the run file {path} cannot be written: {why(error, path.parent)}") from error


class RunFile:
    """A run file under way; held by one rank. Not collective. Use as a context manager.

    path : where to write; its folder is made. attributes : what is known at the start (str, int, float, bool).
    overwrite : whether an existing run file may be replaced; one of the same ``run_id`` always may be.
    past : the history so far by column, of a run that goes on. An existing file stays until the new one holds all that.

    Raises DataError where the file exists, cannot be written, or is another job's meanwhile.
    """

    def __init__(
        self,
        path: str | Path,
        attributes: Mapping[str, Any],
        *,
        overwrite: bool = False,
        past: Mapping[str, Sequence[float] | np.ndarray] | None = None,
    ) -> None:
        self.path, self._fit = Path(path), True
        self._held = HeldName(self.path, lambda leftover: is_of(leftover, RUN))
        mine = {"overwrite": overwrite, "run_id": attributes.get("run_id", "")}
        claim(path, **mine)
        try:
            self._disk = Mirror(self._held.draft())
            claim(path, **mine)  # again: another job may have ended before this one had the name
        except OSError as error:
            raise DataError(f"the run file {path} cannot be written: {why(error, self.path.parent)}") from error
        except MpioptError:
            self._held.close()
            raise
        self._file = h5py.File(self._disk, "w", libver=("earliest", "v110"))
        self._rounds = 0
        self._columns: dict[str, h5py.Dataset] = {}
        self.describe({"schema": RUN, "schema_version": SCHEMA_VERSION, "version": __version__, "reason": "RUNNING"})
        created, text = datetime.now(UTC).isoformat(timespec="seconds"), "The run had not ended when this file was read."
        self.describe({"created": created, "reason_text": text, **attributes})
        self._history = self._file.create_group("history")
        self._file.create_group("solution")
        self._column("round").make_scale("round")
        self._extend(past or {})
        self._held.publish()

    def __enter__(self) -> "RunFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def describe(self, attributes: Mapping[str, Any]) -> None:
        """Set attributes of the file."""
        for name, value in attributes.items():
            if value is not None:
                self._file.attrs[name] = storable(value) if isinstance(value, str) else value

    def add(self, record: Mapping[str, float]) -> None:
        """Append one round, named numbers with ``round`` among them, and flush; a new name's past is NaN.

        Raises DataError where the disk is full.
        """
        self._extend({name: [value] for name, value in record.items()})

    def amend(self, values: Mapping[str, float]) -> None:
        """Put named numbers beside the last round, and flush; as `add`."""
        try:
            for name, value in values.items():
                column = self._column(name)
                column.resize((self._rounds,))
                column[self._rounds - 1] = value
            self._sync()
        except OSError as error:
            raise DataError(f"round {self._rounds - 1} cannot be added to the run file {self.path}: {reason(error)}") from error

    def column(self, name: str) -> list[float]:
        """A column of the history as far as it goes; none where it has no such name."""
        return self._columns[name][()].tolist() if name in self._columns else []

    def _extend(self, columns: Mapping[str, Sequence[float] | np.ndarray]) -> None:
        start = self._rounds
        self._rounds += max(map(len, columns.values()), default=0)
        try:
            for name in {**self._columns, **columns}:
                column = self._column(name)
                column.resize((self._rounds,))
                column[start:] = columns.get(name, 0 if name in INTEGERS else np.nan)
            self._sync()
        except OSError as error:
            raise DataError(f"round {self._rounds - 1} cannot be added to the run file {self.path}: {reason(error)}") from error

    def finish(
        self,
        x: np.ndarray,
        intercept: float | np.ndarray,
        attributes: Mapping[str, Any],
        buffers: Mapping[str, np.ndarray] = NOTHING,
        made: Made = NO_MADE,
        layout: Naming = UNNAMED,
    ) -> None:
        """Write the solution and why the run ended: x (d,) or (d, classes), how its features were made or its parts are called,
        what is beside.

        Raises DataError where the disk is full, the file then keeps its history; and where the file has gone meanwhile.
        """
        beside = {f"{BUFFERS}/{name}": array for name, array in buffers.items()}
        try:
            for name, value in {"x": x, "intercept": np.asarray(intercept, np.float64), **beside}.items():
                self._solve(name, np.asarray(value))
            made.write(self._file["solution"])
            layout.write(self._file["solution"])
            self._sync()
            self.describe(attributes)
            self._sync()
        except OSError as error:
            raise DataError(f"the solution cannot be added to the run file {self.path}: {reason(error)}") from error
        self._look()

    def _solve(self, name: str, value: np.ndarray) -> None:
        """Put an array into the solution; a large one goes to the disk without a copy in memory."""
        solution = self._file["solution"]
        if name in solution:
            del solution[name]
        if value.nbytes <= PAGE:
            solution[name] = value
            return
        place = solution.create_dataset(name, value.shape, value.dtype, dcpl=reserved()).id.get_offset()
        self._sync()
        self._disk.put(np.ascontiguousarray(value).reshape(-1).view(np.uint8), place)

    def _sync(self) -> None:
        """Bring the file to the disk. Raises OSError, and then writes no more."""
        try:
            self._file.flush()
            self._disk.sync()
        except OSError:
            self._fit = False
            raise

    def close(self) -> None:
        """Close the file and seal it; closing twice is harmless. A file that found no room stays as it is on the disk."""
        if self._file:
            self._file.close()
            try:
                if self._fit:
                    self._disk.sync()
                    self._disk.seal()
            except OSError as error:
                raise DataError(f"the run file {self.path} cannot be closed: {reason(error)}") from error
            else:
                self._look()
            finally:
                self._held.close()

    def _look(self) -> None:
        if not self._held.here():
            raise DataError(f"the run file {self.path} has gone: it or its folder was removed or renamed during the run")

    def _column(self, name: str) -> h5py.Dataset:
        if name not in self._columns:
            kind = np.int64 if name in INTEGERS else np.float64
            fill = 0 if name in INTEGERS else np.nan
            column = self._history.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(CHUNK,), fillvalue=fill)
            if name != "round":
                column.dims[0].attach_scale(self._history["round"])
            self._columns[name] = column
        return self._columns[name]


@dataclass(frozen=True)
class RunData:
    """A run file's attributes and history columns, equally long arrays by name."""

    path: Path
    attributes: Mapping[str, Any]
    history: Mapping[str, np.ndarray]


def read_run(path: str | Path) -> RunData:
    """A run's attributes and history; also of a run that is under way or was killed. Not collective.

    Raises DataError where the file is missing, damaged or not a run.
    """
    with opened_run(path) as file:
        columns, attributes = foreign_hdf5.columns(file, "history", foreign_hdf5.NUMBER), said(file)
        if "round" not in columns:
            raise ValueError("its history has no rounds")
    length = min(map(len, columns.values()), default=0)
    return RunData(Path(path), attributes, {name: column[:length] for name, column in columns.items()})


def solution_size(path: str | Path) -> int:
    """How many coefficients a solution has, of all its classes, and the errors of `read_solution`, but for what is in x. Not
    collective."""
    with opened_run(path) as file:
        return _solution(file, path, None).size


def _solution(file: h5py.File, path: str | Path, shape: tuple[int | None, ...] | None = (None,)) -> h5py.Dataset:
    if "x" not in set(foreign_hdf5.group(file, "solution")):
        raise DataError(f"{path} holds no solution: that run was stopped before it ended; name a finished one")
    return foreign_hdf5.column(file, "solution/x", foreign_hdf5.FLOAT, shape)


def read_table(path: str | Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """x (d, classes) and the intercepts (classes,) of a run of so many classes. Not collective. Raises as `read_solution`."""
    with opened_run(path) as file:
        x = _solution(file, path, (None, classes))[()]
        intercept = foreign_hdf5.column(file, "solution/intercept", foreign_hdf5.FLOAT, (classes,))[()]
        if not (np.isfinite(x).all() and np.isfinite(intercept).all()):
            raise ValueError("its solution is not finite")
        return x, intercept


def read_solution(path: str | Path) -> tuple[np.ndarray, float]:
    """x (d,) and the intercept that a run found. Not collective.

    Raises DataError also where the run did not get as far as a solution.
    """
    with opened_run(path) as file:
        x = _solution(file, path)[()]
        intercept = float(foreign_hdf5.column(file, "solution/intercept", foreign_hdf5.FLOAT, ())[()])
        if not (np.isfinite(x).all() and np.isfinite(intercept)):
            raise ValueError("its solution is not finite")
        return x, intercept


def run_of(path: str | Path, *, abandoned_by: str | None = None) -> str:
    """The ``run_id`` in a run file, "" where it has none or is none. Not collective.

    abandoned_by : also "" unless the run never said why it ended and was to be kept in the checkpoint of this name.
    """
    try:
        attributes = read_run(path).attributes
    except DataError:
        return ""
    ended = attributes["reason"] != "RUNNING" or attributes.get("checkpoint") != abandoned_by
    return "" if abandoned_by is not None and ended else str(attributes.get("run_id", ""))
