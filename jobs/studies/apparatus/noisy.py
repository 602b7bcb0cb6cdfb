"""Exact losses with noise on their gradients: a step looks at a draw of the noise where others look at rows."""

from dataclasses import dataclass

import numpy as np

from mpiopt.numerics.streams import Streams
from mpiopt.problems.linear import Linear
from mpiopt.problems.problem import Point
from mpiopt.problems.wrapped import Wrapped


@dataclass(frozen=True)
class Noisy(Wrapped):
    """A loss whose gradient over the draw of a step has noise of E |noise|^2 = dim * deviation^2; exact without a draw."""

    loss: Linear
    deviation: float
    streams: Streams
    worker: int

    def point(self, x: np.ndarray) -> Point:
        """x alone: a draw's gradient is found without margins."""
        return Point(x)

    def value_grad(self, at: Point, rows: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """f_w(x) and its gradient (dim,), with the noise of step rows[0] where one is given."""
        value, g = self.loss.value_grad(self.loss.point(at.x))
        if rows is not None:
            g += self.deviation * self.streams("noise", int(rows[0]), self.worker).standard_normal(g.size)
        return value, g


def drawn(step: int) -> np.ndarray:
    """The sample of a step of a worker with a noisy loss."""
    return np.array([step])
