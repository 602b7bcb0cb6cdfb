"""Arbitrary sampling: the rows of a step, drawn anew for each, and what they count for, so that the mean is right.

    nice:8                     8 rows, every set of so many as likely as any other
    single:uniform             one row; single:importance: as likely as its smoothness constant is large
    independent:count=8        every row by a coin of its own
    partition:blocks=10        all rows of one of so many blocks

Of a sampled gradient g(x) = sum of weights_i grad f_i(x), E g = grad f, two constants decide how fast its steps lead where:
the expected smoothness E |g(x) - g(x*)|^2 <= 2 smoothness (f(x) - f(x*)), and the noise E |g(x*)|^2.

Gower, Loizou, Qian, Sailanbayev, Shulgin, Richtarik, SGD: general analysis and improved rates, ICML 2019, section 3.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.numerics.streams import Streams
from mpiopt.problems.problem import RowSample
from mpiopt.sampling.constants import RowConstants
from mpiopt.words import counted

TOGETHER = 1e-9  # how far probabilities may be from adding up to 1


class Law(Protocol):
    """Which rows are drawn, of how many, and what holds of gradients over them."""

    @property
    def rows(self) -> int:
        """Rows to draw from."""

    @property
    def expected(self) -> float:
        """Rows of a draw, in the mean."""

    def draw(self, stream: np.random.Generator) -> RowSample:
        """The rows of one draw, (b,) int64, and their weights (b,): those of a gradient whose mean is that over all rows."""

    def smoothness(self, c: RowConstants) -> float:
        """A bound of the expected smoothness."""

    def noise(self, c: RowConstants) -> float:
        """The variance of the gradient at the optimum, exactly."""


@dataclass(frozen=True)
class Nice:
    """``size`` rows, every set of so many as likely as any other. Raises UsageError unless 1 <= size <= rows."""

    rows: int
    size: int

    def __post_init__(self) -> None:
        if not 1 <= self.size <= self.rows:
            raise UsageError(
                f"{counted(self.size, 'row')} of {self.rows:,} cannot be drawn: give a number from 1 to {self.rows}"
            )

    @property
    def expected(self) -> float:
        """``size``."""
        return float(self.size)

    def draw(self, stream: np.random.Generator) -> RowSample:
        """See `Law.draw`."""
        rows = stream.choice(self.rows, self.size, replace=False, shuffle=False)
        return RowSample(rows, np.full(self.size, 1 / self.size))

    def smoothness(self, c: RowConstants) -> float:
        """n (tau - 1) / (tau (n - 1)) L + (n - tau) / (tau (n - 1)) max L_i."""
        n, tau = self.rows, self.size
        part = (n - tau) / (tau * (n - 1)) if n > 1 else 0.0
        return (1 - part) * c.whole + part * float(c.each.max())

    def noise(self, c: RowConstants) -> float:
        """(n - tau) / (n tau (n - 1)) sum of |grad f_i - grad f|^2."""
        n, tau = self.rows, self.size
        return (n - tau) / (n * tau * (n - 1)) * (float(c.squares.sum()) - n * c.mean) if n > 1 else 0.0


@dataclass(frozen=True, eq=False)
class Single:
    """One row, by its probability p (rows,). Raises UsageError unless these are positive and add up to 1."""

    p: np.ndarray

    def __post_init__(self) -> None:
        demand_distribution(self.p, "row")

    @property
    def rows(self) -> int:
        """See `Law`."""
        return self.p.size

    @property
    def expected(self) -> float:
        """1."""
        return 1.0

    @cached_property
    def _bounds(self) -> np.ndarray:
        return np.cumsum(self.p)

    def draw(self, stream: np.random.Generator) -> RowSample:
        """See `Law.draw`."""
        row = np.array([picked(self._bounds, stream)])
        return RowSample(row, 1 / (self.rows * self.p[row]))

    def smoothness(self, c: RowConstants) -> float:
        """max L_i / (n p_i)."""
        return float((c.each / (self.rows * self.p)).max())

    def noise(self, c: RowConstants) -> float:
        """sum h_i / (n^2 p_i), less |grad f|^2."""
        return float((c.squares / self.p).sum()) / self.rows**2 - c.mean


@dataclass(frozen=True, eq=False)
class Independent:
    """Every row by a coin of its own, of probability p (rows,). Raises UsageError unless these are above 0, at most 1."""

    p: np.ndarray

    def __post_init__(self) -> None:
        if not ((self.p > 0) & (self.p <= 1)).all():
            raise UsageError(
                f"independent sampling with probabilities {self.p.min():g} to {self.p.max():g}: give numbers above 0, at most 1"
            )

    @property
    def rows(self) -> int:
        """See `Law`."""
        return self.p.size

    @property
    def expected(self) -> float:
        """The sum of the probabilities."""
        return float(self.p.sum())

    def draw(self, stream: np.random.Generator) -> RowSample:
        """See `Law.draw`; there may be no row."""
        rows = np.flatnonzero(stream.random(self.rows) < self.p)
        return RowSample(rows, 1 / (self.rows * self.p[rows]))

    def smoothness(self, c: RowConstants) -> float:
        """L + max (1 - p_i) / p_i L_i / n."""
        return c.whole + float(((1 - self.p) / self.p * c.each).max()) / self.rows

    def noise(self, c: RowConstants) -> float:
        """sum (1 - p_i) / p_i h_i / n^2."""
        return float(((1 - self.p) / self.p * c.squares).sum()) / self.rows**2


@dataclass(frozen=True, eq=False)
class Partition:
    """All rows of one block, by its probability p (blocks,): block k has the rows bounds[k] <= i < bounds[k + 1].

    Raises UsageError for probabilities as `Single`, for bounds that do not ascend, and for blocks without a row.
    """

    bounds: np.ndarray
    p: np.ndarray

    def __post_init__(self) -> None:
        demand_distribution(self.p, "block")
        if self.bounds.shape != (self.p.size + 1,) or self.bounds[0] or not (np.diff(self.bounds) > 0).all():
            raise UsageError(f"{counted(self.p.size, 'block')} of rows from {self.bounds}: give each at least a row")

    @property
    def rows(self) -> int:
        """See `Law`."""
        return int(self.bounds[-1])

    @property
    def expected(self) -> float:
        """The mean length of a block."""
        return float(self.p @ np.diff(self.bounds))

    @cached_property
    def _bounds(self) -> np.ndarray:
        return np.cumsum(self.p)

    def draw(self, stream: np.random.Generator) -> RowSample:
        """See `Law.draw`."""
        block = picked(self._bounds, stream)
        rows = np.arange(self.bounds[block], self.bounds[block + 1])
        return RowSample(rows, np.full(rows.size, 1 / (self.rows * self.p[block])))

    def smoothness(self, c: RowConstants) -> float:
        """max |C| L_C / (n p_C), L_C of the mean over the block."""
        sizes = np.diff(self.bounds)
        return float((sizes * c.blocks(self.bounds) / (self.rows * self.p)).max())

    def noise(self, c: RowConstants) -> float:
        """sum |sum over the block of grad f_i|^2 / (n^2 p_C), less |grad f|^2."""
        return float((c.block_squares(self.bounds) / self.p).sum()) / self.rows**2 - c.mean


@dataclass(frozen=True)
class Draws:
    """The sample of a worker's step: ``draws(step)`` is the draw of that step, the same on any rank and after any restart.

    worker : what the stream is of; -1 for draws that all workers share.
    """

    law: Law
    streams: Streams
    worker: int = -1
    per_epoch: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "per_epoch", self.law.rows / self.law.expected)

    def __call__(self, step: int) -> RowSample:
        """Not collective."""
        return self.law.draw(self.streams("sampling", step, self.worker))


def picked(bounds: np.ndarray, stream: np.random.Generator) -> int:
    """A number by its probability; bounds : the sums of these."""
    return int(min(np.searchsorted(bounds, stream.random() * bounds[-1], side="right"), bounds.size - 1))


def demand_distribution(p: np.ndarray, what: str) -> None:
    """Raise UsageError unless probabilities are positive and add up to 1."""
    if not (p.size and (p > 0).all() and abs(float(p.sum()) - 1) <= TOGETHER):
        raise UsageError(
            f"the probabilities of {counted(p.size, what)} add up to {float(p.sum()):.6g}, the least is "
            f"{float(p.min()) if p.size else 0:g}: give positive ones that add up to 1"
        )
