"""Multinomial logistic regression on sparse rows: the mean of log sum_c exp(m_c) - m_y, m = a W + b, over one worker's rows.

x is W (features, classes) by rows and then b (classes,), so that a penalty that leaves the intercepts alone has
``free=classes``, as in `problems.softmax`. It is a loss of margins, (rows, classes) of them, linear in x: spcg, tron, lbfgs and
all that search on margins solve it. It certifies its gap by dual variables (`problems.class_bound`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import sqrt
from typing import ClassVar, Self

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.kernels.csr import CSR
from mpiopt.kernels.host import softmax
from mpiopt.problems.problem import Point


@dataclass(frozen=True)
class Multinomial:
    """matrix : (rows, features); y : (rows,) int64, classes from 0 on; weights : (rows,), or (0,) for all 1. `Margins`.

    Raises UsageError for labels that are no such numbers, and for weights that are not one for each row, finite and at least 0.
    """

    matrix: CSR
    y: Array
    classes: int
    weights: Array = field(default_factory=lambda: np.empty(0))
    intercept: bool = False
    convex: ClassVar[bool] = True
    descends: ClassVar[bool] = False
    steepest: ClassVar[float] = 0.5
    concordance: ClassVar[float | None] = sqrt(2)

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise UsageError(f"{self.classes} classes are none to tell apart: give at least 2")
        labels = self.y.shape == (self.rows,) and self.y.dtype == np.int64
        if not labels or (self.rows and not 0 <= int(self.y.min()) <= int(self.y.max()) < self.classes):
            raise UsageError(f"the labels are not a class from 0 to {self.classes - 1} for each of {self.rows} rows, in int64")
        if self.weights.size and not (
            self.weights.shape == (self.rows,) and 0 <= self.weights.min() and np.isfinite(self.weights.max())
        ):
            raise UsageError(f"the weights are not one for each of {self.rows} rows, finite and at least 0")

    @property
    def rows(self) -> int:
        """Rows of this worker."""
        return self.matrix.shape[0]

    @property
    def margin_count(self) -> int:
        """One for each row and class."""
        return self.rows * self.classes

    @property
    def dim(self) -> int:
        """Coefficients of all classes, and their intercepts."""
        return (self.matrix.shape[1] + self.intercept) * self.classes

    @property
    def weight(self) -> float:
        """The sum of the sample weights."""
        return float(self.weights.sum() if self.weights.size else self.rows)

    @property
    def lipschitz(self) -> float:
        """Half the longest row squared: no eigenvalue of diag(p) - p p^T exceeds 1/2."""
        return 0.5 * self.radius**2

    @cached_property
    def radius(self) -> float:
        """The longest row, with the intercept's 1."""
        longest = float(self.matrix.row_squares().max()) if self.rows else 0.0
        return float(np.sqrt(longest + self.intercept))

    def point(self, x: Array) -> Point:
        """x with its margins."""
        return Point(x, self.margins(x))

    def margins(self, x: Array, out: Array | None = None) -> Array:
        """a W + b, (rows * classes,)."""
        out = np.empty(self.margin_count) if out is None else out
        table = self._table(out)
        self.matrix.dot_many(x[: self.matrix.shape[1] * self.classes].reshape(-1, self.classes), table)
        if self.intercept:
            table += x[-self.classes :]
        return out

    def value_grad(self, at: Point) -> tuple[float, Array]:
        """The mean loss and its gradient (dim,)."""
        slopes = np.empty((self.rows, self.classes))
        total = softmax.value_slopes(self._seen(at), self.y, self.weights, slopes)
        return total * self._scale, self._combine(slopes)

    def hessian(self, at: Point) -> Callable[[Array], Array]:
        """The map v -> H v."""
        seen = self._seen(at)

        def product(v: Array) -> Array:
            out = np.empty((self.rows, self.classes))
            softmax.bent(seen, self.weights, self._table(self.margins(v)), out)
            return self._combine(out)

        return product

    def diagonal(self, at: Point) -> Array:
        """The diagonal of H, (dim,)."""
        bends = np.empty((self.rows, self.classes))
        softmax.bends(self._seen(at), self.weights, bends)
        return self._beside(self.matrix.squares_many(bends), bends)

    def plane(self, at: Point, directions: Array, c: Array) -> Array:
        """See `Margins.plane`; directions : (k, rows * classes)."""
        table = directions.reshape(len(c), self.rows, self.classes)
        return softmax.softmax_plane(self._seen(at), table, c, self.y, self.weights) * self._scale

    def bregman(self, at: Point, margins: Array) -> float:
        """See `Margins.bregman`."""
        seen = self._seen(at)
        return softmax.softmax_bregman(seen, self._table(margins) - seen, self.weights) * self._scale

    def class_sums(self, at: Point) -> Array:
        """See `Several.class_sums`."""
        out = np.empty((2, self.classes))
        softmax.softmax_sums(self._seen(at), self.y, self.weights, out)
        return out

    def dual(self, at: Point, kept: Array, taken: Array) -> tuple[float, Array]:
        """See `Several.dual`; one pass over the rows."""
        slopes = np.empty((self.rows, self.classes))
        far = softmax.softmax_dual(self._seen(at), self.y, self.weights, kept, taken, 1.0, slopes)
        return far * self._scale, self._combine(slopes)

    def dual_distance(self, at: Point, kept: Array, taken: Array, shrink: float) -> float:
        """See `Several.dual_distance`."""
        none = np.empty((0, self.classes))
        return softmax.softmax_dual(self._seen(at), self.y, self.weights, kept, taken, shrink, none) * self._scale

    def head(self, rows: int) -> Self:
        """The loss of the first rows; nothing is copied."""
        return replace(self, matrix=self.matrix.rows_slice(0, rows), y=self.y[:rows], weights=self.weights[:rows])

    @property
    def _scale(self) -> float:
        return 1 / self.weight if self.weight > 0 else 0.0

    def _table(self, margins: Array) -> Array:
        return margins.reshape(self.rows, self.classes)

    def _seen(self, at: Point) -> Array:
        return self._table(self.margins(at.x) if at.margins is None else at.margins)

    def _combine(self, r: Array) -> Array:
        """A^T r over the sum of weights, the sums of r in the intercepts' places, (dim,)."""
        return self._beside(self.matrix.tdot_many(r), r)

    def _beside(self, inner: Array, r: Array) -> Array:
        """Features' sums (features, classes), and r (rows, classes) summed up for the intercepts, over the sum of weights."""
        out = np.append(inner, r.sum(0)) if self.intercept else inner.reshape(-1)
        out *= self._scale
        return out
