"""``mpiopt bench peers``: seconds to three accuracies, data in memory, against the solvers of others.

Every peer fits the same rows with the same lambda, without an intercept, at tolerances from loose to tight; one function, here,
says what its coefficients are worth: (F - F*) / (F(0) - F*). Its time to an accuracy is the median of runs at the loosest
tolerance that reaches it. Peers run on rank 0 while the others sleep; ours on all ranks. A peer that is not installed, or that
cannot do the problem, is left out with the reason; a fit that takes longer than it may is ended, and nothing tighter is tried.
"""

from collections.abc import Callable
from functools import partial
from math import inf, isfinite, nan
from pathlib import Path
from platform import machine, python_version
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mpiopt import __version__
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Record, Stop
from mpiopt.errors import UsageError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.jobs.benches.ending import LATE, Say, copied, within
from mpiopt.jobs.benches.race import on_first, optimum
from mpiopt.jobs.benches.solvers import LADDER, Judge, Peer, Skipped, fitted, peers
from mpiopt.jobs.cli.console import Console, table
from mpiopt.jobs.machine.node import cores
from mpiopt.methods import find
from mpiopt.problems.penalties import ElasticNet
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.problems.problem import Team

LEVELS = (1e-4, 1e-6, 1e-8)
ONCE = 0.1  # of the seconds that a fit may take: one that takes more is timed once


class Told(NamedTuple):
    """A solver's seconds to each of `LEVELS`, infinite where it did not get there; or why it was left out.

    ended : seconds after which its last fit was ended, None where it came to the end of its tolerances.
    """

    name: str
    version: str
    cores: int
    seconds: tuple[float, ...] = (inf,) * len(LEVELS)
    left_out: str = ""
    ended: float | None = None


def meeting(
    data: str, l1: float, l2: float, runs: int, most: float, picture: Path | None, world: "World", console: Console
) -> dict[str, Any]:
    """Time all and show. Collective. An l1 penalty takes the peers that are for it, and leaves l2 out.

    most : seconds that a fit of a peer may take. Raises UsageError where that is none.
    """
    if not most > 0:
        raise UsageError(f"--seconds {most}: give more than 0")
    console(f"reading {data}")
    source = open_source(data, world)
    penalty = ElasticNet(l1, 0.0 if l1 else l2)
    team = team_of(source, world, penalty)
    console("finding the optimum")
    best = optimum(team, LEVELS[-1])
    judge = Judge(fitted(source, l1, penalty.l2), best.certificate.objective) if world.rank == 0 else None
    found = [_ours(team, best.certificate.objective, runs, world)]
    for peer in peers(bool(l1)):
        console(f"timing {peer.name}")
        found.append(on_first(world, partial(timed, peer, judge, runs, most)))
    told = f"{data}: {source.rows:,} x {source.cols:,}, {source.nnz:,} nonzeros, lambda {l1 or l2:g} ({'l1' if l1 else 'l2'})"
    console.show(f"{told}\n{_machine()}\n\n{shown(found)}")
    with world.together("drawing"):
        if picture and world.rank == 0:
            draw(found, picture)
    return {"data": data, "l1": l1, "l2": penalty.l2, "runs": runs, "solvers": [each._asdict() for each in found]}


def _ours(team: "Team[Any]", least: float, runs: int, world: "World") -> Told:
    """By the history of a solve, whose seconds leave recording out. Collective."""
    histories = [solve(find("spcg").make(), team, team.zeros(), Stop(rounds=300, gradient=1e-10)).history for _ in range(runs)]
    start = histories[0][0].objective

    def reached(history: tuple[Record, ...], level: float) -> float:
        good = (each.seconds for each in history if each.objective - least <= level * (start - least))
        return next(good, inf)

    at = tuple(median(reached(history, level) for history in histories) for level in LEVELS)
    return Told("mpiopt spcg", __version__, world.size, at)


def timed(peer: Peer, judge: Judge | None, runs: int, most: float) -> Told:
    """A peer's medians; of a fit of more than ``most`` seconds, that it took more. Not collective."""
    assert judge is not None, "the rank that fits has rows"
    rows = judge.rows
    used = rows.threads if peer.several else 1
    try:
        peer.check(rows)
        found, end = copied(partial(ladder, lambda tolerance: peer(rows, tolerance), judge, runs, most))
    except Skipped as why:
        return Told(peer.name, "", used, left_out=str(why))
    if end not in (0, LATE):
        return Told(peer.name, peer.version, used, left_out=f"died of signal {end}")
    at = (*found, *(inf,) * (len(LEVELS) - len(found)))
    return Told(peer.name, peer.version, used, at, ended=most if end == LATE else None)


def ladder(fit: Callable[[float], np.ndarray], judge: Callable[[np.ndarray], float], runs: int, most: float, say: Say) -> None:
    """Say the median of the seconds to each level, one after the other, at the loosest tolerance that reaches it."""
    found = 0
    for tolerance in LADDER:
        x, taken = _clocked(fit, tolerance, most)
        off = judge(x)
        reached = sum(off <= level for level in LEVELS)
        if reached > found:
            times = [taken] if tolerance < LADDER[0] else []  # the first of all may have compiled and copied
            while not times or (len(times) < runs and times[0] <= ONCE * most):
                times.append(_clocked(fit, tolerance, most)[1])
            for _ in LEVELS[found:reached]:
                say(median(times))
            found = reached
        if found == len(LEVELS):
            return


def _clocked(fit: Callable[[float], np.ndarray], tolerance: float, most: float) -> tuple[np.ndarray, float]:
    """The coefficients and the seconds of a fit, by whose length this process may end."""
    with within(most):
        start = perf_counter()
        x = fit(tolerance)
        return x, perf_counter() - start


def shown(found: list[Told]) -> str:
    """A table, the quickest to the last level first, and who was left out."""
    ran = sorted((each for each in found if not each.left_out), key=lambda each: each.seconds[::-1])
    rows = [[each.name, each.version, str(each.cores), *(_cell(s, each.ended) for s in each.seconds)] for each in ran]
    head = ["solver", "version", "cores", *(f"s to {level:g}" for level in LEVELS)]
    left = [f"left out: {each.name}: {each.left_out}" for each in found if each.left_out]
    return "\n".join([table(head, rows, "llr" + "r" * len(LEVELS)), *left])


def _cell(seconds: float, ended: float | None) -> str:
    if isfinite(seconds):
        return f"{seconds:.3g}"
    return "-" if ended is None else f"> {ended:g}"


def _machine() -> str:
    """What the seconds are of."""
    return f"{counted(len(cores()), 'core')} ({machine()}), Python {python_version()}"


def draw(found: list[Told], path: Path) -> None:
    """Seconds of all as bars, by level. Raises OSError, and ModuleNotFoundError without matplotlib."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    from mpiopt.jobs.studies.apparatus.canvas import COLOURS, sheet

    ran = [each for each in found if not each.left_out]
    with sheet(1, width=7.5, height=1.2 + 0.5 * len(ran)) as (figure, ((panel,),)):
        edge = {"transform": panel.get_yaxis_transform(), "va": "center", "size": "small"}
        for number, level in enumerate(LEVELS):
            at = np.arange(len(ran)) + 0.25 * (number - 1)
            seconds = [each.seconds[number] for each in ran]
            bars = [s if isfinite(s) else nan for s in seconds]
            panel.barh(at, bars, 0.22, color=COLOURS[number], label=f"to {level:g}")
            for y, s, each in zip(at, seconds, ran, strict=True):
                if not isfinite(s):  # what the table says, where the bar would begin
                    panel.text(0.01, y, _cell(s, each.ended), color=COLOURS[number], **edge)
        panel.set_ylim(-0.5, len(ran) - 0.5)  # those without a bar have room, too
        panel.set_yticks(np.arange(len(ran)), [f"{each.name} ({each.cores})" for each in ran])
        panel.invert_yaxis()
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 3)))  # what a narrow range would write else, overlaps
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel("seconds (cores)")
        panel.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(LEVELS), frameon=False)  # beside all bars
        figure.savefig(path)
