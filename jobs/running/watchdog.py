"""The watchdog of a job, where one was asked for."""

from contextlib import AbstractContextManager, nullcontext
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from mpiopt.comm.watchdog import Watchdog
from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import Console

if TYPE_CHECKING:
    from mpiopt.comm.world import World


class Guarded(Protocol):
    """A job that can be watched over: seconds until a warning and until the end, and what tells of a shared folder."""

    watchdog: float | None
    watchdog_abort: float | None
    out: Path | None
    checkpoint: Path | None


def guarded(job: Guarded, world: "World", console: Console) -> AbstractContextManager:
    """Watch over the ranks while entered, if the job asks for it. Collective. Raises UsageError on every rank."""
    for name in ("watchdog", "watchdog_abort"):
        if getattr(job, name) is not None and not getattr(job, name) > 0:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(job, name):g}: give a number of seconds above 0")
    if job.watchdog is None and job.watchdog_abort is None:
        return nullcontext()
    _assemble(job, world, console)
    beside = job.out or job.checkpoint
    folder = (Path() if beside is None else beside.parent).resolve() / f".mpiopt-watchdog-{world.tell(uuid4().hex[:8])}"
    return Watchdog(
        world,
        folder,
        job.watchdog or job.watchdog_abort,
        lambda text: console.error(f"watchdog: {text}"),
        lambda: console.phase,
        job.watchdog_abort,
    )


def _assemble(job: Guarded, world: "World", console: Console) -> None:
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
