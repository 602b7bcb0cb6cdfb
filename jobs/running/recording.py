"""The run file of a job, on rank 0 and unless none was asked for, and the progress on the console beside it."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.engine.drive import Standing
from mpiopt.engine.stop import Reason, Watcher
from mpiopt.errors import DataError
from mpiopt.io.runs.run_file import RunFile, claim, read_run, run_of
from mpiopt.jobs.cli.console import Console, ProgressLine
from mpiopt.jobs.running.log_sinks import LogBegun, RunLogs, logs
from mpiopt.jobs.running.run_name import candidates

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.path_options import PathOptions
    from mpiopt.jobs.cli.play_options import Play
    from mpiopt.jobs.cli.solve_options import Solve
    from mpiopt.jobs.cli.train_options import Train


class Recording:
    """A run under way: who watches it, and where its end is written."""

    def __init__(self, out: Path | None, file: RunFile | None, told: RunLogs | None, world: "World", console: Console) -> None:
        self.out, self._file, self._logs, self._world = out, file, told, world
        self._console, self._progress = console, ProgressLine(console)

    @property
    def watchers(self) -> list[Watcher]:
        """What is to be called with every record."""
        heard: list[Watcher] = [self._progress]
        if (file := self._file) is not None:
            heard.insert(0, lambda record: file.add(record._asdict()))
        if (told := self._logs) is not None:
            heard.append(lambda record: told.record(record._asdict()))
        return heard

    def note(self, values: Mapping[str, float]) -> None:
        """Put numbers beside the last record. Collective. Raises DataError on every rank."""
        with self._world.together(f"writing the run file {self.out}"):
            if self._file is not None:
                self._file.amend(values)
        if self._logs is not None:
            self._logs.beside(values)

    def noted(self, name: str) -> list[float]:
        """What the run file has noted in a column, also before the run went on. Collective."""
        return self._world.tell([] if self._file is None else self._file.column(name))

    def ended(self, at: Standing, reason: Reason | None) -> None:
        """A keeper: what follows the last round is no part of it."""
        if reason is not None:
            self._console.phase = f"examining the answer, after round {at.begun.round}"

    def finish(self, *answer: Any) -> None:
        """Write the answer, as `RunFile.finish` takes it. Collective. Raises DataError on every rank."""
        self._progress.close()
        self._console.phase = f"writing the run file {self.out}" if self.out is not None else "at the end"
        with self._world.together(f"writing the run file {self.out}"):
            if self._file is not None:
                self._file.finish(*answer)


def reserve(job: "Solve | Train | Play | PathOptions", run_id: str, world: "World") -> None:
    """See to it that the run file can be written, before anything is read. Collective. Raises DataError on every rank."""
    with world.together("looking at the run file"), told_unasked(job):
        if world.rank == 0 and (path := next(candidates(job, run_id), None)) is not None:
            claim(path, overwrite=job.overwrite, run_id=run_id)


@contextmanager
def recorded(
    job: "Solve | Train | Play | PathOptions", about: Mapping[str, Any], past: Sequence[Any], world: "World", console: Console
) -> Iterator[Recording]:
    """Record a run while entered. ``about`` : the file's attributes; ``past`` : its records so far. Collective.

    What overflows meanwhile is nobody's warning: it is looked at, and told in a sentence.
    """
    with ExitStack() as stack:
        stack.enter_context(np.errstate(all="ignore"))
        file = told = None
        with world.together("writing the logs"):
            if world.rank == 0 and job.log:
                told = stack.enter_context(logs(job.log, _begun_logs(job, about, past), console.note))
        with world.together("writing the run file"), told_unasked(job):
            if world.rank == 0 and (file := _begun(job, about, past)) is not None:
                stack.enter_context(file)
        yield Recording(world.tell(None if file is None else file.path), file, told, world, console)


def _begun(job: "Solve | Train | Play | PathOptions", about: Mapping[str, Any], past: Sequence[Any]) -> RunFile | None:
    """The run file under the first of its names that nobody has taken meanwhile; None for a run without."""
    for path in candidates(job, about["run_id"]):
        try:
            return RunFile(path, about, overwrite=job.overwrite, past=columns(past) | _noted(path, about["run_id"], past))
        except DataError:
            if job.out is not None or not path.exists():
                raise
    return None


def _begun_logs(job: "Solve | Train | Play | PathOptions", about: Mapping[str, Any], past: Sequence[Any]) -> LogBegun:
    options = {name: str(value) for name, value in tomllib.loads(about["config"]).items()}
    return LogBegun(options, about["run_id"], past[-1].round if past else None, job.overwrite)


def _noted(path: Path, run_id: str, past: Sequence[Any]) -> dict[str, list[float]]:
    """What the file of a run that goes on has noted beside its records so far."""
    if not past or not path.exists() or run_of(path) != run_id:
        return {}
    history = read_run(path).history
    if history["round"][: len(past)].tolist() != [record.round for record in past]:
        return {}
    known = columns(past)
    return {name: _filled(known.get(name), column[: len(past)]) for name, column in history.items()}


def _filled(known: Sequence[float] | None, column: np.ndarray) -> list[float]:
    """A column as it was recorded, and as it was noted where nothing was."""
    if known is None:
        return column.tolist()
    return [float(b) if a != a else a for a, b in zip(known, column, strict=True)]


@contextmanager
def told_unasked(job: "Solve | Train | Play | PathOptions") -> Iterator[None]:
    """Add to what is wrong with a run file that nobody has asked for how to have another one, or none."""
    try:
        yield
    except DataError as error:
        if job.out is not None:
            raise
        raise DataError(f"{error}; give `out=FILE` for another place, or `out=none`") from error


def columns(history: Sequence[Any]) -> dict[str, list[float]]:
    """The records of a run by column."""
    return {name: [getattr(record, name) for record in history] for name in (history[0]._fields if history else ())}
