"""The watchdog of a job, where one was asked for."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from mpiopt.comm.watchdog import Watchdog
from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.flags import flag

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.run_options import RunOptions


PREFIX, LOCK = ".mpiopt-watchdog-", "held"
OURS = re.compile(rf"\d+|{LOCK}")  # the files in a folder of a watchdog


def guarded(job: "RunOptions", world: "World", console: Console) -> AbstractContextManager:
    """Watch over the ranks while entered, if the job asks for it. Collective. Raises UsageError on every rank."""
    for name in ("watchdog", "watchdog_abort"):
        if getattr(job, name) is not None and not getattr(job, name) > 0:
            raise UsageError(f"{flag(name)} {getattr(job, name):g}: give a number of seconds above 0")
    patience = job.watchdog or job.watchdog_abort
    if patience is None:
        return nullcontext()
    _assemble(job, world, console)
    beside = job.out or job.checkpoint
    folder = (Path() if beside is None else beside.parent).resolve() / f"{PREFIX}{world.tell(uuid4().hex[:8])}"
    watchdog = Watchdog(
        world,
        folder,
        patience,
        lambda text: console.error(f"watchdog: {text}"),
        lambda: console.phase,
        job.watchdog_abort,
    )
    return _held(watchdog) if world.rank == 0 else watchdog


@contextmanager
def _held(watchdog: Watchdog) -> Iterator[None]:
    """The watchdog of the first rank, its folder known as a living job's by a lock; those of killed jobs are removed."""
    with watchdog, ExitStack() as lock:
        with suppress(OSError):  # no locks, or a full disk: folders stay for people to remove
            file = lock.enter_context((watchdog.folder / LOCK).open("wb"))
            flock(file, LOCK_EX | LOCK_NB)
            _sweep(watchdog.folder.parent)
        try:
            yield
        finally:
            (watchdog.folder / LOCK).unlink(missing_ok=True)


def _sweep(place: Path) -> None:
    """Remove what watchdogs of killed jobs have left in a folder: those with a lock that nobody holds any more."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError), (folder / LOCK).open("r+b") as file:
            flock(file, LOCK_EX | LOCK_NB)
            if not folder.is_symlink() and all(OURS.fullmatch(path.name) for path in folder.iterdir()):
                for path in folder.iterdir():
                    path.unlink()
                folder.rmdir()


def _assemble(job: "RunOptions", world: "World", console: Console) -> None:
    """Wait for all ranks, which share no folder yet; who waits too long says so, and ends the job if asked to. Collective."""
    end, due = job.watchdog_abort or inf, (job.watchdog or inf) * (1 if world.rank == 0 else 2)  # the first rank speaks first

    def waiting(seconds: float) -> None:
        nonlocal due
        if seconds >= min(due, end):
            console.error(f"watchdog: rank {world.rank} has waited {seconds:.0f} s for all ranks to begin")
            due *= 2
        if seconds >= end:
            world.abort(1)

    world.rest(waiting)
