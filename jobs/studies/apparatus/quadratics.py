"""Quadratics for studies, as least squares on dense rows: any method that takes rows takes them."""

from collections.abc import Sequence

import numpy as np

from mpiopt.kernels.csr import CSR
from mpiopt.losses.least_squares import LeastSquares
from mpiopt.problems.linear import Linear


def dense(a: np.ndarray) -> CSR:
    """All entries of a (rows, cols), stored."""
    rows, cols = a.shape
    return CSR.of(np.arange(rows + 1) * cols, np.tile(np.arange(cols), rows), a.ravel(), a.shape)


def regression(a: np.ndarray, y: np.ndarray) -> Linear:
    """mean (a_i.x - y_i)^2 / 2 over the rows of a (rows, cols)."""
    return Linear(dense(a), y, LeastSquares())


def bowl(curvatures: np.ndarray, axes: np.ndarray, centre: np.ndarray) -> Linear:
    """(x - centre)^T H (x - centre) / 2, H = axes^T diag(curvatures) axes, from the orthonormal rows of axes (d, d)."""
    a = np.sqrt(curvatures.size * curvatures)[:, None] * axes
    return regression(a, a @ centre)


def rotation(stream: np.random.Generator, dim: int) -> np.ndarray:
    """Orthonormal rows in a random position, (dim, dim)."""
    return np.linalg.qr(stream.standard_normal((dim, dim)))[0]


def normal(losses: Sequence[Linear]) -> tuple[np.ndarray, np.ndarray]:
    """H (d, d) and b (d,) of the mean of the losses, all of the same weight: H x = b at its minimum."""
    origin = np.zeros(losses[0].dim)
    slopes = [loss.value_grad(loss.point(origin))[1] for loss in losses]
    products = [loss.hessian(loss.point(origin)) for loss in losses]
    h = np.mean([np.column_stack([product(e) for e in np.eye(origin.size)]) for product in products], axis=0)
    return h, -np.mean(slopes, axis=0)


def optimum(losses: Sequence[Linear]) -> np.ndarray:
    """Where the mean of the losses is least, (d,)."""
    return np.linalg.solve(*normal(losses))
