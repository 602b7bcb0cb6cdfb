"""Squared hinge: max(0, 1 - y m)^2, labels -1/+1, as LIBLINEAR (-s 1, -s 2) and scikit-learn's LinearSVC have it."""

from math import inf

from mpiopt.losses.family import Cuda, Family
from mpiopt.losses.labels import SIGNS
from mpiopt.losses.registry import register

HELPERS = """
__device__ inline double hinge_rise(double slack, double d) {
    const double ahead = slack - d;
    if (slack <= 0.0) return fmax(ahead, 0.0) * fmax(ahead, 0.0);
    return ahead > 0.0 ? d * d : slack * (2.0 * d - slack);
}
"""


@register("Cortes, Vapnik, Support-vector networks, 1995; Chang, Hsieh, Lin, Coordinate descent method for L2-SVM, 2008")
class SquaredHinge(Family):
    """Support vectors: max(0, 1 - y m)^2."""

    name, labels, curvature_bound = "squared_hinge", SIGNS, 2.0
    dual_range = (0.0, inf)
    cuda = Cuda(
        value="fmax(1.0 - y * m, 0.0) * fmax(1.0 - y * m, 0.0)",
        slope="-2.0 * y * fmax(1.0 - y * m, 0.0)",
        bend="y * m < 1.0 ? 2.0 : 0.0",
        conjugate="u * y > 0.0 ? infinite() : u * y + 0.25 * u * u",
        rise="hinge_rise(1.0 - y * m, y * d)",
        helpers=HELPERS,
    )

    @staticmethod
    def value(m: float, y: float) -> float:
        """max(0, 1 - y m)^2."""
        slack = max(1.0 - y * m, 0.0)
        return slack * slack

    @staticmethod
    def slope(m: float, y: float) -> float:
        """-2 y max(0, 1 - y m)."""
        return -2.0 * y * max(1.0 - y * m, 0.0)

    @staticmethod
    def bend(m: float, y: float) -> float:
        """2 within the margin, 0 beyond it."""
        return 2.0 if y * m < 1.0 else 0.0

    @staticmethod
    def conjugate(u: float, y: float) -> float:
        """u y + u^2 / 4 for u y <= 0."""
        return inf if u * y > 0.0 else u * y + 0.25 * u * u

    @staticmethod
    def rise(m: float, d: float, y: float) -> float:
        """d^2 where both ends are within the margin; no difference of squares elsewhere."""
        slack = 1.0 - y * m
        ahead = slack - y * d
        if slack <= 0.0:
            return max(ahead, 0.0) * max(ahead, 0.0)
        return d * d if ahead > 0.0 else slack * (2.0 * y * d - slack)

    @staticmethod
    def dual_step(m: float, y: float, alpha: float, c: float) -> tuple[float, float]:
        """The exact one: alpha = 2 max(0, 1 - t) at t = y m + c (alpha - what it was)."""
        slack = 1.0 - y * m
        miss = slack - 0.5 * alpha
        return max(alpha + miss / (0.5 + c), 0.0), miss * miss if slack > 0.0 else alpha * (0.25 * alpha - slack)

    @staticmethod
    def dual_gap(m: float, y: float, alpha: float) -> float:
        """(1 - y m - alpha / 2)^2 within the margin."""
        slack = 1.0 - y * m
        miss = slack - 0.5 * alpha
        return miss * miss if slack > 0.0 else alpha * (0.25 * alpha - slack)
