"""Huber's loss with a given width: e^2 / 2 for |e| <= delta, delta (|e| - delta / 2) beyond, e = m - y; real labels."""

from dataclasses import dataclass
from math import inf

from mpiopt.errors import UsageError
from mpiopt.losses.family import Cuda, Family
from mpiopt.losses.labels import REAL
from mpiopt.losses.registry import register

HELPERS = """
__device__ inline double huber_rise(double error, double d, double delta) {
    const double e = d >= 0.0 ? error : -error;  // the slope rises from e on
    const double rest = fabs(d) - fmax(-delta - e, 0.0), step = fmin(rest, delta - fmax(e, -delta));
    return step > 0.0 ? 0.5 * step * step + step * (rest - step) : 0.0;
}
"""


@register("Huber, Robust estimation of a location parameter, 1964")
@dataclass(frozen=True)
class Huber(Family):
    """Robust regression: linear beyond delta.

    delta : in the units of the labels; the scale of the errors is not estimated. Raises UsageError unless it is positive.
    """

    delta: float = 1.35
    name, labels, curvature_bound = "huber", REAL, 1.0
    cuda = Cuda(
        value="fabs(m - y) <= delta ? 0.5 * (m - y) * (m - y) : delta * (fabs(m - y) - 0.5 * delta)",
        slope="fmin(fmax(m - y, -delta), delta)",
        bend="fabs(m - y) <= delta ? 1.0 : 0.0",
        conjugate="fabs(u) <= delta ? u * y + 0.5 * u * u : infinite()",
        rise="huber_rise(m - y, d, delta)",
        helpers=HELPERS,
    )

    def __post_init__(self) -> None:
        if not 0 < self.delta < inf:
            raise UsageError(f"delta of the huber loss is {self.delta:g}: give a finite number above 0")

    @staticmethod
    def value(m: float, y: float, delta: float) -> float:
        """Squares, then a line."""
        e = abs(m - y)
        return 0.5 * e * e if e <= delta else delta * (e - 0.5 * delta)

    @staticmethod
    def slope(m: float, y: float, delta: float) -> float:
        """e, cut off at -delta and delta."""
        return min(max(m - y, -delta), delta)

    @staticmethod
    def bend(m: float, y: float, delta: float) -> float:
        """1, and 0 beyond."""
        return 1.0 if abs(m - y) <= delta else 0.0

    @staticmethod
    def conjugate(u: float, y: float, delta: float) -> float:
        """u y + u^2 / 2 for |u| <= delta."""
        return u * y + 0.5 * u * u if abs(u) <= delta else inf

    @staticmethod
    def rise(m: float, d: float, y: float, delta: float) -> float:
        """The integral of the slope's change, in pieces that do not cancel."""
        e = m - y if d >= 0.0 else y - m  # the slope rises from e on
        rest = abs(d) - max(-delta - e, 0.0)
        step = min(rest, delta - max(e, -delta))
        return 0.5 * step * step + step * (rest - step) if step > 0.0 else 0.0

    @staticmethod
    def dual_step(m: float, y: float, alpha: float, c: float, delta: float) -> tuple[float, float]:
        """The exact one: alpha = e, cut off at -delta and delta, at e = y - m - c (alpha - what it was)."""
        e = y - m
        new = min(max(alpha + (e - alpha) / (1.0 + c), -delta), delta)
        near = min(max(e, -delta), delta)
        return new, 0.5 * (near - alpha) * (near - alpha) + (e - near) * (near - alpha)

    @staticmethod
    def dual_gap(m: float, y: float, alpha: float, delta: float) -> float:
        """(e - alpha)^2 / 2 for |e| <= delta, e = y - m."""
        e = y - m
        near = min(max(e, -delta), delta)
        return 0.5 * (near - alpha) * (near - alpha) + (e - near) * (near - alpha)
