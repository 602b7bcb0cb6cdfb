"""A loss of one's own, as a file outside the package has it."""

LOSS = """
from math import inf, sqrt

from mpiopt.losses.family import Family
from mpiopt.losses.registry import register


@register("Charbonnier and others, Deterministic edge-preserving regularization, 1997")
class Smooth(Family):
    '''A smooth absolute error: sqrt(1 + e^2) - 1, e = m - y.'''

    name, curvature_bound = "own_loss", 1.0

    @staticmethod
    def value(m, y):
        return sqrt(1.0 + (m - y) ** 2) - 1.0

    @staticmethod
    def slope(m, y):
        return (m - y) / sqrt(1.0 + (m - y) ** 2)

    @staticmethod
    def bend(m, y):
        return (1.0 + (m - y) ** 2) ** -1.5

    @staticmethod
    def conjugate(u, y):
        return u * y + 1.0 - sqrt(1.0 - u * u) if abs(u) <= 1.0 else inf
"""
