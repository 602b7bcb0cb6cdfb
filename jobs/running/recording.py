"""The run file of a job, on rank 0 and where one was asked for, and the progress on the console beside it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.engine.drive import Standing
from mpiopt.engine.stop import Reason, Watcher
from mpiopt.io.runs.run_file import RunFile, claim
from mpiopt.jobs.cli.console import Console, ProgressLine

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.run_options import RunOptions


class Recording:
    """A run under way: who watches it, and where its end is written."""

    def __init__(self, out: Path | None, file: RunFile | None, world: "World", console: Console) -> None:
        self._out, self._file, self._world = out, file, world
        self._console, self._progress = console, ProgressLine(console)

    @property
    def watchers(self) -> list[Watcher]:
        """What is to be called with every record."""
        file = self._file
        return [self._progress] if file is None else [lambda record: file.add(record._asdict()), self._progress]

    def ended(self, at: Standing, reason: Reason | None) -> None:
        """A keeper: what follows the last round is no part of it."""
        if reason is not None:
            self._console.phase = f"examining the answer, after round {at.begun.round}"

    def finish(self, *answer: Any) -> None:
        """Write the answer, as `RunFile.finish` takes it. Collective. Raises DataError on every rank."""
        self._progress.close()
        self._console.phase = f"writing the run file {self._out}" if self._out is not None else "at the end"
        with self._world.together(f"writing the run file {self._out}"):
            if self._file is not None:
                self._file.finish(*answer)


def reserve(job: "RunOptions", run_id: str, world: "World") -> None:
    """See to it that the run file can be written, before anything is read. Collective. Raises DataError on every rank."""
    with world.together(f"looking at the run file {job.out}"):
        if job.out is not None and world.rank == 0:
            claim(job.out, overwrite=job.overwrite, run_id=run_id)


@contextmanager
def recorded(
    job: "RunOptions", about: Mapping[str, Any], past: Sequence[Any], world: "World", console: Console
) -> Iterator[Recording]:
    """Record a run while entered. ``about`` : the file's attributes; ``past`` : its records so far. Collective.

    What overflows meanwhile is nobody's warning: it is looked at, and told in a sentence.
    """
    with ExitStack() as stack:
        stack.enter_context(np.errstate(all="ignore"))
        file = None
        with world.together(f"writing the run file {job.out}"):
            if job.out is not None and world.rank == 0:
                file = stack.enter_context(RunFile(job.out, about, overwrite=job.overwrite, past=columns(past)))
        yield Recording(job.out, file, world, console)


def columns(history: Sequence[Any]) -> dict[str, list[float]]:
    """The records of a run by column."""
    return {name: [getattr(record, name) for record in history] for name in (history[0]._fields if history else ())}
