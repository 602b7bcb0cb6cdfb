"""When a solve ends, and why."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Generic, NamedTuple, Protocol, TypeVar

from mpiopt.errors import UsageError
from mpiopt.words import counted

PATIENCE = 20  # rounds without any improvement before a method counts as stalled or diverged


class Line(Protocol):
    """What every line of a history says. Bytes, messages and vector rounds are cumulative, bytes summed over the ranks."""

    @property
    def round(self) -> int:
        """The number of the round."""

    @property
    def seconds(self) -> float:
        """Of the solver, so far."""

    @property
    def objective(self) -> float:
        """As it is known."""

    @property
    def bytes_sent(self) -> int:
        """Payload over all ranks, so far."""

    @property
    def vector_rounds(self) -> int:
        """So far."""

    @property
    def messages(self) -> int:
        """So far."""


R = TypeVar("R", bound=Line)
Seen = TypeVar("Seen", bound=Line, contravariant=True)


class Record(NamedTuple):
    """One line of the history of a solve; see `Line`."""

    round: int
    seconds: float
    objective: float
    gradient_norm: float
    gap: float
    bytes_sent: int
    vector_rounds: int
    messages: int


Watcher = Callable[[R], None]


class Reason(Enum):
    """Why a solve ended: a sentence, and whether the answer is as good as was asked for."""

    EXACT = ("The gradient is zero to the last digit.", True)
    ROUNDING = ("The gradient fell to its own rounding errors.", True)
    GRADIENT = ("The gradient norm fell to the tolerance.", True)
    GAP = ("The certified gap fell to the tolerance.", True)
    DIVERGED = ("The objective stays above where it started: give the method other parameters.", False)
    SEPARABLE = ("There is no optimum: the data are separable, and the objective falls for ever.", False)
    HIDDEN = ("Rounding errors hide whether the tolerance is reached.", False)
    REFUTED = ("The tolerance is not reached: computed afresh, the answer does not bear it out.", False)
    BROKEN = ("The objective ceased to be a finite number.", False)
    STALLED = ("No further progress: the objective no longer changes, to the last digits.", False)
    TARGET = ("The target was reached.", True)
    PATH = ("The last penalty of the path was solved.", True)
    HELD_OUT = ("The loss of the rows that are held out has ceased to fall.", False)
    EPOCHS = ("The last epoch was finished.", False)
    ROUNDS = ("The limit of rounds was reached.", False)
    BYTES = ("The limit of bytes was reached.", False)
    SECONDS = ("The limit of seconds was reached.", False)
    INTERRUPTED = ("The run was interrupted.", False)

    def __init__(self, sentence: str, converged: bool) -> None:
        self.sentence = sentence
        self.converged = converged


class Rule(Protocol[Seen]):
    """Says of a history whether a run ends."""

    @property
    def rounds(self) -> int | None:
        """The number of the last round that it allows; None where there is none."""

    def reached(self, history: Sequence[Seen], /) -> tuple[Reason, str] | None:
        """Why the run ends, and a sentence that says so; None where it goes on."""


@dataclass(frozen=True)
class Limits(Generic[R]):
    """What a run may spend; None leaves a limit out.

    rounds : method steps; bytes : payload over all ranks; seconds : of the solver.
    """

    rounds: int | None = None
    bytes: float | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for what no run could reach."""
        for name, limit in vars(self).items():
            if isinstance(limit, int | float) and not limit >= 0:
                raise UsageError(f"a run cannot end at `{name}={limit}`: give a number of at least 0, or None")

    def reached(self, history: Sequence[R]) -> tuple[Reason, str] | None:
        """The first rule that holds, and its sentence with the numbers that made it hold.

        history : the records of the rounds that may have changed the answer, and of the last round.
        """
        for reason, numbers in self._holding(history):
            return ended(reason, numbers)
        return None

    def _holding(self, history: Sequence[R]) -> Iterator[tuple[Reason, str]]:
        now = history[-1]
        if self.rounds is not None and now.round >= self.rounds:
            yield Reason.ROUNDS, counted(now.round, "round", form="d")
        if self.bytes is not None and now.bytes_sent >= self.bytes:
            yield Reason.BYTES, f"{now.bytes_sent:,} of {self.bytes:,.0f} bytes"
        if self.seconds is not None and now.seconds >= self.seconds:
            yield Reason.SECONDS, f"{now.seconds:.3g} of {self.seconds:.3g} seconds"


@dataclass(frozen=True)
class Stop(Limits[Record]):
    """When to stop: at the first of these, or at a limit.

    gradient : |grad F| (of the shortest subgradient where F has a kink); gap : certified bound on F - F*.
    """

    gradient: float | None = None
    gap: float | None = None

    def _holding(self, history: Sequence[Record]) -> Iterator[tuple[Reason, str]]:
        now = history[-1]
        yield from self.met(now.gradient_norm, now.gap)
        yield from super()._holding(history)
        if len(history) > PATIENCE:
            yield from stuck(history)

    def met(self, gradient_norm: float, gap: float) -> Iterator[tuple[Reason, str]]:
        """The tolerances that a point reaches, with the numbers that say so."""
        if gradient_norm == 0:
            yield Reason.EXACT, "|grad F| = 0"
        if self.gradient is not None and gradient_norm <= self.gradient:
            yield Reason.GRADIENT, f"|grad F| = {gradient_norm:.3g} <= {self.gradient:.3g}"
        if self.gap is not None and gap <= self.gap:
            yield Reason.GAP, f"F - F* <= {gap:.3g} <= {self.gap:.3g}"


def ended(reason: Reason, details: str) -> tuple[Reason, str]:
    """A reason with its sentence, and in that what made it hold."""
    return reason, f"{reason.sentence[:-1]} ({details})."


def stuck(history: Sequence[Record], doubt: float = 0.0) -> Iterator[tuple[Reason, str]]:
    """Whether the last rounds only went up, or nowhere. Methods with momentum may rise for a while and yet be on their way.

    history : more than `PATIENCE` records. doubt : what rounding may do to an objective, beyond its last digits.
    """
    before, lately = history[:-PATIENCE], history[-PATIENCE:]
    objectives = [record.objective for record in lately]
    best, highest = min(objectives), max(objectives)
    if best > before[0].objective + doubt:
        yield Reason.DIVERGED, f"for {PATIENCE} rounds; F = {objectives[-1]:.6g}, at the start {before[0].objective:.6g}"
    if not highest - best <= 1e-13 * abs(best) + doubt:
        return  # before all that went before is looked at, which grows from round to round
    better = best < min(record.objective for record in before) - doubt
    steeper = min(record.gradient_norm for record in lately) >= min(record.gradient_norm for record in before)
    if not better and steeper:
        yield Reason.STALLED, f"{PATIENCE} rounds, |grad F| = {lately[-1].gradient_norm:.3g}"
