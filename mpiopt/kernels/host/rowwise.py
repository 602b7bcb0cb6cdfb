"""The row-wise kernels of any loss, made on the CPU from scalar functions of a margin and a label.

    value(m, y), slope(m, y), bend(m, y)    the loss of one row, its first and its second derivative in the margin
    conjugate(u, y)                         sup over m of u m - value(m, y), infinity where that has no bound
    rise(m, d, y)                           value(m + d, y) - value(m, y) - slope(m, y) d without cancellation, where given
    dual_step(m, y, alpha, c)               the next dual variable of `host.dual` and the row's part of the gap, where given
    dual_gap(m, y, alpha)                   value(m, y) + conjugate(-s alpha, y) + s alpha m, s = y for two classes, else 1

Each also takes the parameters of the loss, one after the other; they reach the kernels as a tuple ``theta``.
m, y : (rows,); w : (rows,) sample weights, or (0,) for all ones. Sums are over this process's rows, not divided by
anything; nothing communicates.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, cast

import numpy as np

from mpiopt.kernels.host import dual, dual_many
from mpiopt.kernels.host.made import specialised
from mpiopt.kernels.host.sums import BLOCK, add, block_sum, inner, inner3

# Gauss's rule for the integral over 0 <= t <= 1 of (1 - t) f(t), exact for polynomials of degree 7
_T1, _T2, _T3, _T4 = 0.057104196114517725, 0.2768430136381238, 0.5835904323689168, 0.8602401356562195
_W1, _W2, _W3, _W4 = 0.13550691343148852, 0.2034645680102711, 0.12984754760823233, 0.031180970950008085
value = slope = bend = conjugate = rise = dual_gap = cast("Callable[..., float]", None)  # what the templates leave open
_DIRECT = 1e-3  # of its terms' size: a difference that is larger is taken as it is


def value_residual(m, y, w, theta, residual):
    """sum_i w_i value(m_i, y_i); residual_i = w_i slope(m_i, y_i), overwritten."""
    values = np.empty(BLOCK)
    total, lost = 0.0, 0.0
    for lo in range(0, m.size, BLOCK):
        n = min(BLOCK, m.size - lo)
        for i in range(n):
            values[i] = value(m[lo + i], y[lo + i], *theta)
            residual[lo + i] = slope(m[lo + i], y[lo + i], *theta)
        if w.size:
            for i in range(n):
                residual[lo + i] *= w[lo + i]
            total, lost = add(total, lost, inner(values, w[lo : lo + n], n))
        else:
            total, lost = add(total, lost, block_sum(values, n))
    return total + lost if np.isfinite(total) else total


def curvature(m, y, w, theta, h):
    """h_i = w_i bend(m_i, y_i), overwritten."""
    for i in range(m.size):
        h[i] = bend(m[i], y[i], *theta)
        if w.size:
            h[i] *= w[i]


def plane(m, p, c, y, w, theta):
    """The sum of losses at the margins m + sum_j c_j p_j: value, gradient and Hessian in c, in one pass.

    p : (k, rows), C-contiguous; c : (k,). Returns (1 + k + k (k + 1) / 2,): the sum of losses, its gradient, the upper
    triangle of its Hessian row by row; and the rounding errors of these.
    """
    k = c.size
    sums, lost = np.empty(1 + k + k * (k + 1) // 2), np.empty(1 + k + k * (k + 1) // 2)
    for j in range(sums.size):
        sums[j] = lost[j] = 0.0
    t, values, slopes, bends = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for lo in range(0, m.size, BLOCK):
        n = min(BLOCK, m.size - lo)
        for i in range(n):
            t[i] = m[lo + i]
        for j in range(k):
            for i in range(n):
                t[i] += c[j] * p[j, lo + i]
        for i in range(n):
            weight = w[lo + i] if w.size else 1.0
            values[i] = weight * value(t[i], y[lo + i], *theta)
            slopes[i] = weight * slope(t[i], y[lo + i], *theta)
            bends[i] = weight * bend(t[i], y[lo + i], *theta)
        sums[0], lost[0] = add(sums[0], lost[0], block_sum(values, n))
        at = 1 + k
        for j in range(k):
            sums[1 + j], lost[1 + j] = add(sums[1 + j], lost[1 + j], inner(slopes, p[j, lo : lo + n], n))
            for h in range(j, k):
                sums[at], lost[at] = add(sums[at], lost[at], inner3(bends, p[j, lo : lo + n], p[h, lo : lo + n], n))
                at += 1
    return sums, lost


def bregman(m, delta, y, w, theta):
    """sum_i w_i rise(m_i, delta_i, y_i)."""
    total, lost = 0.0, 0.0
    for i in range(m.size):
        total, lost = add(total, lost, (w[i] if w.size else 1.0) * rise(m[i], delta[i], y[i], *theta))
    return total + lost if np.isfinite(total) else total


def bregman_by_bend(m, delta, y, w, theta):
    """The same without a ``rise``: the difference where it is plain, elsewhere d^2 times the integral of (1 - t) bend(m + t d).

    The integral is by Gauss's rule of four points. The difference is small beside its terms only where d is, too.
    """
    total, lost = 0.0, 0.0
    for i in range(m.size):
        d = delta[i]
        low, high, line = value(m[i], y[i], *theta), value(m[i] + d, y[i], *theta), slope(m[i], y[i], *theta) * d
        term = (high - low) - line
        if abs(term) <= _DIRECT * (abs(low) + abs(high) + abs(line)) and np.isfinite(term):
            term = _W1 * bend(m[i] + _T1 * d, y[i], *theta) + _W2 * bend(m[i] + _T2 * d, y[i], *theta)
            term += _W3 * bend(m[i] + _T3 * d, y[i], *theta) + _W4 * bend(m[i] + _T4 * d, y[i], *theta)
            term *= d * d
        total, lost = add(total, lost, (w[i] if w.size else 1.0) * term)
    return total + lost if np.isfinite(total) else total


def conjugates(m, y, w, scale, theta):
    """sum_i w_i conjugate(scale_i slope(m_i, y_i), y_i)."""
    total, lost = 0.0, 0.0
    for i in range(m.size):
        weight = np.float64(w[i]) if w.size else 1.0
        if weight > 0.0:
            u = scale[i] * slope(m[i], y[i], *theta)
            total, lost = add(total, lost, weight * conjugate(u, y[i], *theta))
    return total + lost if np.isfinite(total) else total


def dual_gaps(m, y, w, alpha, theta):
    """sum_i w_i dual_gap(m_i, y_i, alpha_i)."""
    total, lost = 0.0, 0.0
    for i in range(m.size):
        weight = np.float64(w[i]) if w.size else 1.0
        if weight > 0.0:
            total, lost = add(total, lost, weight * dual_gap(m[i], y[i], alpha[i], *theta))
    return total + lost if np.isfinite(total) else total


class HostRows:
    """The kernels of one loss on the CPU, each compiled when first called.

    scalars : its functions by name; theta : its parameters; title : its name.
    """

    def __init__(self, scalars: Mapping[str, Callable], theta: tuple[float, ...], title: str) -> None:
        self.scalars, self.theta, self.title = dict(scalars), theta, title

    def made(self, template: Callable) -> Callable:
        """The kernel of a template for this loss."""
        return _made(template, tuple(self.scalars.items()), self.title)

    def value_residual(self, m: np.ndarray, y: np.ndarray, w: np.ndarray, residual: np.ndarray) -> float:
        """See the function."""
        return self.made(value_residual)(m, y, w, self.theta, residual)

    def curvature(self, m: np.ndarray, y: np.ndarray, w: np.ndarray, h: np.ndarray) -> None:
        """See the function."""
        self.made(curvature)(m, y, w, self.theta, h)

    def plane(self, m: np.ndarray, p: np.ndarray, c: np.ndarray, y: np.ndarray, w: np.ndarray) -> np.ndarray:
        """See the function."""
        sums, lost = self.made(plane)(m, p, c, y, w, self.theta)
        return np.where(np.isfinite(sums), sums + lost, sums)

    def bregman(self, m: np.ndarray, delta: np.ndarray, y: np.ndarray, w: np.ndarray) -> float:
        """See the function."""
        return self.made(bregman if "rise" in self.scalars else bregman_by_bend)(m, delta, y, w, self.theta)

    def conjugates(self, m: np.ndarray, y: np.ndarray, w: np.ndarray, scale: np.ndarray) -> float:
        """See the function."""
        return self.made(conjugates)(m, y, w, scale, self.theta)

    def dual_gaps(self, m: np.ndarray, y: np.ndarray, w: np.ndarray, alpha: np.ndarray) -> float:
        """See the function."""
        return self.made(dual_gaps)(m, y, w, alpha, self.theta)

    def dual_epochs(self, *arguments: Any, steps: int = 1, offset: np.ndarray = dual.NONE, enough: float = 0.0) -> int:
        """`host.dual.epochs`, from ``indptr`` to ``signed``, with ``steps``, ``offset`` and ``enough``."""
        return dual.epochs(*(self.made(dual.epoch), *arguments, self.theta, steps, offset, enough))

    def class_epochs(self, *arguments: Any) -> int:
        """`host.dual_many.epochs_of_classes`, from ``indptr`` to ``ratio``."""
        return dual_many.epochs_of_classes(*(self.made(dual_many.epoch_of_classes), *arguments, self.theta))


@cache
def _made(template: Callable, scalars: tuple[tuple[str, Callable], ...], title: str) -> Callable:
    used = {name: function for name, function in scalars if name in template.__code__.co_names}
    return specialised(template, used, title)
