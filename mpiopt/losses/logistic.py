"""Logistic loss: log(1 + exp(-y m)), labels -1/+1."""

from functools import cached_property
from math import exp, inf, log, log1p
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.arrays import Array
from mpiopt.losses.family import Cuda, Family
from mpiopt.losses.labels import SIGNS
from mpiopt.losses.registry import register

if TYPE_CHECKING:
    from mpiopt.kernels.host.rowwise import HostRows

HELPERS = """
// l(t + d) - l(t) - l'(t) d for l(t) = log(1 + e^-t) without cancellation. With p = 1 / (1 + e^t): log1p(p expm1(-d)) + p d,
// written in 1 - p where p is near 1, in logarithms
// where powers would overflow, and below |d| = 1e-3 the series p (1 - p) d^2 [1/2 - (1 - 2p) d/6 + ...].
__device__ inline double logistic_rise(double t, double d) {
    const double e = exp(-fabs(t)), inverse = 1.0 / (1.0 + e);
    const double p = (t > 0.0 ? e : 1.0) * inverse, q = (t > 0.0 ? 1.0 : e) * inverse;
    if (fabs(d) < 1e-3) {
        const double bend = e * inverse * inverse;
        return bend * d * d * (0.5 - (1.0 - 2.0 * p) * d / 6.0 + (1.0 - 6.0 * bend) * d * d / 24.0);
    }
    if (t > 0.0) {
        if (d > -500.0) return log1p(p * expm1(-d)) + p * d;
        const double power = -d - t - log1p(e);  // log(p e^-d), where e^-d may overflow
        return (power > 40.0 ? power : log1p(exp(power) - p)) + p * d;
    }
    if (d < 500.0) return log1p(q * expm1(d)) - q * d;
    // log(q + p e^-d), where both may underflow
    return (t > -d ? t : -d) + log1p(exp(-fabs(t + d))) - log1p(e) + p * d;
}
__device__ inline double negative_entropy(double a) {
    if (!(0.0 <= a && a <= 1.0)) return infinite();
    return (a > 0.0 ? a * log(a) : 0.0) + (a < 1.0 ? (1.0 - a) * log(1.0 - a) : 0.0);
}
"""


@register("Berkson, Application of the logistic function to bio-assay, 1944")
class Logistic(Family):
    """Logistic regression: log(1 + exp(-y m))."""

    name, labels, curvature_bound, concordance = "logistic", SIGNS, 0.25, 1.0
    recedes = True
    dual_start = 1e-3  # most end near 0
    dual_range = (1e-10, 1 - 1e-10)  # for the open interval (0, 1)
    cuda = Cuda(
        value="fmax(-y * m, 0.0) + log1p(exp(-fabs(y * m)))",
        slope="-y * (y * m > 0.0 ? exp(-fabs(y * m)) : 1.0) / (1.0 + exp(-fabs(y * m)))",
        bend="y * y * exp(-fabs(y * m)) / (1.0 + exp(-fabs(y * m))) / (1.0 + exp(-fabs(y * m)))",
        conjugate="negative_entropy(-u * y)",
        rise="logistic_rise(y * m, y * d)",
        helpers=HELPERS,
    )

    @staticmethod
    def value(m: float, y: float) -> float:
        """log(1 + e^-t), t = y m."""
        t = y * m
        return max(-t, 0.0) + log1p(exp(-abs(t)))

    @staticmethod
    def slope(m: float, y: float) -> float:
        """-y / (1 + e^t)."""
        t = y * m
        e = exp(-abs(t))
        return -y * (e if t > 0.0 else 1.0) / (1.0 + e)

    @staticmethod
    def receding(y: Array) -> Array:
        """The label's side."""
        return y

    @staticmethod
    def bend(m: float, y: float) -> float:
        """1 / (1 + e^t) / (1 + e^-t)."""
        e = exp(-abs(y * m))
        return e / ((1.0 + e) * (1.0 + e))

    @staticmethod
    def conjugate(u: float, y: float) -> float:
        """Minus the entropy of (a, 1 - a), a = -u y in [0, 1]."""
        a = -u * y
        if not 0.0 <= a <= 1.0:
            return inf
        return (a * log(a) if a > 0.0 else 0.0) + ((1.0 - a) * log(1.0 - a) if a < 1.0 else 0.0)

    @staticmethod
    def dual_gap(m: float, y: float, alpha: float) -> float:
        """The relative entropy of (alpha, 1 - alpha) from (s, 1 - s), s = 1 / (1 + e^(y m))."""
        t = y * m
        e = exp(-abs(t))
        a, other = (alpha, 1.0 - alpha) if t > 0.0 else (1.0 - alpha, alpha)  # a : beside e / (1 + e), which may be 0
        gap = other * log(other * (1.0 + e)) if other > 0.0 else 0.0
        if a > 0.0:
            gap += a * (log(a * (1.0 + e) / e) if e > 1e-300 else log(a) + abs(t))
        return gap

    @cached_property
    def _host(self) -> "HostRows":
        from mpiopt.kernels.host.by_hand import LogisticRows

        return LogisticRows(self.scalars(), type(self).__qualname__)

    @staticmethod
    def chance(m: Array) -> Array:
        """1 / (1 + e^-m)."""
        from scipy.special import expit  # a tenth of a second, which only those who predict wait for

        return expit(m)

    @staticmethod
    def link(mean: float) -> float:
        """log((1 + mean) / (1 - mean)): labels are -1 and +1."""
        return float(np.log((1 + mean) / (1 - mean)))
