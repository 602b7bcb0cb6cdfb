"""Row-wise kernels of the linear models on the GPU; see `kernels.margins` for what they compute.

m, y, w, residual, h, delta : (rows,) of one type, float64 or float32, w also (0,) for all ones. Sums are kept in float64
with compensation, in an order that depends on the number of rows alone, and come back to the host: each call waits for
the card once.
"""

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.launch import THREADS, blocks_for, kernel, library, run, same_kind, sums

WIDEST = 4  # directions that a plane kernel is compiled for


def logistic(m: Array, y: Array, w: Array, residual: Array) -> float:
    """sum_i w_i log(1 + exp(-y_i m_i)); residual_i = its derivative in m_i, overwritten."""
    return _value("logistic_residual", m, y, w, residual)


def least_squares(m: Array, y: Array, w: Array, residual: Array) -> float:
    """sum_i w_i (m_i - y_i)^2 / 2; residual_i = its derivative in m_i, overwritten."""
    return _value("squares_residual", m, y, w, residual)


def _value(name: str, m: Array, y: Array, w: Array, residual: Array) -> float:
    same_kind(m, y, residual, weights=w)
    return float(sums("margins", name, 1, m.dtype, m.size, m, y, w, _given(w), residual)[0])


def curvature(m: Array, w: Array, h: Array) -> None:
    """h_i = w_i sigma'(m_i), the logistic loss's second derivative, overwritten."""
    same_kind(m, h, weights=w)
    run(kernel("margins", "logistic_curvature", m.dtype), blocks_for(m.size) * THREADS, np.int64(m.size), m, w, _given(w), h)


def plane(m: Array, p: Array, c: np.ndarray, y: Array, w: Array) -> np.ndarray:
    """The logistic loss at the margins m + sum_j c_j p_j: value, gradient and upper Hessian triangle in c, on the host.

    p : (k, rows) C-contiguous; c : (k,) on the host. One pass for k up to 4, k^2 of them beyond.
    """
    return _plane("logistic", m, p, c, y, w)


def plane_squares(m: Array, p: Array, c: np.ndarray, y: Array, w: Array) -> np.ndarray:
    """The same sums for the loss w_i (m_i - y_i)^2 / 2."""
    return _plane("squares", m, p, c, y, w)


def _plane(loss: str, m: Array, p: Array, c: np.ndarray, y: Array, w: Array) -> np.ndarray:
    same_kind(m, p, y, weights=w)
    k = len(c)
    if not 1 <= k <= WIDEST:
        return _wide_plane(loss, m, p, c, y, w)
    width = 1 + k + k * (k + 1) // 2
    factors = library().asarray(np.asarray(c, np.float64))
    return sums("margins", f"{loss}_plane_{k}", width, m.dtype, m.size, m, p, factors, y, w, _given(w))


def _wide_plane(loss: str, m: Array, p: Array, c: np.ndarray, y: Array, w: Array) -> np.ndarray:
    xp, k = library(), len(c)
    at = m.copy()
    for j in range(k):
        at += float(c[j]) * p[j]
    slope, bend = xp.empty(m.size, m.dtype), xp.ones(m.size, m.dtype)
    if loss == "logistic":
        value = logistic(at, y, w, slope)
        curvature(at, w, bend)
    else:
        value = least_squares(at, y, w, slope)
        bend = w if w.size else bend
    gradient = [inner(p[j], slope) for j in range(k)]
    hessian = [inner(p[j] * bend, p[i]) for j in range(k) for i in range(j, k)]
    return np.array([value, *gradient, *hessian])


def bregman(m: Array, delta: Array, y: Array, w: Array) -> float:
    """sum_i w_i [l(t_i + d_i) - l(t_i) - l'(t_i) d_i], l(t) = log(1 + e^-t), t = y m, d = y delta, without cancellation."""
    same_kind(m, delta, y, weights=w)
    return float(sums("margins", "logistic_bregman", 1, m.dtype, m.size, m, delta, y, w, _given(w))[0])


def inner(a: Array, b: Array) -> float:
    """a.b in float64, the same bits in every run and on every card."""
    same_kind(a, b)
    return float(sums("margins", "inner_product", 1, a.dtype, a.size, a, b)[0])


def _given(w: Array) -> np.int32:
    return np.int32(w.size > 0)
