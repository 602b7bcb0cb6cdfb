"""What sampling theory asks of the rows of a worker: how smooth each is, and how large its gradient at the optimum."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mpiopt.errors import CapabilityError
from mpiopt.problems.lifted import largest
from mpiopt.problems.problem import Point
from mpiopt.problems.protocols import Columns

SAFETY = 1.02  # power iteration ends below the eigenvalue
Bounds = np.ndarray  # (blocks + 1,) row numbers


@dataclass(frozen=True)
class RowConstants:
    """Of n rows with losses f_i, penalty included, of which f is the mean.

    whole : L of f. each : (n,) the L_i. squares : (n,) |grad f_i|^2, at the optimum. mean : |grad f|^2 there, 0 but for
    rounding where the rows are all there are. blocks, block_squares : bounds (k + 1,) -> L of the mean over the rows of each
    block (k,), and the squared length of the sum of its gradients (k,).
    """

    whole: float
    each: np.ndarray
    squares: np.ndarray
    mean: float
    blocks: Callable[[Bounds], np.ndarray]
    block_squares: Callable[[Bounds], np.ndarray]


def row_constants(loss: Columns, l2: float, x: np.ndarray) -> RowConstants:
    """The constants of a linear model's rows with l2/2 |x|^2, gradients at x (dim,), such as the optimum. Not collective.

    Every L is by power iteration, of c A^T A / n with the largest second derivative c of the loss. Raises CapabilityError where
    rows have weights: theory knows none.
    """
    if loss.weights.size:
        raise CapabilityError("laws of sampling are about rows that all count the same, and these have weights: leave them out")
    squares, mean = gradient_squares(loss, l2, x)

    def parts(bounds: Bounds) -> list[Columns]:
        return [loss.take(np.arange(lo, hi)) for lo, hi in pairwise(bounds.tolist())]

    return RowConstants(
        _smoothness(loss, l2),
        loss.row_lipschitz + l2,
        squares,
        mean,
        lambda bounds: np.array([_smoothness(part, l2) for part in parts(bounds)]),
        lambda bounds: np.array([part.rows**2 * _square(_slope(part, l2, Point(x))) for part in parts(bounds)]),
    )


def gradient_squares(loss: Columns, l2: float, x: np.ndarray) -> tuple[np.ndarray, float]:
    """|grad f_i|^2 of all rows at x (dim,), (rows,), and |grad f|^2. Not collective."""
    at = loss.point(x)
    margins = loss.known(at)
    slopes = loss.family.value_residual(loss.shifted(margins), loss.y, loss.weights)[1]
    held = x[: loss.features]  # the intercept is free
    along = margins - x[-1] if loss.intercept else margins
    squares = slopes**2 * (loss.row_squares + loss.intercept) + l2 * (2 * slopes * along + l2 * float(held @ held))
    return squares, _square(_slope(loss, l2, at))


def _smoothness(loss: Columns, l2: float) -> float:
    start = np.random.default_rng(0).standard_normal(loss.dim)
    scale = SAFETY * loss.steepest / max(loss.rows, 1)
    return scale * largest(lambda v: loss.combine(loss.margins(v)), start) + l2


def _slope(loss: Columns, l2: float, at: Point) -> np.ndarray:
    g = loss.value_grad(at)[1]
    g[: loss.features] += l2 * at.x[: loss.features]
    return g


def _square(v: np.ndarray) -> float:
    return float(v @ v)
