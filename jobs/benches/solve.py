"""``mpiopt bench solve``: seconds to a relative suboptimality, data in memory, against LIBLINEAR's dual solver.

Ours runs on all ranks of the job; LIBLINEAR (-s 7, dual coordinate descent for logistic regression) on rank 0 while
the others sleep, with the loosest tolerance -e that reaches the target. Both fit the same float32 rows. Finding fewer
coordinates counts as fit; where the data set brings them, ours is timed with those too.
"""

from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.jobs.benches.race import on_first, optimum, seconds
from mpiopt.jobs.benches.solvers import AllRows, Judge, fitted, liblinear
from mpiopt.jobs.cli.console import Console, table
from mpiopt.problems.reduced import brings
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.problems.linear import Linear
    from mpiopt.problems.problem import Team

LIBLINEAR = liblinear(7)
TOLERANCES = tuple(10.0**-k / step for k in range(7) for step in (1, 2, 5))  # LIBLINEAR's -e, from loose to tight


def solving(data: str, l2: float, target: float, runs: int, world: "World", console: Console) -> dict[str, Any]:
    """Race to (F - F*) / (F(0) - F*) <= target, which is the certified gap that ours is asked for. Collective."""
    from mpiopt.engine.drive import solve
    from mpiopt.engine.stop import Stop
    from mpiopt.methods import find
    from mpiopt.problems.penalties import L2

    console(f"reading {data}")
    source = open_source(data, world)
    brought = team_of(source, world, L2(l2), fewer=True)
    team = _without(brought)
    x0 = np.zeros(team.dim)
    console("finding the optimum")
    best = optimum(team, target)
    least, start = best.certificate.objective, best.history[0].objective
    good = least + target * (start - least)

    def ours(rows: "Team[Linear]") -> tuple[float, int]:
        history = solve(find("spcg").make(), rows, x0, Stop(rounds=300, gap=good - least)).history
        first = next(record for record in history if record.objective <= good)
        return first.seconds, first.round

    console("timing")
    rows: Any = fitted(source, 0.0, l2) if world.rank == 0 else None  # the other ranks never ask for them
    epsilon = on_first(world, lambda: tolerance(rows, lambda x: Judge(rows).value(x) <= good))
    pairs, known = [], []
    for _ in range(runs):
        pairs.append((ours(team), on_first(world, lambda: seconds(lambda: LIBLINEAR(rows, epsilon)))))
        known += [(ours(brought)[0], pairs[-1][1])] if brings(brought) else []
    found = {
        "data": data,
        "l2": l2,
        "ranks": world.size,
        "workers": world.workers,
        "target": target,
        "seconds": median(mine for (mine, _), _ in pairs),
        "rounds": int(median(k for (_, k), _ in pairs)),
        "liblinear_seconds": median(theirs for _, theirs in pairs),
        "liblinear_epsilon": epsilon,
        "ratio": median(mine / theirs for (mine, _), theirs in pairs),
    }
    if known:
        found |= {
            "brought_seconds": median(mine for mine, _ in known),
            "brought_ratio": median(mine / theirs for mine, theirs in known),
        }
    _show(found, source, console)
    return found


def _show(found: dict[str, Any], source: Any, console: Console) -> None:
    ours = f"{counted(found['ranks'], 'rank')}, {found['rounds']} rounds"
    peers = f"1 core, -e {found['liblinear_epsilon']:g}"
    rows = [
        ["spcg", ours, f"{found['seconds']:.3f}", f"{found['ratio']:.2f}"],
        *_brought(found),
        ["LIBLINEAR -s 7", peers, f"{found['liblinear_seconds']:.3f}", ""],
    ]
    console.show(
        f"{found['data']}: {source.rows:,} x {source.cols:,}, {source.nnz:,} nonzeros, lambda {found['l2']:g}, "
        f"to {found['target']:g}\n"
    )
    console.show(table(["method", "with", "seconds", "ratio"], rows, "llrr"))


def _brought(found: dict[str, Any]) -> list[list[str]]:
    """A line for the seconds with fewer coordinates that came with the data set."""
    if "brought_seconds" not in found:
        return []
    return [["spcg", "the same, coordinates brought", f"{found['brought_seconds']:.3f}", f"{found['brought_ratio']:.2f}"]]


def _without(team: "Team[Linear]") -> "Team[Linear]":
    """The same rows as if they had not come in fewer columns, too: what is made of rows does not have that."""
    sites = (replace(site, loss=replace(site.loss, matrix=replace(site.loss.matrix))) for site in team.sites)
    return replace(team, sites=tuple(sites))


def tolerance(rows: AllRows, reached: Callable[[np.ndarray], bool]) -> float:
    """The loosest tolerance of LIBLINEAR whose answer is good enough."""
    return next((e for e in sorted(TOLERANCES, reverse=True) if reached(LIBLINEAR(rows, e))), min(TOLERANCES))
