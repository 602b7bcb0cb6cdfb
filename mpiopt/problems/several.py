"""What certificates ask of losses beside `Margins`: how fast they bend, and of several classes dual variables."""

from typing import TYPE_CHECKING, Protocol

from mpiopt.arrays import Array
from mpiopt.problems.protocols import Margins, OfRows, Point

if TYPE_CHECKING:
    from mpiopt.losses.family import Family
    from mpiopt.problems.linear import Linear


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


class Separable(Several, OfRows, Protocol):
    """One that is the sum of a problem for each class, which have nothing in common but the rows.

    Margins are (rows, classes), coefficients (features, classes), with a line of intercepts.
    """

    @property
    def family(self) -> "Family":
        """The loss of a margin, whose label is +1 for a row's own class and -1 for the others."""

    @property
    def y(self) -> Array:
        """The rows' classes, (rows,) int64."""

    def single(self, k: int) -> "Linear":
        """The problem of one class."""
