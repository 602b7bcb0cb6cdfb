"""Small landscapes to watch rules and methods on. They are Loss losses of one row, the same on every worker.

    Beale         (1.5 - x + x y)^2 + (2.25 - x + x y^2)^2 + (2.625 - x + x y^3)^2
    Quadratic     sum_i a_i x_i^2;  SADDLE: x^2 - y^2,  VALLEY: 0.01 x^2 + y^2
    DoubleWell    (x^2 - 1)^2 + y^2, two minima of the same depth with a saddle of height 1 between them

Each knows its ``minima`` (none of the saddle), the ``box`` to plot, (low, high) per axis, and a ``start`` worth watching.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

from mpiopt.arrays import Array, namespace
from mpiopt.errors import UsageError
from mpiopt.problems.problem import Point

Pair = tuple[float, float]


class Landscape:
    """What all landscapes share: one row of weight 1, which keeps nothing beside a point."""

    weight = 1.0

    @property
    def rows(self) -> int:
        """One."""
        return 1

    def point(self, x: Array) -> Point:
        """x (dim,) alone."""
        return Point(x)


@dataclass(frozen=True)
class Quadratic(Landscape):
    """sum_i a_i x_i^2; the gradient is 2 a x and the Hessian 2 diag(a). Raises UsageError unless all a_i are finite numbers.

    a : one number per coordinate. In ``box`` every axis is the same.
    """

    a: tuple[float, ...]
    start: tuple[float, ...]
    half_width: float = 1.0  # of the box around 0

    def __post_init__(self) -> None:
        if not self.a or len(self.a) != len(self.start) or not all(isfinite(a) for a in self.a):
            raise UsageError(
                f"the quadratic has coefficients {self.a} and start {self.start}: give one finite number per coordinate in each"
            )

    @property
    def dim(self) -> int:
        """The number of coefficients."""
        return len(self.a)

    @property
    def box(self) -> tuple[Pair, ...]:
        """A cube around 0."""
        return ((-self.half_width, self.half_width),) * self.dim

    @property
    def minima(self) -> tuple[tuple[float, ...], ...]:
        """0, where all coefficients are positive."""
        return ((0.0,) * self.dim,) if min(self.a) > 0 else ()

    def value_grad(self, at: Point) -> tuple[float, Array]:
        """The value, and the gradient (dim,) in the type of x."""
        half = self._coefficients(at.x) * at.x
        return float(half @ at.x), 2 * half

    def hessian(self, at: Point) -> Callable[[Array], Array]:
        """v -> 2 a v."""
        diagonal = self.diagonal(at)
        return lambda v: diagonal * v

    def diagonal(self, at: Point) -> Array:
        """2 a, (dim,)."""
        return 2 * self._coefficients(at.x)

    def _coefficients(self, x: Array) -> Array:
        return namespace(x).asarray(self.a, x.dtype)


SADDLE = Quadratic((1.0, -1.0), (1.0, 0.01), 1.5)
VALLEY = Quadratic((0.01, 1.0), (-10.0, 1.0), 11.0)


class Plane(Landscape, ABC):
    """A landscape over the plane, given by its value, gradient and Hessian at (x, y) in ordinary numbers."""

    dim = 2

    @abstractmethod
    def surface(self, x: float, y: float) -> tuple[float, Pair, tuple[Pair, Pair]]:
        """f, (f_x, f_y), ((f_xx, f_xy), (f_xy, f_yy))."""

    def value_grad(self, at: Point) -> tuple[float, Array]:
        """The value, and the gradient (2,) in the type of x."""
        value, slope, _ = self.surface(*at.x.tolist())
        return value, namespace(at.x).asarray(slope, at.x.dtype)

    def hessian(self, at: Point) -> Callable[[Array], Array]:
        """v -> H v for the symmetric 2 by 2 matrix H."""
        matrix = self._matrix(at)
        return lambda v: matrix @ v

    def diagonal(self, at: Point) -> Array:
        """The diagonal of the Hessian, (2,)."""
        return self._matrix(at).diagonal().copy()

    def _matrix(self, at: Point) -> Array:
        return namespace(at.x).asarray(self.surface(*at.x.tolist())[2], at.x.dtype)


@dataclass(frozen=True)
class Beale(Plane):
    """A curved valley between steep walls.

    Beale, On an iterative method for finding a local minimum of a function of more than one variable, 1958.
    """

    start: ClassVar[Pair] = (1.0, 1.5)
    box: ClassVar[tuple[Pair, Pair]] = ((-4.5, 4.5), (-4.5, 4.5))
    minima: ClassVar[tuple[Pair, ...]] = ((3.0, 0.5),)

    def surface(self, x: float, y: float) -> tuple[float, Pair, tuple[Pair, Pair]]:
        """Three squares of r = c + x (y^k - 1), k = 1, 2, 3."""
        value = f_x = f_y = f_xx = f_xy = f_yy = 0.0
        for k, c in ((1, 1.5), (2, 2.25), (3, 2.625)):
            r_x, r_xy = y**k - 1, k * y ** (k - 1)
            r, r_y = c + x * r_x, x * r_xy
            r_yy = x * k * (k - 1) * y ** max(k - 2, 0)
            value, f_x, f_y = value + r * r, f_x + 2 * r * r_x, f_y + 2 * r * r_y
            f_xx, f_xy, f_yy = f_xx + 2 * r_x * r_x, f_xy + 2 * (r_x * r_y + r * r_xy), f_yy + 2 * (r_y * r_y + r * r_yy)
        return value, (f_x, f_y), ((f_xx, f_xy), (f_xy, f_yy))


@dataclass(frozen=True)
class DoubleWell(Plane):
    """Two wells alike: a worker in each, and their mean sits on the saddle.

    Teng, Gao, Chalus, Choromanska, Goldfarb, Weller, Leader stochastic gradient descent, NeurIPS 2019, section 2, for why
    symmetry traps an average and not a leader.
    """

    start: ClassVar[Pair] = (0.1, 1.0)
    box: ClassVar[tuple[Pair, Pair]] = ((-1.8, 1.8), (-1.8, 1.8))
    minima: ClassVar[tuple[Pair, ...]] = ((-1.0, 0.0), (1.0, 0.0))

    def surface(self, x: float, y: float) -> tuple[float, Pair, tuple[Pair, Pair]]:
        """(x^2 - 1)^2 + y^2."""
        well = x * x - 1
        return well * well + y * y, (4 * x * well, 2 * y), ((12 * x * x - 4, 0.0), (0.0, 2.0))


LANDSCAPES = {"beale": Beale(), "saddle": SADDLE, "valley": VALLEY, "double-well": DoubleWell()}
