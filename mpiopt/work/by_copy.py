"""ByCopy: worker 0 minimises F by its copy of all rows; the others send zeros, which `exchange.From` never reads."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.arrays import namespace
from mpiopt.engine.phase import Local, Tree, Work
from mpiopt.problems.problem import Message, Point
from mpiopt.problems.protocols import Columns
from mpiopt.problems.surrogate import Reference
from mpiopt.work.local_solvers import Auto


@dataclass(frozen=True)
class ByCopy(Work):
    """message = argmin F - x, to the solver's accuracy. Nothing is kept from round to round but the copy, which is no state.

    copy : the loss of all rows where worker 0 is, None elsewhere (`problems.copied`).
    """

    needs: ClassVar[type] = Columns
    solver: Auto
    copy: Columns | None = None

    def __call__(self, at: Point, agreed: Message, state: Tree, here: Local[Columns]) -> tuple[Point, Message, Tree]:
        """Solve it; as many passes over all rows as the solver takes."""
        said = namespace(at.x).zeros_like(at.x)
        if self.copy is not None and here.site.worker == 0:
            phi, own = Reference.of(self.copy, here.site.penalty, 0.0), self.copy.point(at.x)
            q = phi.grad(own) - (agreed.vector + here.site.penalty.grad(at.x))  # rounding
            z, _ = self.solver(phi, q, own, self.solver.begun(own, phi))
            said[:] = z - at.x
        return at._replace(gradient=agreed.vector), Message(said, np.empty(0)), state
