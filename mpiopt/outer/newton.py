"""NewtonStep: hand the direction -(H + penalty'')^-1 grad F to another outer step, from the agreed Hessian."""

from dataclasses import dataclass

from mpiopt.arrays import beside, namespace
from mpiopt.engine.phase import Joint, PerWorker, Tree
from mpiopt.kernels.definite import solved
from mpiopt.outer.line_search import SmoothOnly
from mpiopt.problems.problem import Message


@dataclass(frozen=True)
class NewtonStep(SmoothOnly):
    """What was agreed is the upper triangle of the Hessian of f at x, row by row; every rank solves for the direction.

    Coordinates on which F does not depend beside those before them stay: a step that is as good as any where the Hessian is
    singular.
    """

    def __call__(self, agreed: Message, points: PerWorker, state: Tree, here: Joint) -> tuple[PerWorker, Tree]:
        """The other's step. Collective where that is."""
        x, penalty = points[0].x, here.team.penalty
        slope = penalty.residual(x, points[0].gradient)
        p = namespace(x).asarray(solved(agreed.vector, penalty.grad(beside(x, x.size, 1)), -slope))
        return self.outer(Message(p, agreed.scalars), points, state, here)
