"""Games and variational inequalities: the z with R(z') - R(z) + F(z).(z' - z) >= 0 for all z', R the penalty.

A game min over x, max over y of f(x, y) is that of z = (x, y), F = (f_x, -f_y), and R keeps the players in their sets. Where f
is convex in x and concave in y F is monotone, (F(z) - F(z')).(z - z') >= 0. F is the mean of the F_i of all rows.

    Affine    F_i(z) = A_i z + b_i: bilinear and quadratic games
    Robust    logistic regression, its rows all displaced by what is worst for it
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from mpiopt.arrays import Array
from mpiopt.problems.problem import Point
from mpiopt.problems.protocols import Owned


class Operator(Owned, Protocol):
    """F_w: the mean operator of one worker's rows. Not collective."""

    @property
    def first(self) -> int:
        """Leading coordinates of z, those of the first player, who minimises."""

    @property
    def lipschitz(self) -> float:
        """By how much at most the F_i stretch distances."""

    def field(self, at: Point, rows: Array | None = None) -> Array:
        """The mean of F_i(z) over ``rows`` (b,), which may repeat, None for all: (dim,), a new array; 0 without rows."""


class Rowed:
    """What the operators of this file share: rows of weight 1, and nothing beside a point."""

    rows: int

    @property
    def weight(self) -> float:
        """Every row weighs 1."""
        return float(self.rows)

    def point(self, z: Array) -> Point:
        """z (dim,) alone."""
        return Point(z)


@dataclass(frozen=True, eq=False)
class Affine(Rowed):
    """A_i z + b_i; matrices : (rows, dim, dim), offsets : (rows, dim). Monotone where A_i + A_i^T has no eigenvalue below 0."""

    matrices: Array
    offsets: Array
    first: int

    @property
    def rows(self) -> int:  # type: ignore[override]
        """Rows of this worker."""
        return len(self.offsets)

    @property
    def dim(self) -> int:
        """The length of z."""
        return self.offsets.shape[1]

    @cached_property
    def row_lipschitz(self) -> Array:
        """The largest singular values of the A_i, (rows,)."""
        return np.linalg.norm(self.matrices, 2, axis=(1, 2))

    @property
    def lipschitz(self) -> float:
        """The largest of them."""
        return float(self.row_lipschitz.max(initial=0.0))

    def field(self, at: Point, rows: Array | None = None) -> Array:
        """See `Operator.field`."""
        a, b = (self.matrices, self.offsets) if rows is None else (self.matrices[rows], self.offsets[rows])
        return (a @ at.x + b).sum(axis=0) / max(len(b), 1)

    def part(self, lo: int, hi: int) -> "Affine":
        """The rows lo <= i < hi, views."""
        return Affine(self.matrices[lo:hi], self.offsets[lo:hi], self.first)


@dataclass(frozen=True, eq=False)
class Robust(Rowed):
    """Logistic losses of rows a_i + y, y the second player's: F_i(x, y) = (s_i (a_i + y), -s_i x), s_i the loss's slope.

    a : (rows, features); signs : (rows,) of -1 and 1. longest : the lengths that x and y keep to, for ``lipschitz``. The loss
    is convex in y too, which who maximises has to pay for: monotone where R has at least |x|^2 / 8 |y|^2.
    """

    a: Array
    signs: Array
    longest: tuple[float, float]

    @property
    def rows(self) -> int:  # type: ignore[override]
        """Rows of this worker."""
        return len(self.signs)

    @property
    def first(self) -> int:
        """The coefficients."""
        return self.a.shape[1]

    @property
    def dim(self) -> int:
        """Coefficients and displacements."""
        return 2 * self.a.shape[1]

    @cached_property
    def lipschitz(self) -> float:
        """(|a_i| + |y| + |x|)^2 / 4 + 1 at most: second derivatives of the loss are at most 1/4, its slopes 1."""
        if not self.rows:
            return 0.0
        return float((np.linalg.norm(self.a, axis=1).max() + sum(self.longest)) ** 2 / 4 + 1)

    def field(self, at: Point, rows: Array | None = None) -> Array:
        """See `Operator.field`."""
        a, signs = (self.a, self.signs) if rows is None else (self.a[rows], self.signs[rows])
        x, y = at.x[: self.first], at.x[self.first :]
        slopes = -signs / (1 + np.exp(np.clip(signs * (a @ x + y @ x), -700, 700))) / max(len(signs), 1)
        mean = slopes.sum()
        return np.concatenate([slopes @ a + mean * y, -mean * x])

    def part(self, lo: int, hi: int) -> "Robust":
        """The rows lo <= i < hi, views."""
        return Robust(self.a[lo:hi], self.signs[lo:hi], self.longest)
