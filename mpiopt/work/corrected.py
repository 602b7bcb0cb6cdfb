"""Corrected: minimise one worker's own model of F, corrected to have the gradient of F at x.

    z = argmin  f_w(z) - <grad f_w(x) - eta grad f(x) ..., z> + penalty(z) + (mu/2)|z - x|^2,    message = z - x

In the form of `problems.surrogate`: q = grad phi(x) - eta grad F(x); for eta = 1 that is grad f_w(x) - grad f(x) + mu x.
Shamir, Srebro, Zhang 2014 (DANE), eq. 13; Hendrikx et al. 2020 (SPAG), eq. 3, for the server's form.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.engine.phase import Local, PerWorker, Tree, Work
from mpiopt.errors import CapabilityError
from mpiopt.problems.penalties import Kinked
from mpiopt.problems.problem import Message, Point, Site, Team, offered
from mpiopt.problems.protocols import Columns, Margins, Penalty
from mpiopt.problems.surrogate import Reference
from mpiopt.work.server import common_mu, occupied, sample, server_mu


class LocalSolver(Protocol):
    """Minimises phi(z) - q.z on one worker."""

    def init(self, x: Array, phi: Reference[Any]) -> Tree:
        """What it keeps from call to call."""

    def __call__(self, phi: Reference[Any], q: Array, at: Point, memory: Tree) -> tuple[Array, Tree]:
        """An approximate minimiser z (dim,), started at or near ``at``: never its array, for z is the caller's to change."""


class Modelled(NamedTuple):
    """What a worker keeps of its model."""

    mu: float
    memory: Tree  # the solver's


@dataclass(frozen=True)
class Corrected(Work):
    """The DANE subproblem.

    mu : one number for all workers; None for `server.common_mu`, or `server.server_mu`. server : worker 0 alone solves it;
    the others stay idle and send zeros, which `exchange.From` never reads. rows : the server's model is of its first rows.
    kinks : whether the solver takes kinks and walls too.
    """

    needs: ClassVar[type] = Margins
    solver: LocalSolver
    mu: float | None = 0.0
    eta: float = 1.0
    server: bool = False
    rows: int | None = None
    kinks: bool = False

    def begin(self, x: Array, team: Team[Margins]) -> PerWorker:
        """mu and the solver's memory where it is solved. Collective. Raises CapabilityError for penalties that are not smooth
        and not for this solver, UsageError where a server lacks rows, on every rank."""
        if not (self.kinks and isinstance(team.penalty, Kinked) and offered(team, Columns)):
            refuse_rough(team.penalty)
        mu = self.pull(team)
        with team.world.together("setting up the method"):
            return PerWorker(self._begun(x, site, mu) for site in team.sites)

    def pull(self, team: Team[Margins]) -> float:
        """mu, found where it is not given. Collective then; raises UsageError on every rank."""
        if self.mu is not None:
            return self.mu
        return server_mu(team, self.rows) if self.server else common_mu(team)

    def _begun(self, x: Array, site: Site[Margins], mu: float) -> Modelled | tuple[()]:
        if not self._solves(site):
            return ()
        return Modelled(mu, self.solver.init(x, self._phi(occupied(site) if self.server else site, mu)))

    def _solves(self, site: Site) -> bool:
        return site.worker == 0 or not self.server

    def _phi(self, site: Site[Margins], mu: float) -> Reference:
        return Reference.of(sample(site, self.rows), site.penalty, mu)

    def __call__(self, at: Point, agreed: Message, state: Tree, here: Local[Margins]) -> tuple[Point, Message, Tree]:
        """Solve the local problem; as many passes over the rows as the solver takes."""
        if not self._solves(here.site):
            return at, Message(namespace(at.x).zeros_like(at.x), np.empty(0)), state
        phi = self._phi(here.site, state.mu)
        own = at if self.rows is None else Point(at.x, at.known[: self.rows])
        if own.slope is None:
            own = own._replace(slope=phi.loss.value_grad(own)[1])
        q, pull = phi.grad(own), here.site.penalty.grad(at.x)
        pull += agreed.vector
        if self.eta != 1:
            pull *= self.eta
        q -= pull
        del pull  # a long vector
        z, memory = self.solver(phi, q, own, state.memory)
        z -= at.x
        return at._replace(gradient=agreed.vector), Message(z, np.empty(0)), state._replace(memory=memory)


def refuse_rough(penalty: Penalty) -> None:
    """Raise CapabilityError, naming what to use, where the penalty is not smooth. Not collective."""
    if not penalty.smooth:
        raise CapabilityError(
            "this method models the objective by a smooth local problem, which an l1 penalty or a box is not: "
            "use `method=fista`"
        )
