"""Numbers that depend on the step: step sizes, pulls, periods. A schedule is a function of step = 0, 1, 2, ...

    Constant(a)              a
    Cosine(a, n, floor)      floor + (a - floor) (1 + cos(pi step / n)) / 2, then the floor
    Piecewise(values, at)    values[i], i the number of entries of ``at`` that are reached
    Inverse(a, b)            a / (step + b)
    WarmUp(inner, n)         a straight line up to inner(n), then inner
    Later(inner, n)          inner(step - n): the clock of ``inner`` starts after n steps
    Stretched(inner, n, c)   c inner(n step): for rounds of n steps
    Relative(inner)          inner(step) / inner(0)
    Growing(a, b, n)         a (b / a)^(step / n), then b
    Switching(s, mu)         1 / (2 s) at first, then (2 step + 1) / ((step + 1)^2 mu)

WarmUp leaves the clock of what it wraps alone, so that milestones count from the first step; put Later between the two
where the wrapped schedule is to begin when the warm-up ends: ``WarmUp(Later(Cosine(0.1, 9000), 1000), 1000)``.
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf, pi
from typing import Protocol

from mpiopt.errors import UsageError


class Schedule(Protocol):
    """A number for every step. Not collective."""

    def __call__(self, step: int, /) -> float:
        """The number of step = 0, 1, 2, ..., an ordinary float so that it leaves the type of arrays alone."""


@dataclass(frozen=True)
class Constant:
    """Always the same. Raises UsageError unless 0 <= value < infinity."""

    value: float

    def __post_init__(self) -> None:
        _finite("the value of a constant schedule", self.value)

    def __call__(self, step: int) -> float:
        """The value."""
        return float(self.value)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from ``start`` at step 0 down to ``floor`` at step ``steps``, and the floor after that.

    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017, eq. 5, without restarts.
    Raises UsageError unless 0 <= floor <= start < infinity and steps >= 1.
    """

    start: float
    steps: int
    floor: float = 0.0

    def __post_init__(self) -> None:
        _finite("the start of a cosine schedule", self.start)
        demand(0 <= self.floor <= self.start, "the floor of a cosine schedule", self.floor, f"0 to its start {self.start:g}")
        demand(self.steps >= 1, "the length of a cosine schedule", self.steps, "at least 1 step")

    def __call__(self, step: int) -> float:
        """floor + (start - floor) (1 + cos(pi step / steps)) / 2."""
        if step >= self.steps:
            return float(self.floor)
        return self.floor + (self.start - self.floor) * half_cosine(step / self.steps)


@dataclass(frozen=True)
class Piecewise:
    """values[0] before step at[0], values[1] from there to before at[1], and so on.

    Raises UsageError unless there is one value more than there are steps in ``at``, and these increase.
    """

    values: tuple[float, ...]
    at: tuple[int, ...]

    def __post_init__(self) -> None:
        for value in self.values:
            _finite("a value of a piecewise schedule", value)
        pieces = len(self.at) + 1
        demand(
            len(self.values) == pieces, "the number of values of a piecewise schedule", len(self.values), f"{pieces} of them"
        )
        ordered = all(a < b for a, b in pairwise((0, *self.at)))
        demand(ordered, "the list of steps of a piecewise schedule", self.at, "positive steps in increasing order")

    def __call__(self, step: int) -> float:
        """The value of the piece that ``step`` lies in."""
        return float(self.values[bisect_right(self.at, step)])


@dataclass(frozen=True)
class Inverse:
    """a / (step + b); 4 / (mu (step + b)) for mu-strongly convex objectives.

    Stich, Local SGD converges fast and communicates little, ICLR 2019, arXiv 1805.09767, theorem 2.2. Raises UsageError
    unless 0 <= a < infinity and 0 < b < infinity.
    """

    a: float
    b: float

    def __post_init__(self) -> None:
        _finite("a of an inverse schedule", self.a)
        demand(0 < self.b < inf, "b of an inverse schedule", self.b, "a finite number above 0")

    def __call__(self, step: int) -> float:
        """a / (step + b)."""
        return self.a / (step + self.b)


@dataclass(frozen=True)
class Growing:
    """From ``start`` to ``end`` in ``steps`` steps, each by the same factor, and the end after that.

    The factor is rounded to twelve digits, and taken to a power by products: the mathematical library's last bit depends on the
    CPU. Raises UsageError unless 0 < start < end < infinity and steps >= 1.
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        _finite("the end of a growing schedule", self.end)
        demand(
            0 < self.start < self.end, "the start of a growing schedule", self.start, f"above 0 and below its end {self.end:g}"
        )
        demand(self.steps >= 1, "the length of a growing schedule", self.steps, "at least 1 step")

    def __call__(self, step: int) -> float:
        """start (end / start)^(step / steps)."""
        if step >= self.steps:
            return float(self.end)
        value, factor = self.start, round((self.end / self.start) ** (1 / self.steps), 12)
        while step:
            value *= factor if step & 1 else 1.0
            factor, step = factor * factor, step >> 1
        return value


@dataclass(frozen=True)
class WarmUp:
    """A straight line from ``start``, one step before the first, to inner(steps) at step ``steps``; then ``inner``.

    The first step is thus never of length 0. Goyal et al., Accurate, large minibatch SGD, 2017, arXiv 1706.02677,
    section 2.2. Raises UsageError unless 0 <= start < infinity and steps >= 0.
    """

    inner: Schedule
    steps: int
    start: float = 0.0

    def __post_init__(self) -> None:
        _finite("the start of a warm-up", self.start)
        demand(self.steps >= 0, "the length of a warm-up", self.steps, "at least 0 steps")

    def __call__(self, step: int) -> float:
        """start + (inner(steps) - start) (step + 1) / (steps + 1) up to ``steps``, then inner(step)."""
        if step >= self.steps:
            return self.inner(step)
        return self.start + (self.inner(self.steps) - self.start) * ((step + 1) / (self.steps + 1))


@dataclass(frozen=True)
class Later:
    """``inner`` with its clock started after ``steps`` steps; inner(0) until then. Raises UsageError unless steps >= 0."""

    inner: Schedule
    steps: int

    def __post_init__(self) -> None:
        demand(self.steps >= 0, "the delay of a schedule", self.steps, "at least 0 steps")

    def __call__(self, step: int) -> float:
        """inner(step - steps)."""
        return self.inner(max(step - self.steps, 0))


@dataclass(frozen=True)
class Stretched:
    """``factor`` times ``inner`` at every ``steps``-th step: what ``inner`` is at the start of a round of so many steps."""

    inner: Schedule
    steps: int
    factor: float = 1.0

    def __call__(self, step: int) -> float:
        """factor inner(steps step)."""
        return self.factor * self.inner(self.steps * step)


@dataclass(frozen=True)
class Relative:
    """``inner`` in units of what it begins with, 1 throughout where that is 0."""

    inner: Schedule

    def __call__(self, step: int) -> float:
        """inner(step) / inner(0)."""
        first = self.inner(0)
        return self.inner(step) / first if first else 1.0


def half_cosine(part: float) -> float:
    """(1 + cos(pi part)) / 2 for 0 <= part <= 1, by its series: the mathematical library's last bit depends on the CPU, and
    all ranks scale the same vector by it. To 2e-16."""
    if part > 0.5:
        return 1.0 - half_cosine(1.0 - part)
    square, term, total = (pi * part) * (pi * part), 1.0, 0.0
    for k in range(2, 26, 2):
        total += term
        term *= -square / (k * (k - 1))
    return (1 + total) / 2


def scheduled(value: float | Schedule) -> Schedule:
    """A schedule as it is, a number as a constant one. Raises UsageError for a number below 0 or not finite."""
    return value if callable(value) else Constant(value)


@dataclass(frozen=True)
class Switching:
    """The step of SGD with an expected smoothness, on a mu-strongly convex function: constant until 4 ceil(smoothness / mu).

    Gower, Loizou, Qian, Sailanbayev, Shulgin, Richtarik, SGD: general analysis and improved rates, ICML 2019, theorem 3.2.
    Raises UsageError unless 0 < mu <= smoothness < infinity.
    """

    smoothness: float
    mu: float

    def __post_init__(self) -> None:
        demand(0 < self.smoothness < inf, "the expected smoothness", self.smoothness, "a finite number above 0")
        demand(0 < self.mu <= self.smoothness, "mu", self.mu, f"a number above 0, at most {self.smoothness:g}")

    def __call__(self, step: int) -> float:
        """The step size of step = 0, 1, 2, ..."""
        if step <= self.turn:
            return 1 / (2 * self.smoothness)
        return (2 * step + 1) / ((step + 1) ** 2 * self.mu)

    @property
    def turn(self) -> int:
        """The last step of the first kind."""
        return 4 * ceil(self.smoothness / self.mu)


def demand(holds: bool, name: str, value: object, wanted: str) -> None:
    """Raises UsageError, naming the value and what is wanted, unless the condition holds."""
    if not holds:
        raise UsageError(f"{name} is {value}: give {wanted}")


def _finite(name: str, value: float) -> None:
    demand(0 <= value < inf, name, value, "a finite number of at least 0")
