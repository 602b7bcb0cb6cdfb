"""The one driver loop: rounds, the record, the stopping rules, and the answer with its certificate."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import NumericalError
from mpiopt.method import Measured, Method, Run
from mpiopt.problems.certificate import Certificate, certify, duality_gap
from mpiopt.problems.problem import Team
from mpiopt.stop import Reason, Record, Stop, Watcher


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


def rounds(method: Method, team: Team, x: Array) -> Iterator[Run]:
    """The run at the start and after every round, without end. Collective at every step."""
    run = method.init(x, team)
    while True:
        yield run
        run = method.step(run, team)


def solve(method: Method, team: Team, x: Array, stop: Stop, watch: Sequence[Watcher] = ()) -> Solution:
    """Run ``method`` from ``x`` (dim,) until a stopping rule holds. Collective; ``x`` is the same on every rank.

    Watchers are called on every rank after every round. Seconds, bytes and messages leave recording and the final
    certificate out. Raises NumericalError on every rank once the objective is not finite.
    """
    history: list[Record] = []
    arrived: list[Record] = []  # those of rounds that may have changed the answer
    clock = 0.0
    steps = rounds(method, team, x)
    while True:
        start = perf_counter()
        run = next(steps)
        clock += perf_counter() - start
        with team.world.tally.paused():
            measured = method.measure(run, team)
            history.append(_record(method, run, team, measured, clock, stop))
        for watcher in watch:
            watcher(history[-1])
        found = stop.reached([*arrived, history[-1]])
        if measured.fresh:
            arrived.append(history[-1])
        if found is not None:
            with team.world.tally.paused():
                x = method.answer(run, team).x
                return Solution(x, *found, tuple(history), certify(team, x, max(10, history[-1].vector_rounds)), run)


def _record(method: Method, run: Run, team: Team, measured: Measured, clock: float, stop: Stop) -> Record:
    """Ranks agree on bytes (the sum) and seconds (the largest), so that they stop together."""
    if not np.isfinite(measured.objective):
        raise NumericalError(
            f"the objective is {measured.objective} after round {run.round}: check the data for huge values, or give the "
            "method other parameters (mpiopt methods NAME lists them)"
        )
    gap = measured.gap
    if stop.gap is not None and np.isinf(gap) and _near(team, measured, stop.gap):
        gap = duality_gap(team, method.answer(run, team).x)
    tally = team.world.tally
    sent, seconds = team.world.tallied(clock)
    return Record(
        run.round,
        seconds,
        measured.objective,
        measured.gradient_norm,
        gap,
        sent,
        tally.vector_rounds,
        tally.messages,
    )


def _near(team: Team, measured: Measured, gap: float) -> bool:
    """Whether a duality gap, which costs a vector round, may be small enough: the gradient bound overestimates by less."""
    return measured.gradient_norm**2 <= 2e4 * team.penalty.l2 * gap or team.penalty.l2 == 0
