"""Samplings by name: a text such as nice:64 is a plan, of which every worker makes the law of its own rows."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.blocks import even
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.registry.entry import Spelt
from mpiopt.registry.registry import Registry
from mpiopt.sampling.laws import Independent, Law, Nice, Partition, Single

LEAST = 1e-3  # of the largest weight: rows that theory would hardly look at
GOWER = "Gower, Loizou, Qian, Sailanbayev, Shulgin, Richtarik, SGD: general analysis and improved rates, ICML 2019"


class SamplingPlan(Protocol):
    """What a text says of a sampling."""

    def expected(self, rows: int) -> float:
        """How many of so many rows a step looks at, in the mean."""

    def law(self, rows: int, each: Array | None) -> Law:
        """The law of a worker with so many rows, whose smoothness constants are ``each`` (rows,), None where unknown.

        Raises UsageError for what is not possible with so few rows, CapabilityError for importance where it is unknown.
        """


@dataclass(frozen=True)
class NicePlan:
    """So many rows, every set of them as likely as any other."""

    size: int = 32

    def expected(self, rows: int) -> float:
        """``size``."""
        return float(self.size)

    def law(self, rows: int, each: Array | None) -> Nice:
        """See `SamplingPlan`."""
        return Nice(rows, self.size)


@dataclass(frozen=True)
class SinglePlan:
    """One row: uniform, or importance, as likely as its loss is steep."""

    p: str = "uniform"

    def __post_init__(self) -> None:
        _demand_weights(self.p)

    def expected(self, rows: int) -> float:
        """1."""
        return 1.0

    def law(self, rows: int, each: Array | None) -> Single:
        """See `SamplingPlan`."""
        weights = _weights(self.p, rows, each)
        return Single(weights / weights.sum())


@dataclass(frozen=True)
class IndependentPlan:
    """Every row by a coin of its own, ``count`` in the mean; p : uniform, or importance as of single."""

    count: float = 32.0
    p: str = "uniform"

    def __post_init__(self) -> None:
        _demand_weights(self.p)

    def expected(self, rows: int) -> float:
        """``count``."""
        return self.count

    def law(self, rows: int, each: Array | None) -> Independent:
        """See `SamplingPlan`."""
        if not 0 < self.count <= rows:
            raise UsageError(
                f"{self.count:g} rows in the mean of {rows:,} are not possible: give a number above 0, at most {rows}"
            )
        return Independent(_capped(_weights(self.p, rows, each), self.count))


@dataclass(frozen=True)
class PartitionPlan:
    """All rows of one of so many blocks of neighbouring rows, each as likely as it is long."""

    blocks: int = 10

    def expected(self, rows: int) -> float:
        """The length of a block."""
        return rows / self.blocks

    def law(self, rows: int, each: Array | None) -> Partition:
        """See `SamplingPlan`."""
        if not 1 <= self.blocks <= rows:
            raise UsageError(f"{self.blocks} blocks of {rows:,} rows cannot be made: give a number from 1 to {rows}")
        bounds = even(rows, self.blocks)
        return Partition(bounds, np.diff(bounds) / rows)


SAMPLINGS: Registry[Spelt] = Registry(
    "sampling",
    (
        Spelt(NicePlan, GOWER, "size", name="nice"),
        Spelt(SinglePlan, "Zhao, Zhang, Stochastic optimization with importance sampling, ICML 2015", "p", name="single"),
        Spelt(IndependentPlan, GOWER, "count", name="independent"),
        Spelt(PartitionPlan, GOWER, "blocks", name="partition"),
    ),
)


def plan_of(text: str) -> SamplingPlan:
    """What a text spells. Raises UsageError with the samplings that there are."""
    name, _, rest = text.strip().partition(":")
    return SAMPLINGS.find(name).spelt(rest)


def _demand_weights(p: str) -> None:
    if p not in ("uniform", "importance"):
        raise UsageError(f"rows are drawn with p={p}: choose uniform or importance")


def _weights(p: str, rows: int, each: Array | None) -> Array:
    if p == "uniform":
        return np.ones(rows)
    if each is None or not np.isfinite(each).all():
        raise CapabilityError(
            "importance sampling asks how steep each row's loss can be, which is not known here: take p=uniform, or a "
            "linear model with logistic, squared_hinge, least_squares or huber loss"
        )
    return np.maximum(each / each.max(), LEAST) if each.any() else np.ones(rows)


def _capped(weights: Array, expected: float) -> Array:
    """Probabilities in proportion to weights, none above 1, that add up to ``expected``."""
    p = np.minimum(weights * (expected / weights.sum()), 1.0)
    for _ in range(weights.size):
        free = p < 1
        rest = expected - (~free).sum()
        if not free.any() or abs(p[free].sum() - rest) <= 1e-12 * expected:
            break
        p[free] = np.minimum(weights[free] * (rest / weights[free].sum()), 1.0)
    return p
