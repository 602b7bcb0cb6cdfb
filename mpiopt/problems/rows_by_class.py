"""A worker's rows of a separable loss of several classes, looked at class by class.

Tables are (lines, k), lines the features and one more for the intercepts, k the classes at hand; what has rows is (k, rows), so
that the rows of a class lie together and the kernels of one class serve (`losses.family`). ``which`` : (k,), the classes.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.problems.several import Separable


@dataclass(frozen=True)
class RowsByClass:
    """Not collective. matrix : the loss's, or one with its columns scaled."""

    loss: Separable
    matrix: Any  # a CSR

    @property
    def lines(self) -> int:
        """Coordinates of a class."""
        return self.loss.features + self.loss.intercept

    @property
    def scale(self) -> float:
        """One over the rows' weight, 0 where they weigh nothing."""
        return 1 / self.loss.weight if self.loss.weight > 0 else 0.0

    @cached_property
    def signs(self) -> Array:
        """+1 for the rows of a class, -1 for the others, (classes, rows) float32."""
        return np.where(np.arange(self.loss.classes)[:, None] == self.loss.y, 1, -1).astype(np.float32)

    @cached_property
    def lengths(self) -> Array:
        """The rows' squared lengths, (rows,)."""
        return self.matrix.row_squares()

    @cached_property
    def squares(self) -> Array:
        """The mean of a_ij^2 over the rows, (lines,)."""
        weights = self.loss.weights
        found = self.matrix.squares(weights if weights.size else None)
        return self.scale * (np.append(found, self.loss.weight) if self.loss.intercept else found)

    def margins(self, table: Array) -> Array:
        """Of the rows, (k, rows), from (lines, k): one pass."""
        out = np.ascontiguousarray(self.matrix.dot_many(np.ascontiguousarray(table[: self.loss.features])).T)
        return out + table[-1][:, None] if self.loss.intercept else out

    def combined(self, rows: Array) -> Array:
        """The mean over the rows of rows' numbers (k, rows) times what they hold, (lines, k): one pass."""
        beside = np.ascontiguousarray(rows.T)
        out = np.empty((self.lines, len(rows)))
        self.matrix.tdot_many(beside, out[: self.loss.features])
        if self.loss.intercept:
            out[-1] = beside.sum(0)
        out *= self.scale
        return out

    def slopes(self, which: Array, margins: Array) -> tuple[Array, Array]:
        """Mean losses (k,), and the rows' slopes, weighed, (k, rows)."""
        found = [
            self.loss.family.value_residual(m, self.signs[c], self.loss.weights) for c, m in zip(which, margins, strict=True)
        ]
        return self.scale * np.array([value for value, _ in found]), np.array([slope for _, slope in found])

    def bends(self, which: Array, margins: Array) -> Array:
        """The rows' second derivatives, weighed, (k, rows)."""
        rows = zip(which, margins, strict=True)
        return np.array([self.loss.family.curvature(m, self.signs[c], self.loss.weights) for c, m in rows])

    def plane(self, which: Array, margins: Array, images: Array, c: Array) -> Array:
        """See `Margins.plane`, of each class: (k, sums), from images (k, directions, rows) and c (k, directions)."""
        given = zip(which, margins, images, c, strict=True)
        found = [self.loss.family.plane(m, p, at, self.signs[k], self.loss.weights) for k, m, p, at in given]
        return self.scale * np.array(found)
