"""Penalties of games: where players may move, as convex functions of z that are simple to stay close to.

    Simplex()          z >= 0 with coordinates that add up to 1
    Beside(...)        one penalty for each of several parts of z

`merit` is the gap of a point of a game. Facchinei, Pang, Finite-dimensional
variational inequalities and complementarity problems, 2003, section 1.5.3.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.problems.protocols import Penalty

NEAR = 1e-9  # how far from a simplex rounding may lead


@dataclass(frozen=True)
class Simplex:
    """The indicator of {z >= 0, sum z = 1}; nothing else of it is smooth."""

    free: int = 0
    l2: ClassVar[float] = 0.0
    smooth: ClassVar[bool] = False
    grows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.free:
            raise UsageError(
                f"a simplex has no free coordinates, and {self.free} were asked for: put it beside another penalty"
            )

    def value(self, x: Array) -> float:
        """0 inside, to rounding, infinity outside."""
        return 0.0 if x.min() >= -NEAR and abs(float(x.sum()) - 1) <= NEAR else float("inf")

    def grad(self, x: Array) -> Array:
        """0."""
        return np.zeros_like(x)

    def prox(self, z: Array, step: float) -> Array:
        """The nearest point. Held, Wolfe, Crowder, Validation of subgradient optimization, 1974."""
        falling = np.sort(z)[::-1]
        excess = (np.cumsum(falling) - 1) / np.arange(1, z.size + 1)
        return np.maximum(z - excess[np.flatnonzero(falling > excess)[-1]], 0)

    def residual(self, x: Array, g: Array) -> Array:
        """x - the nearest point to x - g, which is 0 at a solution."""
        return x - self.prox(x - g, 1.0)

    def conjugate(self, u: Array) -> float:
        """The largest coordinate."""
        return float(u.max())


@dataclass(frozen=True)
class Beside:
    """A penalty for each part of z, one after the other; sizes : of the parts."""

    parts: tuple[Penalty, ...]
    sizes: tuple[int, ...]
    free: int = 0
    l2: ClassVar[float] = 0.0  # that all coordinates have
    smooth: ClassVar[bool] = False
    grows: ClassVar[bool] = True

    def value(self, x: Array) -> float:
        """The sum of the parts'."""
        return sum(part.value(x[cut]) for part, cut in self.cuts())

    def grad(self, x: Array) -> Array:
        """See `Penalty.grad`."""
        return np.concatenate([part.grad(x[cut]) for part, cut in self.cuts()])

    def prox(self, z: Array, step: float) -> Array:
        """See `Penalty.prox`."""
        return np.concatenate([part.prox(z[cut], step) for part, cut in self.cuts()])

    def residual(self, x: Array, g: Array) -> Array:
        """See `Penalty.residual`."""
        return np.concatenate([part.residual(x[cut], g[cut]) for part, cut in self.cuts()])

    def conjugate(self, u: Array) -> float:
        """See `Penalty.conjugate`."""
        return sum(part.conjugate(u[cut]) for part, cut in self.cuts())

    def cuts(self) -> Iterator[tuple[Penalty, slice]]:
        """The parts, and where they are."""
        at = 0
        for part, size in zip(self.parts, self.sizes, strict=True):
            yield part, slice(at, at := at + size)


def merit(penalty: Penalty, z: Array, field: Array) -> float:
    """F(z).z + R(z) + R*(-F(z)): not negative, 0 at a solution alone; infinity where R does not hold z back.

    Where F is affine and skew and R an indicator, as in matrix games, it is the gap of the two players' best replies.
    """
    return float(field @ z) + penalty.value(z) + penalty.conjugate(-field)
