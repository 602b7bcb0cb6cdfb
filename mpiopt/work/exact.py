"""Local problems solved to an accuracy that a method's theory counts on.

Exact   until the local gradient is so short, beside what it was
Nearby  until it is so short beside the step, as stabilised proximal points allow
"""

from dataclasses import dataclass

import numpy as np

from mpiopt.arrays import Array, norm
from mpiopt.engine.phase import Tree
from mpiopt.problems.problem import Point
from mpiopt.problems.surrogate import Reference
from mpiopt.work.local_solvers import NOISE, NewtonCG


@dataclass(frozen=True)
class Exact:
    """Newton-CG until |grad phi(z) - q| <= max(accuracy * its value at the start, residual), or 50 Newton steps."""

    accuracy: float = 1e-6
    residual: float = 0.0

    def init(self, x: Array, phi: Reference) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, phi: Reference, q: Array, at: Point, memory: Tree) -> tuple[Array, Tree]:
        """A minimiser to the stated accuracy, begun at ``at``."""
        if at.slope is None:
            at = at._replace(slope=phi.loss.value_grad(at)[1])
        size = norm(phi.grad(at) - q)
        if size <= self.residual or size == 0:
            return at.x.copy(), memory
        return NewtonCG(max(self.accuracy, self.residual / size), steps=50)(phi, q, at, memory)


@dataclass(frozen=True)
class Nearby:
    """Newton-CG until |grad phi(z) - q| <= part * mu |z - at|, mu phi's own pull; as `Exact` where it has none.

    Jiang, Rodomanov, Stich, Stabilized proximal-point methods for federated optimization, 2024, where part = 1/2.
    """

    part: float = 0.5
    tries: int = 20

    def init(self, x: Array, phi: Reference) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, phi: Reference, q: Array, at: Point, memory: Tree) -> tuple[Array, Tree]:
        """A minimiser near enough, begun at ``at``; where rounding keeps it from that, the last one tried."""
        mu, z, noise = phi.ridge_free, at, NOISE * float(np.finfo(q.dtype).eps) * norm(q)
        if not mu > 0:
            return Exact()(phi, q, at, memory)
        for _ in range(self.tries):
            z = phi.loss.point(NewtonCG(0.1, steps=5)(phi, q, z, memory)[0])
            z = z._replace(slope=phi.loss.value_grad(z)[1])
            size = norm(phi.grad(z) - q)
            if size <= max(self.part * mu * norm(z.x - at.x), noise):
                break
        return z.x, memory
