"""Rows of several classes with a margin for each, m = a W + b: what is the same whatever the loss of a row's margins.

x is W (features, classes) by rows and then b (classes,), so that a penalty that leaves the intercepts alone has
``free=classes``, as in `problems.softmax`. Margins, (rows, classes) of them, are linear in x: spcg, tron, lbfgs and all that
search on margins solve such losses. They certify their gap by dual variables (`problems.class_bound`).
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.kernels.csr import CSR
from mpiopt.problems.problem import Point


@dataclass(frozen=True)
class ClassMargins:
    """matrix : (rows, features); y : (rows,) int64, classes from 0 on; weights : (rows,), or (0,) for all 1.

    Raises UsageError for labels that are no such numbers, and for weights that are not one for each row, finite and at least 0.
    """

    matrix: CSR
    y: Array
    classes: int
    weights: Array = field(default_factory=lambda: np.empty(0))
    intercept: bool = False
    convex: ClassVar[bool] = True
    descends: ClassVar[bool] = False

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
    def features(self) -> int:
        """Columns of the matrix."""
        return self.matrix.shape[1]

    @property
    def margin_count(self) -> int:
        """One for each row and class."""
        return self.rows * self.classes

    @property
    def dim(self) -> int:
        """Coefficients of all classes, and their intercepts."""
        return (self.features + self.intercept) * self.classes

    @cached_property
    def weight(self) -> float:
        """The sum of the sample weights."""
        return float(self.weights.sum() if self.weights.size else self.rows)

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
        self.matrix.dot_many(x[: self.features * self.classes].reshape(-1, self.classes), table)
        if self.intercept:
            table += x[-self.classes :]
        return out

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

    def combined(self, r: Array) -> Array:
        """A^T r over the sum of weights, r : (rows, classes), its sums in the intercepts' places, (dim,)."""
        return self._beside(self.matrix.tdot_many(r), r)

    def _squares(self, h: Array) -> Array:
        """The same with the squares of A's entries."""
        return self._beside(self.matrix.squares_many(h), h)

    def _beside(self, inner: Array, r: Array) -> Array:
        """Features' sums (features, classes), and r (rows, classes) summed up for the intercepts, over the sum of weights."""
        out = np.append(inner, r.sum(0)) if self.intercept else inner.reshape(-1)
        out *= self._scale
        return out
