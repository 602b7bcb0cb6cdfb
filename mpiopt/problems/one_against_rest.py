"""One class against the rest, for every class, as one problem: the mean over rows of sum_c loss(m_c, +1 for y = c, else -1).

Minima are those of the single problems. Margins, messages and passes over the rows are shared (Rifkin, Klautau, In defense of
one-vs-all classification, JMLR 2004, for what it is good for).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mpiopt.arrays import Array
from mpiopt.losses.family import Family
from mpiopt.losses.logistic import Logistic
from mpiopt.problems.class_margins import ClassMargins
from mpiopt.problems.linear import Linear
from mpiopt.problems.problem import Point


@dataclass(frozen=True)
class OneAgainstRest(ClassMargins):
    """The sum of the classes' losses; made as `ClassMargins` says. family : a loss of two classes. `Several`."""

    family: Family = field(default_factory=Logistic, kw_only=True)

    @property
    def steepest(self) -> float:
        """The largest second derivative in a margin."""
        return self.family.curvature_bound

    @property
    def concordance(self) -> float | None:
        """That of the family: the classes have margins of their own."""
        return self.family.concordance

    @property
    def lipschitz(self) -> float:
        """The largest curvature times the longest row squared."""
        return self.family.curvature_bound * self.radius**2 if self.radius else 0.0

    @cached_property
    def signs(self) -> Array:
        """+1 for a row's own class, -1 for the others, float32 (rows * classes,)."""
        out = np.full((self.rows, self.classes), -1, np.float32)
        out[np.arange(self.rows), self.y] = 1
        return out.reshape(-1)

    def single(self, k: int) -> Linear:
        """The problem of one class; nothing but the labels is copied."""
        signs = np.where(self.y == k, 1, -1).astype(np.float32)
        return Linear(self.matrix, signs, self.family, self.weights, self.intercept)

    @cached_property
    def _weights(self) -> Array:
        """The rows' weights for every margin, (rows * classes,), or (0,)."""
        return np.repeat(self.weights, self.classes)

    def _flat(self, at: Point) -> Array:
        return self._seen(at).reshape(-1)

    def value_grad(self, at: Point) -> tuple[float, Array]:
        """The mean loss and its gradient (dim,)."""
        value, residual = self.family.value_residual(self._flat(at), self.signs, self._weights)
        return value * self._scale, self.combined(self._table(residual))

    def hessian(self, at: Point) -> Callable[[Array], Array]:
        """The map v -> H v; curvatures are computed once."""
        h = self.family.curvature(self._flat(at), self.signs, self._weights)
        return lambda v: self.combined(self._table(h * self.margins(v)))

    def diagonal(self, at: Point) -> Array:
        """The diagonal of H, (dim,)."""
        return self._squares(self._table(self.family.curvature(self._flat(at), self.signs, self._weights)))

    def plane(self, at: Point, directions: Array, c: Array) -> Array:
        """See `Margins.plane`; directions : (k, rows * classes)."""
        return self.family.plane(self._flat(at), directions, c, self.signs, self._weights) * self._scale

    def bregman(self, at: Point, margins: Array) -> float:
        """See `Margins.bregman`."""
        seen = self._flat(at)
        return self.family.bregman(seen, margins - seen, self.signs, self._weights) * self._scale

    def dual_sums(self, at: Point) -> Array:
        """See `Several.dual_sums`: the sums of residuals above and below 0, by class."""
        residual = self._table(self.family.value_residual(self._flat(at), self.signs, self._weights)[1])
        return np.array([np.maximum(residual, 0).sum(0), np.maximum(-residual, 0).sum(0)])

    def dual(self, at: Point, sums: Array | None) -> tuple[float, Array]:
        """See `Several.dual`; one pass over the rows."""
        residual, scale = self._scaled(at, sums)
        return self.dual_distance(at, sums, 1.0), self.combined(self._table(scale * residual))

    def dual_distance(self, at: Point, sums: Array | None, shrink: float) -> float:
        """See `Several.dual_distance`."""
        seen, (residual, scale) = self._flat(at), self._scaled(at, sums)
        scale *= shrink
        total = self.family.value_residual(seen, self.signs, self._weights)[0]
        total += self.family.conjugates(seen, self.signs, self._weights, scale) - float((scale * residual) @ seen)
        return max(total, 0.0) * self._scale

    def _scaled(self, at: Point, sums: Array | None) -> tuple[Array, Array]:
        """The residuals, and their factors, by which those of every class add up to 0, (rows * classes,) each."""
        residual = self.family.value_residual(self._flat(at), self.signs, self._weights)[1]
        if sums is None:
            return residual, np.ones(residual.size)
        up, down = (np.minimum(1.0, other / np.where(one > 0, one, 1.0)) for one, other in (sums, sums[::-1]))
        return residual, np.where(self._table(residual) > 0, up, down).reshape(-1)
