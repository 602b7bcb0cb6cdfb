"""OwnMinimum: the minimiser of one worker's own rows and the penalty, whatever the others have."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.engine.phase import Local, Tree, Work
from mpiopt.problems.problem import Message, Point
from mpiopt.problems.protocols import Margins
from mpiopt.problems.surrogate import Reference
from mpiopt.work.corrected import LocalSolver


@dataclass(frozen=True)
class OwnMinimum(Work):
    """message = argmin f_w + penalty, less x; 0 of a worker whose rows weigh nothing."""

    needs: ClassVar[type] = Margins
    solver: LocalSolver

    def __call__(self, at: Point, agreed: Message, state: Tree, here: Local[Margins]) -> tuple[Point, Message, Tree]:
        """As many passes over the rows as the solver takes."""
        site, zero = here.site, np.zeros_like(at.x)
        if not site.share > 0:
            return at, Message(zero, np.empty(0)), state
        phi = Reference.of(site.loss, site.penalty, 0.0)
        z, _ = self.solver(phi, zero, at, self.solver.init(at.x, phi))
        return at._replace(gradient=agreed.vector), Message(z - at.x, np.empty(0)), state
