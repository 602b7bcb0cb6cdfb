"""Playing: the driver loop with looks at residual, gap and distance, clock and tally paused."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.drive import Keeper, Standing, always, drive, undisturbed
from mpiopt.engine.fingerprint import fingerprint
from mpiopt.engine.method import Run
from mpiopt.engine.stop import Limits, Reason, Watcher
from mpiopt.errors import NumericalError
from mpiopt.playing.method import Playing, field_of, length, residual
from mpiopt.problems.feasible import merit
from mpiopt.problems.likeness import demand_alike
from mpiopt.problems.problem import Team


class Move(NamedTuple):
    """One line of the history of a game. Counts are cumulative, over all ranks; NaN or infinity for what is not known."""

    round: int
    seconds: float
    objective: float  # the length of z - prox(z - F(z)), which is that of F(z) where there is no penalty
    bytes_sent: int
    vector_rounds: int
    messages: int
    steps: int  # operators over a sample, of all workers
    rows: int  # that these looked at
    merit: float  # an upper bound of what players could gain, where the sets of both are bounded
    distance: float  # from the solution, where that is known


@dataclass(frozen=True)
class Settled(Limits[Move]):
    """When a game ends: at the first of these, or at a limit. residual, distance : of `Move`."""

    residual: float | None = None
    distance: float | None = None

    def _holding(self, history: Sequence[Move]) -> Iterator[tuple[Reason, str]]:
        now = history[-1]
        if self.residual is not None and now.objective <= self.residual:
            yield Reason.TARGET, f"residual {now.objective:.3g} <= {self.residual:.3g}"
        if self.distance is not None and now.distance <= self.distance:
            yield Reason.TARGET, f"distance {now.distance:.3g} <= {self.distance:.3g}"
        yield from super()._holding(history)


@dataclass(frozen=True)
class Played:
    """What a game came to. ``x`` is (dim,), equal on every rank."""

    x: Array
    reason: Reason
    reason_text: str
    history: tuple[Move, ...]
    run: Run = field(repr=False)

    @property
    def final(self) -> Move:
        """The last line of the history."""
        return self.history[-1]


def play(
    method: Playing,
    team: Team[Any],
    x: Array | Standing[Move],
    until: Settled,
    solution: Array | None = None,
    watch: Sequence[Watcher[Move]] = (),
    keep: Sequence[Keeper[Move]] = (),
    interruption: Callable[[], str] = undisturbed,
    due: Callable[[int], bool] = always,
) -> Played:
    """Run ``method`` from x (dim,), the same on every rank, or from where an earlier game stood. Collective.

    solution : (dim,) where it is known, for the distance. due : the rounds that are looked at. The rest is as in
    `mpiopt.engine.drive.solve`. Raises NumericalError on every rank once z is not finite.
    """
    start = x.run.round if isinstance(x, Standing) and x.run is not None else x
    given = {"start": start, "method": method, "goal": until, "penalty": team.penalty, "seed": team.sites[0].streams.seed}
    demand_alike(team, given, None)
    recorder = partial(move, method, team, solution)
    with np.errstate(over="ignore", invalid="ignore"):  # what diverges is told
        at, reason, text = drive(method, team, x, recorder, until, watch, keep, interruption, due)
    return Played(method.answer(at.begun, team).x, reason, text, at.history, at.begun)


def move(method: Playing, team: Team[Any], solution: Array | None, run: Run, clock: float, word: str) -> tuple[Move, bool, str]:
    """The record of a round. Collective; the tally is paused by the caller. Raises NumericalError on every rank."""
    world, z = team.world, method.answer(run, team).x
    sent, seconds, word = world.tallied(clock, word, fingerprint(run), f"after round {run.round}")
    counts = [
        np.array([sum(each[k].fields for each in run.states.works), sum(each[k].rows for each in run.states.works)])
        for k in range(len(team.sites))
    ]
    steps, rows = world.total([each.astype(np.float64) for each in counts])
    f = field_of(team, z)
    size = length(team, residual(team, z, f))
    if not np.isfinite(size):
        raise NumericalError(
            f"z is no longer made of finite numbers after round {run.round}: {method.name} has diverged; give a smaller "
            "step (gamma), or use extragradient"
        )
    apart = np.nan if solution is None else float(np.linalg.norm(z - solution))
    gap, apart = world.bcast(np.array([merit(team.penalty, z, f), apart])).tolist()
    tally = world.tally
    return (
        Move(run.round, seconds, size, sent, tally.vector_rounds, tally.messages, int(steps), int(rows), gap, apart),
        True,
        word,
    )
