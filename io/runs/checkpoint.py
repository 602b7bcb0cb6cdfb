"""Checkpoints: where a solve stands, in one file and the one before it, whatever moment a job is killed at.

    CHECKPOINT.h5     attributes   schema="mpiopt-checkpoint", schema_version, version, created, round, run_id, identity (JSON)
                      index        JSON: the tree of run and best point (`state_tree`), names and shapes of arrays, their rows
                      history/     the run's records so far by column, and ``fresh``
                      all/         arrays that all workers have in common, each once
                      workers/W/   what worker W has of its own
    CHECKPOINT.h5.1   the one before

A file is written beside, sealed (`disk.sealed_file`), synced and renamed; only a sound one becomes the one before. The names
are one job's at a time (`disk.held_name`), and what is no checkpoint is not replaced. Arrays are kept by worker, and a worker
has the same rows on any number of ranks, so that any number of ranks can go on.
"""

import json
import os
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mpiopt import __version__
from mpiopt.comm.world import World
from mpiopt.engine.drive import Standing
from mpiopt.errors import DataError, MpioptError
from mpiopt.io.disk.file_kind import CHECKPOINT, is_of, replaceable
from mpiopt.io.disk.held_name import HeldName, beside, partial
from mpiopt.io.runs import worker_bytes
from mpiopt.io.runs.checkpoint_file import Content, Draft
from mpiopt.io.runs.fitting import fitting
from mpiopt.io.runs.generations import SCHEMA_VERSION, Saved, forms, newest, why
from mpiopt.io.runs.state_tree import FlatTree, alike, digest, flatten, unflatten
from mpiopt.problems.problem import Team

Identity = Mapping[str, str | int | float | bool | None]  # what makes a run this run: problem, method, parameters


def names(path: Path) -> tuple[Path, ...]:
    """The files of a checkpoint: the newest generation, the one before, and one under way."""
    return path, beside(path, ".1"), partial(path)


class Store:
    """The two generations of one run's checkpoint. Every rank makes one; rank 0 alone reads and writes.

    path : the newest. run_id : names the run; replaced by that of the checkpoint that was found. From the first `claim` or
    `save` until `close`, or the end of the process, no other job has the names.
    """

    def __init__(self, path: str | Path, world: World, run_id: str) -> None:
        self.path, self.world, self.run_id = Path(path), world, run_id
        self._held, self._older = (
            HeldName(place, lambda leftover: is_of(leftover, CHECKPOINT)) for place in names(self.path)[:2]
        )
        self._sound = False  # whether the newest file is fit to be the one before
        self._ours = False  # whether the one before is of this run

    @property
    def before(self) -> Path:
        """The older generation."""
        return names(self.path)[1]

    def claim(self) -> None:
        """Have the names for this run alone, and make their folder. Collective.

        Raises DataError or UsageError on every rank where another job has them, something else stands there, or nothing
        can be written.
        """
        with self.world.together(f"looking at {self.path}"):
            if self.world.rank == 0:
                try:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                    if self.path.is_dir():
                        raise IsADirectoryError(21, "it is a folder")
                    self._spare_others()
                    self._begun()
                    self._held.discard()
                except OSError as error:
                    raise DataError(f"the checkpoint {self.path} cannot be written: {why(error)}") from error

    def _spare_others(self) -> None:
        """Raise UsageError where a generation would replace a file of another kind."""
        replaceable(self.before, CHECKPOINT, f"the checkpoint before {self.path}")
        if not self.before.exists():  # which tells that the newer one is a checkpoint, even if it is damaged
            replaceable(self.path, CHECKPOINT, "a checkpoint of mpiopt")

    def _begun(self) -> FileIO:
        """The temporary file, empty, once both generations are this job's."""
        first = not self._held.taken
        file = self._held.draft()
        if first:
            self._older.demand()
        return file

    def close(self) -> None:
        """Let other jobs have the names. Not collective."""
        self._held.close()
        self._older.close()

    # ------------------------------------------------------------------------------------------ going on
    def find(self) -> Saved | None:
        """The newest sound generation, None where there is no file. Collective.

        Raises DataError on every rank where there are files but none is sound, or it is not this version's to read.
        """
        saved = None
        with self.world.together(f"reading {self.path}"):
            if self.world.rank == 0:
                saved = newest((self.path, self.before))
        saved = self.world.tell(saved)
        if saved is not None:
            self.run_id, self._ours, self._sound = saved.run_id, True, saved.path == self.path
        return saved

    def load(self, saved: Saved, team: Team) -> Standing:
        """Where the run stood, for a team with the same workers. Collective. Raises DataError on every rank."""
        world, index = self.world, saved.index
        if _rows(team) != index["rows"]:
            raise DataError(f"{saved.path} is of rows that were shared out otherwise: its data set is another one")
        arrays = _empty(index["arrays"])
        own = {worker: _empty(index["own"][worker]) for worker in world.hosted}
        _read(saved, world, arrays, own)
        common = {name: arrays[name] for name in index["shared"]}
        parts = [index["parts"][worker] for worker in world.hosted]
        with world.together(f"reading {saved.path}"):
            try:
                kept = unflatten(index["tree"], arrays, parts, [mine | common for mine in own.values()])
                run, best = fitting(kept, team)
            except DataError as error:
                raise DataError(f"{saved.path} cannot be taken up: {error}; start anew with `resume=never`") from error
        return Standing(run, saved.history, saved.fresh, best)

    # ------------------------------------------------------------------------------------------ keeping
    def save(self, at: Standing, identity: Identity, team: Team) -> None:
        """Write where the run stands as the newest generation. Collective.

        Raises DataError on every rank where it cannot be written; the generations that are there stay as they are.
        """
        world, flat = self.world, flatten((at.run, at.best))
        index = _index(flat, team)
        draft: Draft | None = None
        error: Exception | None = None
        try:
            if world.rank == 0:
                about = {
                    "schema": CHECKPOINT,
                    "schema_version": SCHEMA_VERSION,
                    "version": __version__,
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    "round": at.begun.round,
                    "run_id": self.run_id,
                    "identity": json.dumps(dict(identity)),
                }
                columns = dict(zip(at.history[-1]._fields, map(list, zip(*at.history, strict=True)), strict=True))
                draft = Draft(self._begun(), about, index, {**columns, "fresh": list(at.fresh)}, forms(index))
                for name, array in flat.arrays.items():
                    draft.put(f"all/{name}", worker_bytes.content(array))
                for name in index["shared"]:
                    draft.put(f"all/{name}", worker_bytes.content(flat.own[0][name]))
        except (OSError, MpioptError) as caught:
            error = caught
        error = _write_own(draft, error, flat, index, world)
        self._publish(draft, error)

    def _publish(self, draft: Draft | None, error: Exception | None) -> None:
        with self.world.together(f"writing {self.path}"):
            if self.world.rank:
                return
            try:
                if error is not None:
                    raise error
                if draft is not None:
                    draft.finish()
                self._rename()
            except (OSError, MpioptError) as caught:
                self._held.discard()
                raise DataError(f"the checkpoint {self.path} cannot be written: {why(caught)}") from caught
            finally:
                if draft is not None:
                    draft.close()

    def _rename(self) -> None:
        self._spare_others()
        if self._sound:
            self._held.retire(self._older)
        self._held.publish()
        if not self._ours and self._older.here():
            self.before.unlink()
        self._sound = self._ours = True
        folder = os.open(self.path.parent, os.O_RDONLY)
        with suppress(OSError):  # some file systems cannot
            os.fsync(folder)
        os.close(folder)


def _index(flat: FlatTree, team: Team) -> dict[str, Any]:
    """What a file says of its arrays, the same on every rank. Collective."""
    world = team.world
    one = alike(flat, several=world.workers > world.size) if world.workers > 1 else []
    digests = {name: digest(flat.own[0][name]) if world.size > 1 else "" for name in one}
    own = [{name: _form(array) for name, array in mine.items()} for mine in flat.own]
    parts, owns, others = zip(*world.tell_all((flat.parts, own, digests)), strict=True)
    common = [name for name, found in others[0].items() if all(other.get(name) == found for other in others)]
    arrays = {name: _form(array) for name, array in flat.arrays.items()}
    arrays |= {name: _form(flat.own[0][name]) for name in common}
    owned = [{name: form for name, form in mine.items() if name not in common} for mine in chain(*owns)]
    return {
        "tree": flat.tree,
        "parts": list(chain(*parts)),
        "arrays": arrays,
        "own": owned,
        "shared": common,
        "rows": _rows(team),
    }


def _rows(team: Team) -> list[int]:
    """The rows of every worker. Collective."""
    return list(chain(*team.world.tell_all([site.loss.rows for site in team.sites])))


def _form(array: np.ndarray) -> tuple[list[int], str]:
    return list(array.shape), array.dtype.str


def _empty(shapes: Mapping[str, tuple[list[int], str]]) -> dict[str, np.ndarray]:
    return {name: np.empty(shape, kind) for name, (shape, kind) in shapes.items()}


def _loads(index: dict[str, Any], world: World) -> list[list[worker_bytes.Piece]]:
    """What travels between rank 0 and the others."""
    sizes = [
        {name: int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize for name, (shape, kind) in mine.items()}
        for mine in index["own"]
    ]
    return list(worker_bytes.loads(sizes, sum(world.host_of(worker) == 0 for worker in range(world.workers))))


def _write_own(
    draft: Draft | None, error: Exception | None, flat: FlatTree, index: dict[str, Any], world: World
) -> Exception | None:
    """Write what each worker has of its own; whatever fails at rank 0, the others must not wait. Collective."""
    own = dict(zip(world.hosted, flat.own, strict=True))
    here = [
        (worker_bytes.Piece(worker, name, 0, 0), worker_bytes.content(own[worker][name]))
        for worker in world.hosted
        for name in index["own"][worker]
    ]
    for pieces in chain(
        [here if world.rank == 0 else []], (worker_bytes.gathered(world, load, own) for load in _loads(index, world))
    ):
        for piece, content in pieces:
            try:
                if error is None and draft is not None:
                    draft.put(f"workers/{piece.worker}/{piece.name}", content, piece.start)
            except OSError as caught:
                error = caught
    return error


def _read(saved: Saved, world: World, arrays: dict[str, np.ndarray], own: dict[int, dict[str, np.ndarray]]) -> None:
    """Fill the arrays of every rank from the file at rank 0. Collective. Raises DataError on every rank."""
    with ExitStack() as stack:
        with world.together(f"reading {saved.path}"):
            file = stack.enter_context(Content(saved.path, forms(saved.index))) if world.rank == 0 else None
        for name, array in arrays.items():
            if file is not None:
                file.read(f"all/{name}", worker_bytes.content(array))
            world.bcast(worker_bytes.content(array))
        if file is not None:
            for worker, mine in own.items():
                for name, array in mine.items():
                    file.read(f"workers/{worker}/{name}", worker_bytes.content(array))
        for load in _loads(saved.index, world):
            found = []
            if file is not None:
                found = [np.empty(piece.stop - piece.start, np.uint8) for piece in load]
                for piece, content in zip(load, found, strict=True):
                    file.read(f"workers/{piece.worker}/{piece.name}", content, piece.start)
            worker_bytes.scattered(world, load, found, own)
        with world.together(f"reading {saved.path}"):
            if file is not None and file.failed:
                raise DataError(f"{saved.path} cannot be read: {file.failed}")
