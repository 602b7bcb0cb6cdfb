"""Logistic loss: log(1 + exp(-y m)), labels -1/+1."""

import numpy as np

from mpiopt.arrays import Array, beside
from mpiopt.kernels import host
from mpiopt.kernels.matching import matching


class Logistic:
    """The family of logistic regression, row by row; w is (rows,) or (0,) for all ones."""

    name = "logistic"
    curvature_bound = 0.25
    dual_start = 1e-3  # every dual variable before the first epoch: most end near 0
    dual_epochs = staticmethod(host.dual_epochs)

    def value_residual(self, m: Array, y: Array, w: Array) -> tuple[float, Array]:
        """Sum of losses, and their derivatives in the margins (rows,)."""
        residual = beside(m, m.size)
        return matching(m).logistic(m, y, w, residual), residual

    def correct(self, m: Array, y: Array) -> int:
        """Rows whose margin has the sign of the label; 0 counts as -1."""
        return int(((m > 0) == (y > 0)).sum())

    def curvature(self, m: Array, y: Array, w: Array) -> Array:
        """Second derivatives in the margins, (rows,)."""
        h = beside(m, m.size)
        matching(m).curvature(m, w, h)
        return h

    def plane(self, m: Array, p: Array, c: Array, y: Array, w: Array) -> Array:
        """Value, gradient and upper Hessian triangle of c -> sum of losses at m + c p, p : (k, rows)."""
        return matching(m).plane(m, p, c, y, w)

    def bregman(self, m: Array, delta: Array, y: Array, w: Array) -> float:
        """Sum of losses at m + delta, less their linearisation at m, without cancellation."""
        return matching(m).bregman(m, delta, y, w)

    def signs(self, y: Array) -> Array:
        """What the labels are in the dual map z = D^-1 (q + A^T (w y alpha) / W), (rows,)."""
        return y

    def conjugate(self, m: Array, y: Array, w: Array, scale: Array) -> float:
        """Sum of w_i loss*(scale_i l'(m_i)): minus the entropy of alpha = scale / (1 + e^(y m)), 0 < scale <= 1.

        The dual objective of a point whose dual variables are its scaled residuals needs no more than this.
        """
        t = y * m
        e = np.exp(-abs(t))
        alpha = scale * np.where(t > 0, e, 1.0) / (1 + e)
        left = 1 - alpha
        entropy = alpha * _log(alpha) + left * _log(left)
        return float(entropy @ w if w.size else entropy.sum())


def _log(p: Array) -> Array:
    return np.log(np.maximum(p, np.finfo(p.dtype).tiny))
