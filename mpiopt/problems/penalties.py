"""Penalties: value, gradient or subgradient, prox, violation, support. The intercept is never penalised.

    ElasticNet   l1 |x|_1 + (l2/2) |x|^2         Zero, L1 and L2 are its corners
    Box          (l2/2) |x|^2  subject to  lower <= x <= upper

``free`` trailing coordinates (0, or 1 for the intercept) are left alone by all of them. lambda (l1, l2) multiplies the
penalty of the *mean* loss over rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Protocol, Self, cast, runtime_checkable

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.kernels.kinked import Kinks
from mpiopt.problems.protocols import Penalty


@dataclass(frozen=True)
class ElasticNet:
    """l1 |x|_1 + (l2/2) |x|^2."""

    l1: float = 0.0
    l2: float = 0.0
    free: int = 0

    def __post_init__(self) -> None:
        _nonnegative(l1=self.l1, l2=self.l2)

    @property
    def smooth(self) -> bool:
        """Whether a gradient exists everywhere."""
        return self.l1 == 0

    @property
    def grows(self) -> bool:
        """Whether there is any penalty."""
        return self.l1 > 0 or self.l2 > 0

    @property
    def ridge(self) -> float:
        """l2, by the name that it has beside factors."""
        return self.l2

    def value(self, x: Array) -> float:
        """l1 |x|_1 + (l2/2) |x|^2 over the penalised coordinates."""
        x = self._penalised(x)
        kinked = self.l1 * float(abs(x).sum()) if self.l1 else 0.0
        return kinked + (self.l2 / 2 * float(x @ x) if self.l2 else 0.0)

    def grad(self, x: Array) -> Array:
        """l2 x, zero on free coordinates: the gradient of the quadratic part."""
        g = self.l2 * x
        g[x.size - self.free :] = 0
        return g

    def prox(self, z: Array, step: float) -> Array:
        """Soft thresholding by step * l1, then shrinking by 1 / (1 + step * l2)."""
        x, inner = z.copy(), self._penalised(z)
        if self.l1:
            inner = np.sign(inner) * np.maximum(abs(inner) - step * self.l1, 0)
        x[: inner.size] = inner / (1 + step * self.l2)
        return x

    def residual(self, x: Array, g: Array) -> Array:
        """g + l2 x + l1 sign(x), and the part of g beyond [-l1, l1] where x is 0."""
        out = self.grad(x)
        out += g
        if self.l1:
            inner, x = self._penalised(out), self._penalised(x)
            away = np.flatnonzero(x)
            there = inner[away] + self.l1 * np.sign(x[away])
            inner -= np.minimum(np.maximum(inner, -self.l1), self.l1)
            inner[away] = there
        return out

    def conjugate(self, u: Array) -> float:
        """|(|u| - l1)+|^2 / (2 l2) over the penalised coordinates; infinity where nothing holds against u."""
        beyond = np.maximum(abs(self._penalised(u)) - self.l1, 0)
        if u[u.size - self.free :].any() or (not self.l2 and beyond.any()):
            return np.inf
        return float(beyond @ beyond) / (2 * self.l2) if self.l2 else 0.0

    def support(self, x: Array) -> Array:
        """Mask (dim,) of coordinates away from the kink of |x|."""
        mask = x != 0 if self.l1 else np.ones(x.size, bool)
        mask[x.size - self.free :] = True
        return mask

    def kinks(self, dim: int) -> Kinks:
        """What is not smooth in each of ``dim`` coordinates."""
        l1 = np.full(dim, self.l1)
        l1[dim - self.free :] = 0
        return Kinks(l1, np.full(dim, -np.inf), np.full(dim, np.inf))

    def times(self, more: float) -> Self:
        """So many times as much."""
        return replace(self, l1=more * self.l1, l2=more * self.l2)

    def of(self, features: Array) -> Self:
        """The penalty of some features: of all the same."""
        return self

    def _penalised(self, x: Array) -> Array:
        return x[: x.size - self.free]


def Zero(free: int = 0) -> ElasticNet:
    """No penalty."""
    return ElasticNet(free=free)


def L1(l1: float, free: int = 0) -> ElasticNet:
    """l1 |x|_1."""
    return ElasticNet(l1=l1, free=free)


def L2(l2: float, free: int = 0) -> ElasticNet:
    """(l2/2) |x|^2."""
    return ElasticNet(l2=l2, free=free)


@dataclass(frozen=True)
class Box:
    """(l2/2) |x|^2 subject to lower <= x <= upper in every penalised coordinate."""

    lower: float
    upper: float
    l2: float = 0.0
    free: int = 0
    smooth: bool = False
    grows: bool = True

    def __post_init__(self) -> None:
        _nonnegative(l2=self.l2)
        if not self.lower <= self.upper:
            raise UsageError(f"the box [{self.lower:g}, {self.upper:g}] is empty: give a lower bound not above the upper one")

    def value(self, x: Array) -> float:
        """(l2/2) |x|^2 inside the box, infinity outside."""
        inner = x[: x.size - self.free]
        inside = bool(((inner >= self.lower) & (inner <= self.upper)).all())
        return self.l2 / 2 * float(inner @ inner) if inside else float("inf")

    def grad(self, x: Array) -> Array:
        """l2 x, zero on free coordinates: the gradient of the quadratic part."""
        return ElasticNet(l2=self.l2, free=self.free).grad(x)

    def prox(self, z: Array, step: float) -> Array:
        """Shrink by 1 / (1 + step * l2), then clip to the box."""
        x = z.copy()
        end = z.size - self.free
        x[:end] = np.clip(z[:end] / (1 + step * self.l2), self.lower, self.upper)
        return x

    def residual(self, x: Array, g: Array) -> Array:
        """g + l2 x without the part that pushes against an active bound."""
        out = g + self.grad(x)
        inner, at = out[: x.size - self.free], x[: x.size - self.free]
        inner[(at <= self.lower) & (inner > 0)] = 0
        inner[(at >= self.upper) & (inner < 0)] = 0
        return out

    def conjugate(self, u: Array) -> float:
        """u.z - (l2/2) |z|^2 at the best z of the box; infinity where a free coordinate of u is not 0."""
        end = u.size - self.free
        inner = u[:end]
        if u[end:].any():
            return np.inf
        with np.errstate(over="ignore"):  # of a tiny l2, which the bounds stand in for
            best = np.clip(inner / self.l2, self.lower, self.upper) if self.l2 else np.where(inner > 0, self.upper, self.lower)
        return float(inner @ best) - self.l2 / 2 * float(best @ best)

    def support(self, x: Array) -> Array:
        """Mask (dim,) of coordinates strictly inside the box."""
        mask = (x > self.lower) & (x < self.upper)
        mask[x.size - self.free :] = True
        return mask

    def kinks(self, dim: int) -> Kinks:
        """The walls about each of ``dim`` coordinates."""
        walls = np.full((2, dim), [[self.lower], [self.upper]])
        walls[:, dim - self.free :] = [[-np.inf], [np.inf]]
        return Kinks(np.zeros(dim), *walls)


def sliced(penalty: Penalty, cut: slice, dim: int) -> Penalty:
    """The penalty of the coordinates ``cut`` of dim: these add up to the whole."""
    free = max(0, cut.stop - max(cut.start, dim - penalty.free))
    return cast(Cut, penalty).cut(cut, free) if _has(type(penalty), "cut") else replace(penalty, free=free)


def portion(penalty: Penalty, x: Array, cut: slice) -> float:
    """What the coordinates ``cut`` of x (dim,) add to the penalty: these add up to the whole."""
    if _has(type(penalty), "part"):
        return cast(Inseparable, penalty).part(x, cut)
    return sliced(penalty, cut, x.size).value(x[cut])


@cache
def _has(kind: type, name: str) -> bool:
    """Whether a kind of penalty has more than a `Penalty`; asked in every round, and protocols are slow to say so."""
    return hasattr(kind, name)


@runtime_checkable
class Kinked(Penalty, Protocol):
    """A penalty that is a quadratic but for kinks and walls, coordinate by coordinate."""

    def kinks(self, dim: int) -> Kinks:
        """What is not smooth, (dim,) each."""


class Cut(Penalty, Protocol):
    """A penalty that is not the same in all coordinates."""

    def cut(self, part: slice, free: int) -> Penalty:
        """Of some coordinates, of which the last are free."""


@runtime_checkable
class Inseparable(Penalty, Protocol):
    """A penalty that is no sum over coordinates."""

    def part(self, x: Array, cut: slice) -> float:
        """What some coordinates of x (dim,) add to it."""


def along(
    penalty: Penalty, x: Array, directions: Sequence[Array], places: Sequence[tuple[int, int]]
) -> list[tuple[Array, Array]]:
    """The pairs whose inner products, times l2, are gradient and Hessian of c -> (l2/2)|x + sum_k c_k d_k|^2 at 0.

    The smooth part of a penalty, seen in a plane. places : (i, 0) for the gradient's i-th entry, (i, 1 + j) for the Hessian's.
    """
    end = x.size - penalty.free
    first = (x, *directions)
    return [(first[j][:end], directions[i][:end]) for i, j in places]


def _nonnegative(**parameters: float) -> None:
    for name, value in parameters.items():
        if not (value >= 0 and np.isfinite(value)):
            raise UsageError(f"lambda ({name}) is {value:g}: give a finite number that is not negative")
