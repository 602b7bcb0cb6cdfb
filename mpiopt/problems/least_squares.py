"""Least squares: (m - y)^2 / 2, real labels."""

import numpy as np

from mpiopt.arrays import Array, beside
from mpiopt.kernels import device, host
from mpiopt.kernels.matching import matching


class LeastSquares:
    """The family of linear regression, row by row; w is (rows,) or (0,) for all ones."""

    name = "least_squares"
    curvature_bound = 1.0
    dual_start = 0.0
    dual_epochs = staticmethod(host.dual_squares_epochs)

    def value_residual(self, m: Array, y: Array, w: Array) -> tuple[float, Array]:
        """Sum of losses, and their derivatives in the margins (rows,)."""
        if not isinstance(m, np.ndarray):
            residual = beside(m, m.size)
            return device.least_squares(m, y, w, residual), residual
        e = m - y
        weighted = e * w if w.size else e
        return 0.5 * float(weighted @ e), weighted

    def correct(self, m: Array, y: Array) -> int:
        """Rows less than 1/2 off."""
        return int((abs(m - y) < 0.5).sum())

    def curvature(self, m: Array, y: Array, w: Array) -> Array:
        """Second derivatives in the margins, (rows,)."""
        h = beside(m, m.size)
        h[:] = w if w.size else 1
        return h

    def plane(self, m: Array, p: Array, c: Array, y: Array, w: Array) -> Array:
        """Value, gradient and upper Hessian triangle of c -> sum of losses at m + c p, p : (k, rows)."""
        return matching(m).plane_squares(m, p, c, y, w)

    def bregman(self, m: Array, delta: Array, y: Array, w: Array) -> float:
        """Sum of losses at m + delta, less their linearisation at m."""
        return 0.5 * float((delta * w if w.size else delta) @ delta)

    def signs(self, y: Array) -> Array:
        """None in the dual map z = D^-1 (q + A^T (w alpha) / W): (0,) for all ones."""
        return np.empty(0)

    def conjugate(self, m: Array, y: Array, w: Array, scale: Array) -> float:
        """Sum of w_i loss*(scale_i (m_i - y_i)), loss*(u) = u y + u^2 / 2."""
        u = scale * (m - y)
        each = u * y + 0.5 * u * u
        return float(each @ w if w.size else each.sum())
