"""One run from its options to the exit code, a solve, a training or a game: claim, open, check, record, finish.

What the three do each in its way are hooks; the rest is said here once.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from mpiopt.arrays import on_host
from mpiopt.engine.drive import Keeper, Solution, Standing
from mpiopt.engine.stop import Watcher
from mpiopt.io.dataset.made_features import NO_MADE, Made
from mpiopt.io.runs.naming import UNNAMED, Naming
from mpiopt.io.runs.run_file import NOTHING, solution_size
from mpiopt.jobs.cli.configuration import to_toml
from mpiopt.jobs.cli.console import WIDTH, Console
from mpiopt.jobs.cli.run_options import repeatable
from mpiopt.jobs.running.checkpoints import Checkpoints
from mpiopt.jobs.running.job_files import of_run, tell_unlocked
from mpiopt.jobs.running.recording import Recording, columns, recorded, reserve
from mpiopt.jobs.running.signals import Signals, end_of_job
from mpiopt.jobs.running.watchdog import guarded
from mpiopt.paths.path import Followed
from mpiopt.playing.drive import Played
from mpiopt.problems.problem import Team
from mpiopt.training.drive import Trained
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.path_options import PathOptions
    from mpiopt.jobs.cli.play_options import Play
    from mpiopt.jobs.cli.solve_options import Solve
    from mpiopt.jobs.cli.train_options import Train

KEPT = ("reason", "reason_text", "converged", "objective")  # of the facts about an end, those that every run file keeps


class Course(NamedTuple):
    """What a run is given on its way.

    standing : where it goes on, None for the start; collective, and for one call. note : puts numbers beside the last record;
    collective. noted : what was put there, by column, also before the run went on; collective.
    """

    standing: Callable[[], Standing | None]
    watch: list[Watcher]
    keep: list[Keeper]
    interruption: Callable[[], str]
    note: Callable[[Mapping[str, float]], None]
    noted: Callable[[str], list[float]]


class Outcome(NamedTuple):
    """How a run ended.

    end : with the answer. converged : whether it came to what was asked of it; None where that was nothing. facts : about
    the answer, by name; ``final`` of them are kept in the run file. lines : about it for people, each with its heading.
    buffers : what a model keeps beside x. made : how the features of a solution were made. layout : what its parts are called.
    classes : of which each has coefficients and an intercept of its own; None where there is one of each.
    """

    end: Solution | Trained | Played | Followed
    converged: bool | None
    facts: dict[str, Any]
    final: tuple[str, ...]
    lines: list[tuple[str, str]]
    intercept: bool = False
    buffers: Mapping[str, Any] = NOTHING
    made: Made = NO_MADE
    layout: Naming = UNNAMED
    classes: int | None = None


class Hooks(Protocol):
    """What one kind of run puts into the script. All are collective, called once, in this order, and raise on every rank."""

    @property
    def job(self) -> "Solve | Train | Play | PathOptions":
        """What was asked for; what the rows say of it is filled in once they are opened."""

    @property
    def doing(self) -> str:
        """What is said before the name of the data set: "solving"."""

    def opened(self) -> Mapping[str, Any]:
        """Find the rows, none of which is read yet; what a checkpoint must have been of, for this run to go on from it."""

    def demand_start(self, size: int) -> None:
        """Raise UsageError where a solution of ``size`` cannot be started from, if that is known yet. Not collective."""

    def built(self) -> tuple[Team[Any], dict[str, Any]]:
        """The team, ready to go, and what its run file says of it from the start."""

    def ended(self, course: Course) -> Outcome:
        """Run to the end."""


def carried_out(hooks: Hooks, world: "World", console: Console) -> dict[str, Any]:
    """Run, record and tell. Collective. Raises MpioptError on every rank."""
    tell_unlocked(of_run(hooks.job), world, console)
    margin = hooks.job.margin
    with (
        guarded(hooks.job, world, console),
        Signals(end_of_job(margin, console.note)) as signals,
        Checkpoints.of(hooks.job, world, console) as kept,
    ):
        return _carried_out(hooks, world, console, signals, kept)


def _carried_out(
    hooks: Hooks, world: "World", console: Console, signals: Callable[[], str], kept: Checkpoints
) -> dict[str, Any]:
    reserve(hooks.job, kept.run_id, world)
    kept.check(hooks.opened())
    if kept.round is None and hooks.job.from_ is not None:
        _demand_start(hooks, hooks.job.from_, world)
    team, about = hooks.built()
    job = hooks.job
    about |= {
        "method": job.method,
        "world_size": world.size,
        "workers": world.workers,
        "seed": job.seed,
        "device": job.device,
        "config": to_toml(repeatable(job)),
        "run_id": kept.run_id,
        "checkpoint": kept.path,
    }
    console(f"{hooks.doing} {about['dataset']} with {job.method} on {counted(world.size, 'rank')}")
    with recorded(job, about, kept.history, world, console) as recording:
        keepers = [*kept.keepers(team), recording.ended]
        outcome = hooks.ended(
            Course(lambda: kept.standing(team), recording.watchers, keepers, signals, recording.note, recording.noted)
        )
        found = _facts(outcome, recording)
        final = {name: found[name] for name in (*KEPT, *outcome.final)}
        beside = outcome.buffers, outcome.made, outcome.layout
        recording.finish(*_split(on_host(outcome.end.x), outcome.intercept, outcome.classes), final, *beside)
    console.show(_page(outcome, found))
    return {
        **about,
        "config": tomllib.loads(about["config"]),
        **found,
        "resumed_after": kept.round,
        "exit_code": kept.exit_code(outcome.end.reason, job.strict and not outcome.converged),
    }


def _demand_start(hooks: Hooks, path: Path, world: "World") -> None:
    """See that there is what the run is to start from, before the rows are read. Collective."""
    with world.together(f"reading {path}"):
        if world.rank == 0:
            hooks.demand_start(solution_size(path))


def _facts(outcome: Outcome, recording: Recording) -> dict[str, Any]:
    """What came out of a run; what its own facts say of the objective, which may be proved, comes before its last record."""
    end, last = outcome.end, outcome.end.final
    return {
        "reason": end.reason.name,
        "reason_text": end.reason_text,
        "converged": outcome.converged,
        "rounds": last.round,
        "vector_rounds": last.vector_rounds,
        "messages": last.messages,
        "bytes_sent": last.bytes_sent,
        "seconds": last.seconds,
        "objective": last.objective,
        **outcome.facts,
        "out": None if recording.out is None else str(recording.out),
        "history": columns(end.history),
    }


def _split(x: Any, intercept: bool, classes: int | None) -> tuple[Any, Any]:
    """The coefficients, and the intercept behind them, 0 where none was fitted; of several classes side by side."""
    if classes is not None:
        table = x.reshape(-1, classes)
        return (table[:-1], table[-1]) if intercept else (table, np.zeros(classes))
    return (x[:-1], float(x[-1])) if intercept else (x, 0.0)


def _page(outcome: Outcome, found: Mapping[str, Any]) -> str:
    """A run in a few lines of at most 80 columns."""
    lines = [*outcome.lines, ("ended", found["reason_text"]), *([("run file", found["out"])] if found["out"] else [])]
    return "\n".join(fill(f"{name:9s}  {value}", WIDTH, subsequent_indent=" " * 11) for name, value in lines)
