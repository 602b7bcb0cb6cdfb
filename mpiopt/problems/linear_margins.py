"""The margins of a linear model's rows, and all that its loss is by them: value, gradient, Hessian, what is known of its bend.

Whatever depends on rows alone goes through the margins m = A x + b, which travel with the point and stay linear in x; a row's
offset o_i, such as the logarithm of an exposure, is added where its loss is taken. A family (`mpiopt.losses`) knows the loss of
one row; this class knows the matrix, the weights, the offsets and the intercept.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, Self

import numpy as np

from mpiopt.arrays import Array, beside, is_array, namespace
from mpiopt.errors import UsageError
from mpiopt.kernels.csr import CSR
from mpiopt.kernels.device.csr import DeviceCSR
from mpiopt.kernels.device.launch import library
from mpiopt.losses.family import Family
from mpiopt.losses.labels import LARGEST, bounded
from mpiopt.problems.buffers import Buffers
from mpiopt.problems.problem import Point


@dataclass(frozen=True)
class LinearMargins:
    """One worker's rows of a linear model, and what methods that search on margins ask of them; `Margins`.

    matrix : CSR (rows, features); y : (rows,) labels, such as the family takes; weights : (rows,), or (0,) for all 1; offset :
    (rows,), or (0,) for none. On a GPU all of them are, as is every x and every vector made here, in the type of the matrix's
    vectors.
    """

    matrix: CSR | DeviceCSR
    y: Array
    family: Family
    weights: Array = field(default_factory=lambda: np.empty(0))
    intercept: bool = False
    offset: Array = field(default_factory=lambda: np.empty(0))
    weight: float = field(init=False)
    convex: ClassVar[bool] = True
    buffers: ClassVar[Buffers] = {}

    def __post_init__(self) -> None:
        """Raises UsageError for what is not one number for each row: kernels trust lengths."""
        for name in ("y", "weights", "offset"):
            values = getattr(self, name)
            if not is_array(values) or (values.shape != (self.rows,) and (name == "y" or values.size)):
                told = f"of shape {values.shape}" if is_array(values) else f"a {type(values).__name__}"
                raise UsageError(f"{name} is {told}, and the matrix has {self.rows} rows: give an array of one number for each")
        for name in ("weights", "offset"):
            if not getattr(self, name).size:
                object.__setattr__(self, name, beside(self.y, 0))
        total = float(self.weights.sum() if self.weights.size else self.rows)
        object.__setattr__(self, "weight", total)

    def unsound(self) -> str:
        """What is wrong with what stands beside the rows, "" for nothing; a `CSR` is looked at where it is made."""
        if not self.family.labels.fit(self.y):
            return f"its labels are not what the {self.family.name} loss takes: {self.family.labels.asked}"
        if self.weights.size and not 0 <= float(self.weights.min()) <= float(self.weights.max()) < np.inf:
            return "its weights are not all finite and at least 0"
        if self.offset.size and not bounded(self.offset):
            return f"its offsets are not all finite and at most {LARGEST:g} in size"
        return ""

    @property
    def rows(self) -> int:
        """Rows of this worker."""
        return self.matrix.shape[0]

    @property
    def margin_count(self) -> int:
        """One for each row."""
        return self.rows

    @property
    def features(self) -> int:
        """Columns of the matrix."""
        return self.matrix.shape[1]

    @property
    def dim(self) -> int:
        """Features, and one for the intercept."""
        return self.features + self.intercept

    @property
    def sequential(self) -> bool:
        """Whether row after row can be visited: on the CPU, not on a GPU."""
        return isinstance(self.matrix, CSR)

    @property
    def _scale(self) -> float:
        return 1 / self.weight if self.weight > 0 else 0.0

    # ------------------------------------------------------------------------------------ the matrix with its intercept
    def margins(self, x: Array, out: Array | None = None) -> Array:
        """A x + b, (rows,)."""
        out = self.matrix.dot(x[: self.features], out)
        if self.intercept:
            out += x[-1]
        return out

    def combine(self, r: Array, scale: float = 1.0) -> Array:
        """scale * A^T r, the sum of r in the intercept's place, (dim,)."""
        out = beside(r, self.dim)
        self.matrix.tdot(r, out[: self.features])
        if self.intercept:
            out[-1] = r.sum()
        if scale != 1.0:
            out *= scale
        return out

    # ------------------------------------------------------------------------------------ Loss
    def point(self, x: Array) -> Point:
        """x with its margins; the origin needs no pass over the rows."""
        return Point(x, self.margins(x) if x.any() else beside(x, self.rows, 0))

    def known(self, at: Point) -> Array:
        """The margins at a point, computed where it does not carry them."""
        return self.margins(at.x) if at.margins is None else at.margins

    def shifted(self, margins: Array) -> Array:
        """What the rows' losses are taken at, (rows,): margins, with the offsets where there are any."""
        return margins + self.offset if self.offset.size else margins

    def _seen(self, at: Point) -> Array:
        return self.shifted(self.known(at))

    def value(self, at: Point) -> float:
        """f_w(x)."""
        return self.family.value_residual(self._seen(at), self.y, self.weights)[0] * self._scale

    def value_grad(self, at: Point, rows: Array | None = None) -> tuple[float, Array]:
        """f_w(x) and its gradient (dim,): one pass over the matrix where the margins are known, two otherwise.

        rows : (b,) row numbers to take the weighted mean over instead of all; they may repeat.
        """
        if rows is not None:
            rows = namespace(self.y).asarray(rows)
            return self.take(rows).value_grad(Point(at.x, None if at.margins is None else at.margins[rows]))
        value, residual = self.family.value_residual(self._seen(at), self.y, self.weights)
        return value * self._scale, self.combine(residual, self._scale)

    def hessian(self, at: Point) -> Callable[[Array], Array]:
        """The map v -> H_w(x) v; the rows' curvatures are computed once."""
        h = self.family.curvature(self._seen(at), self.y, self.weights)
        h *= self._scale

        def product(v: Array) -> Array:
            if not self.intercept:
                return self.matrix.hvp(h, v)
            return self.combine(h * self.margins(v))

        return product

    def diagonal(self, at: Point) -> Array:
        """The diagonal of H_w(x), (dim,)."""
        return self.squares(self.family.curvature(self._seen(at), self.y, self.weights))

    def squares(self, h: Array) -> Array:
        """The diagonal of A^T diag(h) A / W, (dim,), from h (rows,), overwritten."""
        h *= self._scale
        out = beside(h, self.dim)
        out[: self.features] = self.matrix.squares(h)
        if self.intercept:
            out[-1] = h.sum()
        return out

    def triangle(self, at: Point) -> Array:
        """The upper triangle of H_w(x), row by row, (dim (dim + 1) / 2,)."""
        h = self.family.curvature(self._seen(at), self.y, self.weights)
        h *= self._scale
        inner = self.matrix.gram(h)
        if not self.intercept:
            return inner
        ends = np.cumsum(np.arange(self.features, 0, -1))  # of the lines, each of which is one longer now
        out = beside(inner, inner.size + self.dim)
        last = ends + np.arange(self.features)
        rest = np.ones(out.size, bool)
        rest[last] = rest[-1] = False
        out[namespace(out).asarray(rest)] = inner
        out[namespace(out).asarray(last)] = self.matrix.tdot(h)
        out[-1] = h.sum()
        return out

    def plane(self, at: Point, directions: Array, c: Array) -> Array:
        """Value, gradient (k) and upper Hessian triangle of c -> f_w(x + sum_k c_k d_k).

        directions : (k, rows) margins of the d_k.
        """
        return self.family.plane(self._seen(at), directions, c, self.y, self.weights) * self._scale

    def bregman(self, at: Point, margins: Array) -> float:
        """f_w(x') - f_w(x) - grad f_w(x).(x' - x) without cancellation; ``margins`` (rows,) are those of x'."""
        return self.family.bregman(self._seen(at), margins - self.known(at), self.y, self.weights) * self._scale

    @property
    def concordance(self) -> float | None:
        """That of the family."""
        return self.family.concordance

    @cached_property
    def radius(self) -> float:
        """The longest row, max |(a_i, 1)| with an intercept."""
        longest = float(self.row_squares.max()) if self.rows else 0.0
        return float(np.sqrt(longest + self.intercept))

    @property
    def row_lipschitz(self) -> Array:
        """c |(a_i, 1)|^2, c the largest second derivative in a margin (`steepest`), (rows,)."""
        return self.steepest * (self.row_squares + self.intercept)

    @property
    def lipschitz(self) -> float:
        """What no eigenvalue of a Hessian exceeds, c R^2 for a loss with a largest curvature c; else infinity."""
        return self.family.curvature_bound * self.radius**2 if self.radius else 0.0

    @cached_property
    def steepest(self) -> float:
        """The largest second derivative of a row's loss: its bound, or without one the largest of these rows where x is 0."""
        if np.isfinite(self.family.curvature_bound) or not self.rows:
            return min(self.family.curvature_bound, np.finfo(float).max)
        return float(self.family.curvature(self.shifted(beside(self.y, self.rows, 0)), self.y, self.weights[:0]).max())

    @cached_property
    def row_squares(self) -> Array:
        """|a_i|^2, (rows,) float64."""
        return self.matrix.row_squares()

    def take(self, rows: Array) -> Self:
        """The loss of the given rows (b,), copied."""
        rows = namespace(self.y).asarray(rows)
        weights, offset = (each[rows] if each.size else each for each in (self.weights, self.offset))
        return replace(self, matrix=self.matrix.take(rows), y=self.y[rows], weights=weights, offset=offset)

    def on_device(self, vector: type = np.float64, atomic: bool = False) -> Self:
        """A copy on the current GPU, for vectors of the given type; ``atomic`` as in `DeviceCSR`. Raises UsageError."""
        place = library().asarray
        matrix = self.matrix if isinstance(self.matrix, DeviceCSR) else DeviceCSR.of(self.matrix, vector, atomic)
        y, weights, offset = (place(np.asarray(rows, vector)) for rows in (self.y, self.weights, self.offset))
        return replace(self, matrix=matrix, y=y, weights=weights, offset=offset)

    def head(self, rows: int) -> Self:
        """The loss of the first ``rows`` rows: views, nothing is copied."""
        matrix = self.matrix.rows_slice(0, rows)
        return replace(self, matrix=matrix, y=self.y[:rows], weights=self.weights[:rows], offset=self.offset[:rows])
