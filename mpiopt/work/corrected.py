"""Corrected: minimise one worker's own model of F, corrected to have the gradient of F at x.

    z = argmin  f_w(z) - <grad f_w(x) - eta grad f(x) ..., z> + penalty(z) + (mu/2)|z - x|^2,    message = z - x

In the form of `problems.surrogate`: q = grad phi(x) - eta grad F(x); for eta = 1 that is grad f_w(x) - grad f(x) + mu x.
Shamir, Srebro, Zhang 2014 (DANE), eq. 13; Hendrikx et al. 2020 (SPAG), eq. 3, for the server's form.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.phase import Local, Tree, Work
from mpiopt.errors import CapabilityError
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.problems.protocols import Margins
from mpiopt.problems.surrogate import Reference
from mpiopt.work.server import sample, spread


class LocalSolver(Protocol):
    """Minimises phi(z) - q.z on one worker."""

    def init(self, x: Array, phi: Reference[Any]) -> Tree:
        """What it keeps from call to call."""

    def __call__(self, phi: Reference[Any], q: Array, at: Point, memory: Tree) -> tuple[Array, Tree]:
        """An approximate minimiser z (dim,), started at or near ``at``."""


@dataclass(frozen=True)
class Corrected(Work):
    """The DANE subproblem; ``rows`` restricts the model to the first rows of the worker (a server's sample).

    mu : None for `server.spread` of the rows in use.
    """

    needs: ClassVar[type] = Margins
    solver: LocalSolver
    mu: float | None = 0.0
    eta: float = 1.0
    rows: int | None = None

    def init(self, x: Array, site: Site[Margins]) -> Tree:
        """The solver's memory. Raises CapabilityError for penalties that are not smooth."""
        if not site.penalty.smooth:
            raise CapabilityError(
                "this method models the objective by a smooth local problem, which an l1 penalty or a box is not: "
                "use `method=fista`"
            )
        return self.solver.init(x, self._phi(site))

    def _phi(self, site: Site[Margins]) -> Reference:
        mu = spread(site, self.rows) if self.mu is None else self.mu
        return Reference.of(sample(site, self.rows), site.penalty, mu)

    def __call__(self, at: Point, agreed: Message, memory: Tree, here: Local[Margins]) -> tuple[Point, Message, Tree]:
        """Solve the local problem; as many passes over the rows as the solver takes."""
        phi = self._phi(here.site)
        own = at if self.rows is None else Point(at.x, at.known[: self.rows])
        if own.slope is None:
            own = own._replace(slope=phi.loss.value_grad(own)[1])
        q = phi.grad(own)
        q -= self.eta * (agreed.vector + here.site.penalty.grad(at.x))
        z, memory = self.solver(phi, q, own, memory)
        z -= at.x
        return at._replace(gradient=agreed.vector), Message(z, np.empty(0)), memory
