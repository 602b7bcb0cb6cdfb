"""The checkpoints of a job: whether to go on from one, when to write the next, and what a run's end means to the shell."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from mpiopt.engine.drive import Keeper, Standing
from mpiopt.engine.stop import Line, Reason
from mpiopt.errors import DataError, UsageError
from mpiopt.io.runs.checkpoint import Store
from mpiopt.io.runs.generations import Saved
from mpiopt.io.runs.run_file import run_of
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.running.run_name import used
from mpiopt.problems.problem import Team
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.path_options import PathOptions
    from mpiopt.jobs.cli.play_options import Play
    from mpiopt.jobs.cli.run_options import RunOptions
    from mpiopt.jobs.cli.solve_options import Solve
    from mpiopt.jobs.cli.train_options import Train

AGAIN, INTERRUPTED, UNCONVERGED = 75, 130, 3  # exit codes


class Checkpoints:
    """What a job keeps, and where it goes on; without --checkpoint nothing and from the start. Every rank has one.

    store : where, if at all; found : the checkpoint to go on from, if any.
    """

    def __init__(self, job: "RunOptions", console: Console, run_id: str, store: Store | None, found: Saved | None) -> None:
        self.run_id = run_id
        self._rounds, self._seconds = job.every_rounds, job.every_seconds
        self._console, self._store, self._found = console, store, found
        self._identity: Mapping[str, Any] = {}
        self._last = self.history[-1] if self.history else None
        self._failure = ""

    @staticmethod
    @contextmanager
    def of(job: "Solve | Train | Play | PathOptions", world: "World", console: Console) -> "Iterator[Checkpoints]":
        """Look for what --checkpoint and --resume speak of, and have the names for this job alone while entered.

        Collective. Raises DataError or UsageError on every rank.
        """
        run_id = uuid4().hex
        if world.rank == 0 and job.checkpoint is not None and job.resume == "auto":
            # killed before its first checkpoint, a run has left its file behind: the same command replaces it
            left = (run_of(path, abandoned_by=str(job.checkpoint)) for path in used(job))
            run_id = next(filter(None, left), run_id)
        run_id = world.tell(run_id)
        if job.checkpoint is None:
            yield Checkpoints(job, console, run_id, None, None)
            return
        with closing(Store(job.checkpoint, world, run_id)) as store:
            store.claim()
            found = None if job.resume == "never" else store.find()
            if found is None and job.resume == "must":
                raise DataError(f"there is no checkpoint {job.checkpoint}: give --resume auto to start where there is none")
            if found is not None and found.warning:
                console.note(f"warning: {found.warning}")
            yield Checkpoints(job, console, store.run_id, store, found)

    def check(self, identity: Mapping[str, Any]) -> None:
        """Take note of what this run is. Raises UsageError where the checkpoint is of another. Not collective."""
        self._identity = identity
        if self._found is None:
            return
        then, now = {**dict.fromkeys(identity), **self._found.identity}, {**dict.fromkeys(self._found.identity), **identity}
        if not isinstance(then["workers"], int):
            raise DataError(
                f"{self._found.path} is damaged (it does not say of how many workers it is): start anew with --resume never"
            )
        if then["workers"] != now["workers"]:
            raise UsageError(
                f"{self._found.path} was written by {counted(then['workers'], 'worker')}, and this run has "
                f"{now['workers']}: give --workers {then['workers']}, on at most as many ranks"
            )
        if then.get("content") is None:  # of a version that kept no checksum of its rows: it is taken at its word
            now.pop("content", None)
        names = [name for name in now if then[name] != now[name]]
        if "method" in names:
            names = ["method"]
        if names == ["content"]:
            raise UsageError(
                f"{self._found.path} is of other rows than {now['dataset']} has now (a checksum of them was "
                f"{_told(then['content'])} and is {_told(now['content'])}): bring back the data set, name another "
                "file with --checkpoint, or start anew with --resume never"
            )
        if names:
            names = [name for name in names if name != "content"]
            what = ", ".join(f"{name} was {_told(then[name])} and is {_told(now[name])}" for name in names)
            raise UsageError(
                f"{self._found.path} is of another run: {what}; name another file with --checkpoint, or start "
                "anew with --resume never"
            )

    @property
    def path(self) -> str | None:
        """The newest generation."""
        return None if self._store is None else str(self._store.path)

    @property
    def history(self) -> tuple[Line, ...]:
        """What the run has on record before it goes on."""
        return () if self._found is None else self._found.history

    @property
    def round(self) -> int | None:
        """The round after which it goes on; None for a run from the start."""
        return None if self._found is None else self._found.round

    def standing(self, team: Team) -> Standing | None:
        """Where to go on, None for the start. Collective. Raises DataError on every rank."""
        if self._found is None or self._store is None:
            return None
        self._console(f"going on from {self._found.path}, after round {self.round}")
        return self._store.load(self._found, team)

    def keepers(self, team: Team) -> list[Keeper]:
        """What the solve is to call after every round."""
        store = self._store
        return [] if store is None else [lambda at, reason: self._keep(store, at, reason, team)]

    def _keep(self, store: Store, at: Standing, reason: Reason | None, team: Team) -> None:
        """Write a checkpoint where one is due; a disk that is full now may have room later. Collective."""
        now = at.history[-1]
        if reason is None and not self._due(now):
            return
        self._last, before, self._failure = now, self._failure, ""
        doing, self._console.phase = self._console.phase, f"writing {self.path}, after round {now.round}"
        try:
            store.save(at, self._identity, team)
        except DataError as error:
            self._failure = str(error)
        self._console.phase = doing
        if bool(self._failure) != bool(before):  # told once, however often it fails
            self._console.note(
                f"warning: {self._failure}; going on without"
                if self._failure
                else f"checkpoints can be written again: {self.path}"
            )

    def _due(self, now: Line) -> bool:
        rounds, seconds = (self._last.round, self._last.seconds) if self._last is not None else (0, 0.0)
        return bool(
            (self._rounds and now.round >= rounds + self._rounds)
            or (self._seconds is not None and now.seconds >= seconds + self._seconds)
        )

    def exit_code(self, reason: Reason, failed: bool) -> int:
        """What to return to the shell; ``failed`` : ended before it reached what it had to.

        Raises DataError where the run was interrupted and could not be kept.
        """
        if reason in (Reason.DIVERGED, Reason.BROKEN):
            return 1
        if reason is not Reason.INTERRUPTED:
            return UNCONVERGED if failed else 0
        if self._store is None:
            return INTERRUPTED
        if self._failure:
            raise DataError(self._failure)
        self._console.note(f"kept in {self.path}: the same command goes on from there")
        return AGAIN


def _told(value: Any) -> str:
    return "not given" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
