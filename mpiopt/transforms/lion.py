"""A step of the same length in every coordinate: the sign of a mean gradient.

    Lion        c = b1 m + (1 - b1) g;  m <- b2 m + (1 - b2) g;  u <- sign(c)

Decay and Scale come after it.
"""

from dataclasses import dataclass
from typing import NamedTuple

from mpiopt.arrays import Array, namespace
from mpiopt.numerics.schedules import demand
from mpiopt.transforms.transform import Transform


class FadingMean(NamedTuple):
    """A fading mean of gradients, (dim,)."""

    m: Array


@dataclass(frozen=True)
class Lion(Transform):
    """The sign of a mean that the last gradient has more weight in than in the mean that is kept.

    Chen, Liang, Huang, Real, Wang, Pham, Dong, Luong, Hsieh, Lu, Le, Symbolic discovery of optimization algorithms, NeurIPS
    2023, arXiv 2302.06675, algorithm 2. Raises UsageError unless 0 <= b1, b2 < 1.
    """

    b1: float = 0.9
    b2: float = 0.99

    def __post_init__(self) -> None:
        for name, rate in {"b1": self.b1, "b2": self.b2}.items():
            demand(0 <= rate < 1, name, rate, "a number from 0 to below 1")

    def init(self, x: Array) -> FadingMean:
        """m = 0."""
        return FadingMean(namespace(x).zeros_like(x))

    def __call__(self, u: Array, x: Array, state: FadingMean, step: int) -> tuple[Array, FadingMean]:
        """Six passes and a vector beside u and m."""
        m = state.m
        kept = self.b2 * m
        m *= self.b1
        m += (1 - self.b1) * u
        kept += (1 - self.b2) * u
        namespace(u).sign(m, out=u)
        m[:] = kept
        return u, state
