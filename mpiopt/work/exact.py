"""Exact: solve a local problem to a stated accuracy, for methods whose theory counts on exact local minimisers."""

from dataclasses import dataclass

from mpiopt.arrays import Array, norm
from mpiopt.engine.phase import Tree
from mpiopt.problems.problem import Point
from mpiopt.problems.surrogate import Reference
from mpiopt.work.local_solvers import NewtonCG


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
