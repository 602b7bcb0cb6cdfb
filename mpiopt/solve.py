"""The one driver loop: rounds, stopping rules, the record, and the answer with its certificate."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from time import perf_counter
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import NumericalError
from mpiopt.method import Measured, Method, Run
from mpiopt.problems.problem import Team


class Reason(Enum):
    """Why a solve ended: a sentence, and whether the answer is as good as was asked for."""

    GRADIENT = ("The gradient norm fell to the tolerance.", True)
    GAP = ("The certified gap fell to the tolerance.", True)
    EXACT = ("The gradient is zero to the last digit.", True)
    STALLED = ("No further progress is possible in floating point.", True)
    ROUNDS = ("The limit of rounds was reached.", False)
    BYTES = ("The limit of bytes was reached.", False)
    SECONDS = ("The limit of seconds was reached.", False)

    def __init__(self, sentence: str, converged: bool) -> None:
        self.sentence = sentence
        self.converged = converged


@dataclass(frozen=True)
class Stop:
    """When to stop: at the first of these. None leaves a rule out.

    rounds : method steps; bytes : payload over all ranks; seconds : solver time; gradient : |grad F| (shortest
    subgradient); relative_gradient : |grad F| over its value at the start; gap : certified bound on F - F*.
    """

    rounds: int | None = None
    bytes: float | None = None
    seconds: float | None = None
    gradient: float | None = None
    relative_gradient: float | None = None
    gap: float | None = None


class Record(NamedTuple):
    """One line of the history. Bytes, messages and vector rounds are cumulative, bytes summed over the ranks."""

    round: int
    seconds: float
    objective: float
    gradient_norm: float
    gap: float
    bytes_sent: int
    vector_rounds: int
    messages: int


Watcher = Callable[[Record], None]


@dataclass(frozen=True)
class Solution:
    """What a solve found. ``x`` is (dim,), the intercept, if any, last; equal on every rank."""

    x: Array
    reason: Reason
    reason_text: str
    history: tuple[Record, ...]
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

    Raises NumericalError on every rank once the objective is not finite. Seconds leave recording out.
    """
    history: list[Record] = []
    clock = 0.0
    steps = rounds(method, team, x)
    while True:
        start = perf_counter()
        run = next(steps)
        clock += perf_counter() - start
        with team.world.tally.paused():
            measured = method.measure(run, team)
            record = _record(run, measured, team, clock)
        history.append(record)
        for watcher in watch:
            watcher(record)
        if not np.isfinite(record.objective):
            raise NumericalError(
                f"the objective is {record.objective} after round {run.round}: check the data for huge values, or give "
                "the method a smaller step (see mpiopt methods for its parameters)"
            )
        found = _ended(history, stop)
        if found is not None:
            reason, detail = found
            return Solution(method.answer(run, team).x, reason, f"{reason.sentence} {detail}", tuple(history), run)


def _record(run: Run, measured: Measured, team: Team, clock: float) -> Record:
    """Ranks agree on bytes (the sum) and seconds (the largest), so that they stop together."""
    tally = team.world.tally
    sent = team.world.total([np.array([float(tally.bytes)])] + [np.zeros(1)] * (len(team.sites) - 1))
    seconds = team.world.agree(np.array([clock]))
    return Record(
        run.round,
        float(seconds[0]),
        measured.objective,
        measured.gradient_norm,
        measured.gap,
        int(sent[0]),
        tally.vector_rounds,
        tally.messages,
    )


def _ended(history: Sequence[Record], stop: Stop) -> tuple[Reason, str] | None:
    """The first stopping rule that holds, with the numbers that made it hold."""
    now, first = history[-1], history[0]
    relative = None if stop.relative_gradient is None else stop.relative_gradient * first.gradient_norm
    rules = (
        (Reason.EXACT, -now.gradient_norm, 0.0, "|grad F| = {:.3g}", -1),
        (Reason.GRADIENT, now.gradient_norm, stop.gradient, "|grad F| = {:.3g} <= {:.3g}", 1),
        (Reason.GRADIENT, now.gradient_norm, relative, "|grad F| = {:.3g} <= {:.3g}, relative to the start", 1),
        (Reason.GAP, now.gap, stop.gap, "F - F* <= {:.3g} <= {:.3g}", 1),
        (Reason.STALLED, _progress(history), 0.0, "The objective and the gradient have not improved for {2} rounds", 1),
        (Reason.ROUNDS, now.round, stop.rounds, "{} of {} rounds", -1),
        (Reason.BYTES, now.bytes_sent, stop.bytes, "{:.4g} of {:.4g} bytes", -1),
        (Reason.SECONDS, now.seconds, stop.seconds, "{:.3g} of {:.3g} seconds", -1),
    )
    for reason, value, limit, detail, sign in rules:
        if limit is not None and sign * value <= sign * limit:
            return reason, "(" + detail.format(abs(value), limit, PATIENCE) + ")."
    return None


PATIENCE = 20  # rounds without any improvement, to the last digit, before a method counts as stalled


def _progress(history: Sequence[Record]) -> float:
    """How much the best objective or gradient norm of the last PATIENCE rounds improves on what came before."""
    if len(history) <= PATIENCE:
        return np.inf
    before, lately = history[:-PATIENCE], history[-PATIENCE:]
    gain = [
        min(getattr(r, name) for r in before) - min(getattr(r, name) for r in lately)
        for name in ("objective", "gradient_norm")
    ]
    return max(gain)
