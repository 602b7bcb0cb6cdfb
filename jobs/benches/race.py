"""Timing side by side: runs of ours and of a peer in turn, so that a machine whose speed drifts treats both alike."""

import gc
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.engine.drive import Solution
    from mpiopt.problems.problem import Team

T = TypeVar("T")
EXACT = 1e-6  # of what solvers are to come to: how near the optimum is found that they are judged by


class Race(NamedTuple):
    """Medians of several runs: seconds of ours and of the peer, and of the ratio ours / peer run by run."""

    ours: float
    peer: float
    ratio: float


def seconds(run: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = perf_counter()
    run()
    return perf_counter() - start


def race(ours: Callable[[], object], peer: Callable[[], object], runs: int) -> Race:
    """Time ``ours`` and ``peer`` in turn, ``runs`` times each, after one run of each that does not count."""
    ours(), peer()
    gc.collect()
    pairs = [(seconds(ours), seconds(peer)) for _ in range(runs)]
    return Race(median(a for a, _ in pairs), median(b for _, b in pairs), median(a / b for a, b in pairs))


def on_first(world: "World", act: Callable[[], T]) -> T:
    """What ``act`` returns on rank 0, told to all; the other ranks sleep, so that they take no time from it. Collective."""
    value = act() if world.rank == 0 else None
    world.rest()
    return world.tell(value)


def optimum(team: "Team[Any]", target: float) -> "Solution":
    """What solvers are judged by that come to ``target``, a share of what the objective falls by at most. Collective.

    The tolerance of the gradient alone may be one that rounding hides.
    """
    from mpiopt.engine.drive import solve
    from mpiopt.engine.stop import Stop
    from mpiopt.methods import find

    return solve(find("spcg").make(), team, team.zeros(), Stop(rounds=300, gradient=1e-12, gap=EXACT * target))
