"""Poisson regression with a logarithmic link: e^m - y m, labels are counts; log(y!) is left out."""

from math import exp, inf, log

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.losses.family import Cuda, Family
from mpiopt.losses.labels import COUNTS
from mpiopt.losses.registry import register


@register("Nelder, Wedderburn, Generalized linear models, 1972")
class Poisson(Family):
    """Regression of counts: e^m - y m, whose curvature has no bound."""

    name, labels, concordance = "poisson", COUNTS, 1.0
    recedes = True
    cuda = Cuda(
        value="exp(m) - y * m",
        slope="exp(m) - y",
        bend="exp(m)",
        conjugate="u + y > 0.0 ? (u + y) * (log(u + y) - 1.0) : u + y == 0.0 ? 0.0 : infinite()",
    )

    @staticmethod
    def value(m: float, y: float) -> float:
        """e^m - y m."""
        return exp(m) - y * m

    @staticmethod
    def slope(m: float, y: float) -> float:
        """e^m - y."""
        return exp(m) - y

    @staticmethod
    def bend(m: float, y: float) -> float:
        """e^m."""
        return exp(m)

    @staticmethod
    def conjugate(u: float, y: float) -> float:
        """v log v - v, v = u + y >= 0."""
        v = u + y
        return v * (log(v) - 1.0) if v > 0.0 else 0.0 if v == 0.0 else inf

    @staticmethod
    def receding(y: Array) -> Array:
        """Down where nothing was counted."""
        return -1.0 * (y == 0)

    @staticmethod
    def answer(m: Array) -> Array:
        """The expected count, e^m."""
        return namespace(m).exp(m)

    @staticmethod
    def link(mean: float) -> float:
        """log mean."""
        return float(np.log(mean))
