"""ByCopy: worker 0 minimises F by its copy of all rows; the others send zeros, which `exchange.From` never reads."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.engine.phase import Local, PerRow, Tree, Work
from mpiopt.problems.problem import Message, Point
from mpiopt.problems.protocols import Columns
from mpiopt.problems.surrogate import Reference
from mpiopt.work.local_solvers import Auto, DualMemory


class CopyDuals(NamedTuple):
    """The dual variables of all rows in worker order, (rows,), where worker 0 ascends the dual; see `DualMemory`."""

    alpha: Array
    image: Array
    calls: int


@dataclass(frozen=True)
class ByCopy(Work):
    """message = argmin F - x, to the solver's accuracy. Dual variables, if there are such, are kept; the copy is no state.

    copy : the loss of all rows where worker 0 is, None elsewhere (`problems.copied`).
    """

    needs: ClassVar[type] = Columns
    solver: Auto
    copy: Columns | None = None

    def aiming(self, gap: float) -> Self:
        """See `Aiming`."""
        return replace(self, solver=self.solver.aiming(gap))

    def __call__(self, at: Point, agreed: Message, state: Tree, here: Local[Columns]) -> tuple[Point, Message, Tree]:
        """Solve it; as many passes over all rows as the solver takes."""
        said = namespace(at.x).zeros_like(at.x)
        if self.copy is not None and here.site.worker == 0:
            phi, own = Reference.of(self.copy, here.site.penalty, 0.0), self.copy.point(at.x)
            z, state = self._solved(phi, np.zeros_like(at.x), own, state)
            said[:] = z - at.x
        return at, Message(said, np.empty(0)), state

    def _solved(self, phi: Reference[Any], q: Array, at: Point, state: Tree) -> tuple[Array, Tree]:
        known = DualMemory(PerRow((state.alpha,)), *state[1:]) if state else self.solver.begun(at, phi)
        z, memory = self.solver(phi, q, at, known)
        return z, CopyDuals(memory.alpha[0], *memory[1:]) if isinstance(memory, DualMemory) else ()
