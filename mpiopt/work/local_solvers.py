"""Local solvers of  minimise phi(z) - q.z  (`problems.surrogate`), run by one worker without communication.

NewtonCG       truncated Newton with Jacobi-preconditioned CG; any smooth loss
DualDescent    dual coordinate descent, its dual variables kept from round to round; linear models with l2 > 0
Auto           DualDescent where its rate does not depend on the conditioning, NewtonCG elsewhere
"""

from dataclasses import dataclass

import numpy as np

from mpiopt import krylov
from mpiopt.arrays import Array, norm
from mpiopt.newton import newton, unpack
from mpiopt.phase import Tree
from mpiopt.problems.problem import Point
from mpiopt.problems.surrogate import Reference


@dataclass(frozen=True)
class NewtonCG:
    """Until the local gradient has fallen to ``ratio`` of its start, in at most ``steps`` Newton steps.

    One step of a loose solve needs no search and no second gradient: the outer search decides how far to go.
    Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.1.
    """

    ratio: float = 0.1
    steps: int = 1
    products: int = 200

    def init(self, x: Array, phi: Reference) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, phi: Reference, q: Array, at: Point, memory: Tree) -> tuple[Array, Tree]:
        """A minimiser to the stated accuracy."""
        g = phi.grad(at) - q
        target = self.ratio * norm(g)
        inner = self.ratio if self.steps == 1 else 0.1
        for step in range(self.steps):
            size = norm(g)
            if size <= target:
                break
            forcing = inner if self.steps == 1 else max(min(inner, np.sqrt(size)), 0.5 * target / size)
            p = krylov.solve(phi.hessian(at), -g, phi.jacobi(at), forcing, self.products).x
            if self.steps == 1:
                return at.x + p, memory
            at = _search(phi, q, at, p)
            g = phi.grad(at) - q
        return at.x, memory


def _search(phi: Reference, q: Array, at: Point, p: Array) -> Point:
    """The exact minimiser along p, on cached margins."""
    rows = phi.loss.margins(p)[None, :]
    slope, curvature = float(p @ (phi.scaled(at.x) - q)), float(p @ phi.scaled(p))

    def evaluate(c: Array) -> tuple[float, Array, Array]:
        value, gradient, hessian = unpack(phi.loss.plane(at, rows, c), 1)
        return value + c[0] * slope + 0.5 * c[0] ** 2 * curvature, gradient + slope + c * curvature, hessian + curvature

    c = newton(evaluate, np.ones(1))[0]
    return Point(at.x + c * p, at.margins + c * rows[0])
