"""The one driver loop: rounds, the record, the stopping rules, and the answer with its certificate."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import compress
from time import perf_counter
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import NumericalError
from mpiopt.fingerprint import fingerprint
from mpiopt.method import Measured, Method, Run
from mpiopt.problems.certificate import Certificate, certify, duality_gap
from mpiopt.problems.lifted import lifted
from mpiopt.problems.problem import Team
from mpiopt.stop import Limits, Reason, Record, Stop, Watcher, ended


@dataclass(frozen=True)
class Solution:
    """What a solve found. ``x`` is (dim,), the intercept, if any, last; equal on every rank."""

    x: Array
    reason: Reason
    reason_text: str
    history: tuple[Record, ...]
    certificate: Certificate
    run: Run = field(repr=False)

    @property
    def final(self) -> Record:
        """The last line of the history."""
        return self.history[-1]


class Standing(NamedTuple):
    """Where a solve stands after a round: all that another one needs to go on as if it had never stopped."""

    run: Run | None = None
    history: tuple[Record, ...] = ()
    fresh: tuple[bool, ...] = ()  # per record whether the answer may have changed since the one before

    def after(self, run: Run, record: Record, fresh: bool) -> "Standing":
        """Where it stands one round later."""
        return Standing(run, (*self.history, record), (*self.fresh, fresh))

    @property
    def judged(self) -> list[Record]:
        """What stopping rules look at: the records of rounds that may have changed the answer, and the last."""
        return [*compress(self.history[:-1], self.fresh), *self.history[-1:]]


Keeper = Callable[[Standing, Reason | None], None]  # with the reason for which the solve ends here, if it does


def rounds(method: Method, team: Team, run: Array | Run) -> Iterator[Run]:
    """The run at the start x (dim,) and after every round, or after every further round of a run; without end.

    Collective at every step.
    """
    run = method.step(run, team) if isinstance(run, Run) else method.init(run, team)
    while True:
        yield run
        run = method.step(run, team)


def undisturbed() -> str:
    """Nothing asks the solve to end early."""
    return ""


def always(round: int) -> bool:  # noqa: A002 - the field's word
    """Every round."""
    return True


def solve(
    method: Method,
    team: Team,
    x: Array | Standing,
    stop: Stop,
    watch: Sequence[Watcher] = (),
    keep: Sequence[Keeper] = (),
    interruption: Callable[[], str] = undisturbed,
) -> Solution:
    """Run ``method`` from ``x`` until a stopping rule holds. Collective.

    x : (dim,), the same on every rank; or where an earlier solve of the same problem stood, to go on from there: neither
    a start nor a round is repeated, and the history, seconds, bytes and messages continue.
    watch, keep : called on every rank after every round, keepers with all that a checkpoint needs; what they do is not
    collective, or collective on all ranks. interruption : asked on every rank after every round for what ends the solve
    early, in a few words, or for ""; one rank's word is enough.

    A loss without margins is `Lifted`. Seconds, bytes and messages leave recording, keeping and the final certificate out.
    Raises NumericalError on every rank once the objective is not finite, UnlikeError where ranks hold unlike numbers
    (`fingerprint`).
    """
    team = lifted(team)
    recorder = partial(_record, method, team, stop)
    at, reason, text = drive(method, team, x, recorder, stop, watch, keep, interruption)
    with team.world.tally.paused():
        team.world.demand_alike(fingerprint(at.run), f"after round {at.run.round}")
        x = method.answer(at.run, team).x
        effort = 0 if reason is Reason.INTERRUPTED else max(10, at.history[-1].vector_rounds)
        return Solution(x, reason, text, at.history, certify(team, x, effort), at.run)


Recorder = Callable[[Run, float, str], tuple[Record, bool, str]]  # run, clock, word -> record, whether fresh, agreed word


class Driven(NamedTuple):
    """Where a run ended, and why."""

    at: Standing
    reason: Reason
    text: str


def drive(
    method: Method,
    team: Team,
    x: Array | Standing,
    recorder: Recorder,
    stop: Limits,
    watch: Sequence[Watcher] = (),
    keep: Sequence[Keeper] = (),
    interruption: Callable[[], str] = undisturbed,
    due: Callable[[int], bool] = always,
) -> Driven:
    """The loop of `solve`, with anybody's records. Collective.

    recorder : makes the record of a round, collectively. due : the rounds, alike on all ranks, that are recorded besides the
    last one that ``stop`` allows; what lies between is not looked at.
    """
    at = x if isinstance(x, Standing) else Standing()
    steps, tally = rounds(method, team, x if at.run is None else at.run), team.world.tally
    del x  # what a run of old has held is given up as it is replaced
    clock, found = (_taken_up(at, team, stop)) if at.history else (0.0, None)
    while found is None:
        start = perf_counter()
        run = next(steps)
        clock += perf_counter() - start
        if not due(run.round) and run.round != stop.rounds:
            continue
        with tally.paused():
            record, fresh, word = recorder(run, clock, interruption())
            at = at.after(run, record, fresh)
            for watcher in watch:
                watcher(record)
            found = stop.reached(at.judged) or (ended(Reason.INTERRUPTED, word) if word else None)
            for keeper in keep:
                keeper(at, found and found[0])
    return Driven(at, *found)


def _taken_up(at: Standing, team: Team, stop: Limits) -> tuple[float, tuple[Reason, str] | None]:
    """The clock of a solve that goes on, and whether it has nothing left to do; its tally is put back. Not collective."""
    last, tally = at.history[-1], team.world.tally
    tally.bytes = last.bytes_sent if team.world.rank == 0 else 0  # known as the sum over the ranks
    tally.messages, tally.vector_rounds = last.messages, last.vector_rounds
    return last.seconds, stop.reached(at.judged)


def _record(method: Method, team: Team, stop: Stop, run: Run, clock: float, word: str) -> tuple[Record, bool, str]:
    """Ranks agree on bytes (the sum), seconds (the largest) and interruptions, so that they stop together, and see in the
    same message that what they hold alike is alike."""
    measured = method.measure(run, team)
    if not np.isfinite(measured.objective):
        raise NumericalError(
            f"the objective is {measured.objective} after round {run.round}: check the data for huge values, or give the "
            "method other parameters (mpiopt methods NAME lists them)"
        )
    gap = measured.gap
    if stop.gap is not None and np.isinf(gap) and _near(team, measured, stop.gap):
        gap = duality_gap(team, method.answer(run, team).x)
    tally = team.world.tally
    alike = fingerprint(run, part=run.round), f"after round {run.round}"
    sent, seconds, word = team.world.tallied(clock, word, *alike)
    counts = sent, tally.vector_rounds, tally.messages
    return Record(run.round, seconds, measured.objective, measured.gradient_norm, gap, *counts), measured.fresh, word


def _near(team: Team, measured: Measured, gap: float) -> bool:
    """Whether a duality gap, which costs a vector round, may be small enough: the gradient bound overestimates by less."""
    return measured.gradient_norm**2 <= 2e4 * team.penalty.l2 * gap or team.penalty.l2 == 0
