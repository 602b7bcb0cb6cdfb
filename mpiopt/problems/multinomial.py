"""Multinomial logistic regression on sparse rows: the mean of log sum_c exp(m_c) - m_y, m = a W + b, over one worker's rows."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.host import softmax
from mpiopt.problems.class_margins import ClassMargins
from mpiopt.problems.problem import Point


@dataclass(frozen=True)
class Multinomial(ClassMargins):
    """The softmax loss; made as `ClassMargins` says. `Several`.

    Dual variables of a row are a - e_y, a in the simplex. Chances of the classes that are foretold too often are lowered in
    proportion, all rows alike, and what is left over goes to the other classes, as each lacks it. (Which is ours.)
    """

    steepest: ClassVar[float] = 0.5
    concordance: ClassVar[float | None] = sqrt(2)

    @property
    def lipschitz(self) -> float:
        """Half the longest row squared: no eigenvalue of diag(p) - p p^T exceeds 1/2."""
        return 0.5 * self.radius**2

    def value_grad(self, at: Point) -> tuple[float, Array]:
        """The mean loss and its gradient (dim,)."""
        slopes = np.empty((self.rows, self.classes))
        total = softmax.value_slopes(self._seen(at), self.y, self.weights, slopes)
        return total * self._scale, self.combined(slopes)

    def hessian(self, at: Point) -> Callable[[Array], Array]:
        """The map v -> H v; chances are computed once."""
        chances = np.empty((self.rows, self.classes))
        softmax.chances(self._seen(at), chances)

        def product(v: Array) -> Array:
            out = self._table(self.margins(v))
            softmax.bent(chances, self.weights, out, out)
            return self.combined(out)

        return product

    def diagonal(self, at: Point) -> Array:
        """The diagonal of H, (dim,)."""
        bends = np.empty((self.rows, self.classes))
        softmax.bends(self._seen(at), self.weights, bends)
        return self._squares(bends)

    def plane(self, at: Point, directions: Array, c: Array) -> Array:
        """See `Margins.plane`; directions : (k, rows * classes)."""
        table = directions.reshape(len(c), self.rows, self.classes)
        return softmax.softmax_plane(self._seen(at), table, c, self.y, self.weights) * self._scale

    def bregman(self, at: Point, margins: Array) -> float:
        """See `Margins.bregman`."""
        seen = self._seen(at)
        return softmax.softmax_bregman(seen, self._table(margins) - seen, self.weights) * self._scale

    def dual_sums(self, at: Point) -> Array:
        """See `Several.dual_sums`: the weighted sums of chances, and of rows, by class."""
        out = np.empty((2, self.classes))
        softmax.softmax_sums(self._seen(at), self.y, self.weights, out)
        return out

    def dual(self, at: Point, sums: Array | None) -> tuple[float, Array]:
        """See `Several.dual`; one pass over the rows."""
        slopes = np.empty((self.rows, self.classes))
        far = softmax.softmax_dual(self._seen(at), self.y, self.weights, *self._moved(sums), 1.0, slopes)
        return far * self._scale, self.combined(slopes)

    def dual_distance(self, at: Point, sums: Array | None, shrink: float) -> float:
        """See `Several.dual_distance`: the mean of the relative entropies of a from the chances."""
        none = np.empty((0, self.classes))
        return softmax.softmax_dual(self._seen(at), self.y, self.weights, *self._moved(sums), shrink, none) * self._scale

    def _moved(self, sums: Array | None) -> tuple[Array, Array]:
        """What is kept of each class's chances, and what each takes of the rest, (classes,)."""
        if sums is None:
            return np.ones(self.classes), np.zeros(self.classes)
        foretold, there = sums
        over = foretold > there
        kept = np.where(over, there / np.where(over, foretold, 1.0), 1.0)
        lacking = np.maximum(there - foretold, 0.0)
        return kept, lacking / (float(lacking.sum()) or 1.0)
