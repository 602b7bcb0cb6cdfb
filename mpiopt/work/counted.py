"""Counted: minimise one worker's own model of F, of the features that it holds, each worker's part weighed by who holds them.

With share_w of all sample weights, tau_j the shares of the workers that hold feature j, and T = diag(tau), worker w solves

    (H_w + l2 T^-1) u_w = -T^-1 grad F     on the features that it holds;     message = T^-1 u_w, whose mean is the direction

(of its loss itself, not of its Hessian alone). For any diagonal matrices C_w >= 0 that add up to 1 and B_w = share_w H_w +
l2 C_w, which add up to the Hessian H,   H^-1 <= sum_w C_w B_w^-1 C_w =: M^-1   in the order of quadratic forms, since that sum
is the inverse of the parallel sum's bound (Anderson, Duffin, Series and parallel addition of matrices, 1969). The mean of DANE
is C_w = share_w; here C_w = share_w T^-1 where w holds a feature and 0 where not, which is never further from H^-1 where shares
are alike, and H^-1 itself where no two workers hold the same feature.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from mpiopt.arrays import Array, beside, namespace
from mpiopt.engine.phase import Local, PerWorker, Tree, Work
from mpiopt.problems.problem import Message, Point, Site, Team, mean
from mpiopt.problems.protocols import Columns
from mpiopt.problems.surrogate import Reference
from mpiopt.work.corrected import LocalSolver, refuse_rough
from mpiopt.work.local_solvers import NewtonCG

WHOLE = 1e-5  # further from 1 than the sum of all shares is by rounding of float32


class HeldFeatures(NamedTuple):
    """What a worker keeps.

    spread : (dim,) 1 / tau, the same for all workers, or (0,) where it is 1 everywhere. mine : (dim,), whether this worker
    holds a feature, or (0,).
    """

    mu: float
    spread: Array
    mine: Array
    memory: Tree  # the solver's


@dataclass(frozen=True)
class Counted(Work):
    """The local problem, corrected to have the gradient of F at x where the worker has a say.

    mu : of all workers together, for each of them spread as the penalty is.
    """

    needs: ClassVar[type] = Columns
    solver: LocalSolver
    mu: float = 0.0

    def aiming(self, gap: float) -> Self:
        """See `Aiming`; of the solvers that choose, all are loose here."""
        return replace(self, solver=self.solver.aiming(gap)) if isinstance(self.solver, NewtonCG) else self

    def begin(self, x: Array, team: Team[Columns]) -> PerWorker:
        """Who holds which features. Collective: a small sum, and one vector round of float32 unless all hold all of them,
        two where ranks have parts.

        Raises CapabilityError on every rank.
        """
        refuse_rough(team.penalty)
        held = [occurring(site) for site in team.sites]
        part = team.world.whole(0) > 0  # some ranks do not even know some features, on all ranks alike
        lacking = [
            np.array([float(part or not each.all())]) * (site.share > 0) for site, each in zip(team.sites, held, strict=True)
        ]
        none = beside(x, 0)
        spread, mine = none, [none] * len(held)
        if float(team.world.total(lacking, "features")[0]) > 0:
            parts = [Message(each.astype(np.float32), np.empty(0)) for each in held]
            tau = mean(team, parts, name="features").vector.astype(x.dtype)
            nobody, one = tau == 0, namespace(x).ones_like(tau)
            # all see to what nobody holds, of a coordinate that some ranks alone know these
            everyone = mean(team, [Message(one.astype(np.float32), np.empty(0))], name="features").vector if part else one
            tau = namespace(x).where(nobody, everyone, tau)
            spread = 1 / namespace(x).where(abs(tau - 1) < WHOLE, one, tau)
            mine = [each | nobody for each in held]
        with team.world.together("setting up the method"):
            return PerWorker(self._begun(x, site, spread, each) for site, each in zip(team.sites, mine, strict=True))

    def _begun(self, x: Array, site: Site[Columns], spread: Array, mine: Array) -> HeldFeatures:
        return HeldFeatures(self.mu, spread, mine, self.solver.init(x, self._phi(site, spread)))

    def _phi(self, site: Site[Columns], spread: Array) -> Reference[Any]:
        plain = Reference.of(site.loss, site.penalty, self.mu)
        return replace(plain, ridge=plain.ridge * spread) if spread.size else plain

    def __call__(
        self, at: Point, agreed: Message, state: HeldFeatures, here: Local[Columns]
    ) -> tuple[Point, Message, HeldFeatures]:
        """Solve the local problem; as many passes over the rows as the solver takes."""
        phi, xp = self._phi(here.site, state.spread), namespace(at.x)
        if at.slope is None:
            at = at._replace(slope=phi.loss.value_grad(at)[1])
        q, pull = phi.grad(at), here.site.penalty.grad(at.x)
        pull += agreed.vector
        weigh = xp.where(state.mine, state.spread, 0.0) if state.spread.size else None
        if weigh is not None:
            pull *= weigh
        q -= pull
        del pull  # a long vector
        z, memory = self.solver(phi, q, at, state.memory)
        z -= at.x
        if weigh is not None:
            z *= weigh
        return at._replace(gradient=agreed.vector), Message(z, np.empty(0)), state._replace(memory=memory)


def occurring(site: Site[Columns]) -> Array:
    """Which coordinates this worker's rows have entries of, (dim,) bool; none where they weigh nothing."""
    loss = site.loss
    found = loss.squares(beside(loss.y, loss.rows, 1)) > 0
    return found & (loss.weight > 0)
