"""GroupLasso: groups of coefficients that are 0 together, or none of them is.

    lambda sum_g sqrt(|g|) |x_g|  +  (l2/2) |x|^2        |x_g| the length of a group's coefficients, |g| how many these are

Yuan and Lin, Model selection and estimation in regression with grouped variables, 2006, eq. 2.1, with K_g = |g| I, for the sum
of squares there and the mean loss over rows here; in groups of one it is lambda |x|_1. Every feature is in one group. The dual
norm is max_g |u_g| / sqrt(|g|): at the start nothing moves where that of the gradient is at most lambda.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.kernels.knotted import Knots, lengths_of
from mpiopt.problems.penalties import ElasticNet


@dataclass(frozen=True, eq=False)
class GroupLasso:
    """group_l1 : lambda, above 0. groups : (features,) int64, the number of the group that a feature is in, from 0 on without a
    gap; see `of`. Beside them the ``free`` coordinates, the intercept.

    Raises UsageError for what cannot be.
    """

    group_l1: float
    l2: float
    groups: Array
    free: int = 0
    smooth: ClassVar[bool] = False
    grows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        ElasticNet(self.group_l1, self.l2)
        if not self.group_l1 > 0:
            raise UsageError(
                "lambda (group_l1) is 0, and nothing is left of the groups: give a number above 0, or an ElasticNet"
            )
        g = self.groups
        if not (g.ndim == 1 and g.dtype == np.int64 and g.size and g.min() == 0 and np.bincount(g).all()):
            raise UsageError("groups are numbers from 0 on without a gap, one for each feature, in int64: see GroupLasso.of")

    @classmethod
    def of(cls, group_l1: float, labels: Any, l2: float = 0.0, free: int = 0) -> "GroupLasso":
        """That of features (features,) whose groups have labels of any kind. Raises UsageError."""
        labels = np.asarray(labels)
        if labels.ndim != 1 or not labels.size:
            raise UsageError(f"groups have the shape {labels.shape}: give one label for each feature")
        return cls(group_l1, l2, np.unique(labels, return_inverse=True)[1].astype(np.int64), free)

    @cached_property
    def sizes(self) -> Array:
        """|g|, (groups,)."""
        return np.bincount(self.groups).astype(np.float64)

    @cached_property
    def thresholds(self) -> Array:
        """lambda sqrt(|g|), (groups,): how long a slope leaves a group at 0."""
        return self.group_l1 * np.sqrt(self.sizes)

    def lengths(self, x: Array) -> Array:
        """|x_g|, (groups,), of x (dim,)."""
        return lengths_of(x[: self.groups.size], self.groups, self.sizes.size)

    def steepness(self, u: Array) -> Array:
        """|u_g| / sqrt(|g|), (groups,), of u (dim,): the largest is its dual norm."""
        return self.lengths(u) / np.sqrt(self.sizes)

    def value(self, x: Array) -> float:
        """The penalty at x (dim,)."""
        inner = x[: self.groups.size]
        return float(self.thresholds @ self.lengths(x)) + self.l2 / 2 * float(inner @ inner)

    def part(self, x: Array, cut: slice) -> float:
        """What the coordinates ``cut`` of x (dim,) add to the value: of its group's each has the share x_j^2 / |x_g|^2."""
        cut = slice(cut.start, min(cut.stop, self.groups.size))
        inner = x[cut]
        return float((self._units(x)[cut] + self.l2 / 2 * inner) @ inner)

    def _units(self, x: Array) -> Array:
        """lambda sqrt(|g|) x_j / |x_g|, (features,), 0 in groups that are 0."""
        lengths = self.lengths(x)[self.groups]
        unit = np.divide(x[: self.groups.size], lengths, out=np.zeros(self.groups.size), where=lengths > 0)
        return unit * self.thresholds[self.groups]

    def grad(self, x: Array) -> Array:
        """l2 x, zero on free coordinates: the gradient of the quadratic part."""
        out = self.l2 * x
        out[self.groups.size :] = 0
        return out

    def prox(self, z: Array, step: float) -> Array:
        """Every group shortened by step lambda sqrt(|g|), then shrunk by 1 / (1 + step l2)."""
        lengths, x = self.lengths(z), z.copy()
        left = np.maximum(lengths - step * self.thresholds, 0)
        keep = np.divide(left, lengths, out=np.full(left.size, float(step == 0)), where=lengths > 0)
        x[: self.groups.size] *= keep[self.groups] / (1 + step * self.l2)
        return x

    def residual(self, x: Array, g: Array) -> Array:
        """g + l2 x + lambda sqrt(|g|) x_g / |x_g|, and of groups that are 0 what of g is longer than lambda sqrt(|g|)."""
        out = self.grad(x)
        out += g
        lengths, away = self.lengths(out), self.lengths(x) > 0
        beyond = np.divide(np.maximum(lengths - self.thresholds, 0), lengths, out=np.zeros(away.size), where=lengths > 0)
        inner = out[: self.groups.size]
        inner *= np.where(away, 1.0, beyond)[self.groups]
        inner += self._units(x)
        return out

    def conjugate(self, u: Array) -> float:
        """sum_g (|u_g| - lambda sqrt(|g|))+^2 / (2 l2); infinity where nothing holds against u."""
        beyond = np.maximum(self.lengths(u) - self.thresholds, 0)
        if u[self.groups.size :].any() or (not self.l2 and beyond.any()):
            return np.inf
        return float(beyond @ beyond) / (2 * self.l2) if self.l2 else 0.0

    def knots(self, dim: int) -> Knots:
        """What is not smooth in ``dim`` coordinates; each of the free ones is a group of its own."""
        free = np.arange(dim - self.groups.size)
        return Knots(
            np.append(self.groups, self.sizes.size + free),
            np.append(self.thresholds, np.zeros(free.size)),
        )

    def support(self, x: Array) -> Array:
        """Mask (dim,) of coordinates whose group is not 0."""
        return np.append((self.lengths(x) > 0)[self.groups], np.ones(x.size - self.groups.size, bool))
