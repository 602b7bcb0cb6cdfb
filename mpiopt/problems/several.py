"""What certificates ask of losses beside `Margins`: how fast they bend, and of several classes dual variables."""

from typing import Protocol

from mpiopt.arrays import Array
from mpiopt.problems.protocols import Margins, Point


class Concordant(Margins, Protocol):
    """A loss that says how fast its second derivative changes."""

    @property
    def concordance(self) -> float | None:
        """M: a row's second derivative changes by at most M |a_i| |d| of it along a step d of x; None where there is none."""


class Several(Concordant, Protocol):
    """A loss of rows with a margin for each of several classes, that offers dual variables; see `problems.class_bound`."""

    @property
    def classes(self) -> int:
        """How many."""

    def dual_sums(self, at: Point) -> Array:
        """What has to be known of all rows for dual variables that add up to 0: sums over rows, (2, classes)."""

    def dual(self, at: Point, sums: Array | None) -> tuple[float, Array]:
        """How far dual variables are from the slopes at a point (`dual_distance`), and their image V, (dim,).

        sums : `dual_sums` of all workers; None where the variables need not add up to 0.
        """

    def dual_distance(self, at: Point, sums: Array | None, shrink: float) -> float:
        """The mean over rows of loss + conjugate - u.m, u the dual variables times ``shrink``."""
