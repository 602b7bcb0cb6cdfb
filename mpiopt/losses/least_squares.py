"""Least squares: (m - y)^2 / 2, real labels."""

from mpiopt.losses.family import Cuda, Family
from mpiopt.losses.labels import REAL
from mpiopt.losses.registry import register


@register("Gauss, Theoria motus corporum coelestium, 1809")
class LeastSquares(Family):
    """Linear regression: (m - y)^2 / 2."""

    name, labels, curvature_bound, concordance = "least_squares", REAL, 1.0, 0.0
    cuda = Cuda("0.5 * (m - y) * (m - y)", "m - y", "1.0", "u * y + 0.5 * u * u", "0.5 * d * d")

    dispersed = True

    @staticmethod
    def value(m: float, y: float) -> float:
        """(m - y)^2 / 2."""
        return 0.5 * (m - y) * (m - y)

    @staticmethod
    def slope(m: float, y: float) -> float:
        """m - y."""
        return m - y

    @staticmethod
    def bend(m: float, y: float) -> float:
        """1."""
        return 1.0

    @staticmethod
    def conjugate(u: float, y: float) -> float:
        """u y + u^2 / 2."""
        return u * y + 0.5 * u * u

    @staticmethod
    def rise(m: float, d: float, y: float) -> float:
        """d^2 / 2."""
        return 0.5 * d * d

    @staticmethod
    def dual_step(m: float, y: float, alpha: float, c: float) -> tuple[float, float]:
        """The exact one."""
        miss = y - m - alpha
        return alpha + miss / (1.0 + c), 0.5 * miss * miss

    @staticmethod
    def dual_gap(m: float, y: float, alpha: float) -> float:
        """(y - m - alpha)^2 / 2."""
        miss = y - m - alpha
        return 0.5 * miss * miss

    @staticmethod
    def link(mean: float) -> float:
        """The mean itself."""
        return mean
