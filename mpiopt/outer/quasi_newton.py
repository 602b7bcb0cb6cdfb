"""L-BFGS: the direction of the last steps and gradient changes, an exact line search on cached margins.

Liu and Nocedal, On the limited memory BFGS method for large scale optimization, 1989; the two-loop recursion is
algorithm 7.4 of Nocedal and Wright, Numerical Optimization, 2006. With the exact search it is the conjugate gradient
method on quadratics.
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array, beside, namespace
from mpiopt.engine.phase import Joint, Outer, PerWorker
from mpiopt.kernels.replicated import inner, length
from mpiopt.outer.line_search import refuse_kinks, search
from mpiopt.outer.plane_search import diagonal
from mpiopt.problems.problem import Message, Team
from mpiopt.problems.protocols import Margins


class Secant(NamedTuple):
    """A step, and the change of the gradient over it, (dim,) each."""

    s: Array
    y: Array


class Secants(NamedTuple):
    """What L-BFGS remembers. Vectors are (dim,), or (0,) before there is one."""

    pairs: tuple[Secant, ...]  # oldest first
    x: Array  # the last
    gradient: Array  # there
    scale: Array  # the Hessian's diagonal to begin with, (0,) for I


@dataclass(frozen=True)
class QuasiNewton(Outer):
    """L-BFGS with ``memory`` pairs.

    jacobi : begin the recursion with the inverse of the Hessian's diagonal at the start instead of a multiple of I.
    """

    needs: ClassVar[type] = Margins
    memory: int = 10
    jacobi: bool = False

    def init(self, x: Array, team: Team[Margins]) -> Secants:
        """No pairs yet. Collective: one vector round with ``jacobi``. Raises CapabilityError on every rank."""
        refuse_kinks(team.penalty)
        none = np.zeros(0)
        if not self.jacobi:
            return Secants((), none, none, none)
        scale = diagonal(team, x) + team.penalty.grad(beside(x, x.size, 1))
        return Secants((), none, none, namespace(x).where(scale > 0, scale, 1.0))

    def __call__(self, agreed: Message, points: PerWorker, state: Secants, here: Joint[Margins]) -> tuple[PerWorker, Secants]:
        """Two to five small sums. Collective."""
        pairs, x = state.pairs, points[0].x
        gradient = here.team.penalty.residual(x, agreed.vector)
        if state.x.size:
            pairs = remembered(pairs, Secant(x - state.x, gradient - state.gradient), self.memory)
        moved = search(here.team, points, -inverse_product(pairs, gradient, state.scale), here.round)
        return moved, Secants(pairs, x, gradient, state.scale)


def remembered(pairs: tuple[Secant, ...], new: Secant, memory: int) -> tuple[Secant, ...]:
    """The newest ``memory`` pairs; a pair without measurable curvature is left out."""
    s, y = new
    if not inner(s, y) > 1e-14 * length(y) * length(s):
        return pairs
    return (*pairs, new)[-memory:]


def inverse_product(pairs: tuple[Secant, ...], gradient: Array, scale: Array) -> Array:
    """The inverse Hessian's estimate times ``gradient`` (dim,): 4 memory vector operations; without pairs, of length 1.

    Every rank does all of it, since each number waits for the one before; in an order that is the same on all CPUs.

    scale : the diagonal (dim,) to begin with, or (0,) for I; either is fitted to the newest pair.
    """
    q, factors, curvatures = gradient.copy(), [], [inner(s, y) for s, y in pairs]
    for (s, y), curvature in zip(reversed(pairs), reversed(curvatures), strict=True):
        factors.append(inner(s, q) / curvature)
        q -= factors[-1] * y
    if scale.size:
        q /= scale
    if not pairs:  # nothing is known of the units: the search finds how far to go
        return q / (length(q) or 1.0)
    _, y = pairs[-1]
    q *= curvatures[-1] / inner(y, y / scale if scale.size else y)
    for (s, y), factor, curvature in zip(pairs, reversed(factors), curvatures, strict=True):
        q += (factor - inner(y, q) / curvature) * s
    return q
