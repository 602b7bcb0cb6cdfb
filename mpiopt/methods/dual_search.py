"""DualSearch: one worker's dual coordinate ascent, with a search in the primal plane of its image and the last step.

    z <- z(alpha) = A^T (w s alpha) / (l2 W) after a few epochs;      x <- argmin F over x + span(z - x, last step)

z(alpha) is exact, so that F(x) - D(alpha) certifies every round by a few numbers; no round takes a gradient. Epochs converge
as the local solver does (`host.dual`); the search takes off what the primal objective at z lags behind. An unpenalised
intercept is held near x, as `local_solvers.DualDescent` has it, and D(alpha) is that of balanced dual variables
(`problems.dual_bound`). After Shalev-Shwartz and Zhang 2013; the search is ours.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Measured, Named, Run, measured
from mpiopt.engine.phase import Joint, PerWorker
from mpiopt.errors import CapabilityError
from mpiopt.outer.line_search import refuse_kinks
from mpiopt.outer.plane_search import PlaneMemory, PlaneSearch
from mpiopt.problems.dual_bound import above, dual_bound
from mpiopt.problems.problem import Message, Point, Site, Team, gradient
from mpiopt.problems.protocols import Conjugate
from mpiopt.problems.surrogate import Reference
from mpiopt.work.local_solvers import DualDescent


class DualState(NamedTuple):
    """The dual variables with their image, and what spans the next plane."""

    dual: PerWorker  # of DualMemory
    plane: PlaneMemory


@dataclass(frozen=True)
class DualSearch(Named):
    """At most ``solver.epochs`` a round, for one worker."""

    solver: DualDescent = field(default_factory=lambda: DualDescent(0.001, 12))
    plane: PlaneSearch = field(default_factory=PlaneSearch)
    dvectors: int = 9
    needs: ClassVar[type] = Conjugate

    def aiming(self, gap: float) -> Self:
        """See `Aiming`."""
        return replace(self, solver=self.solver.aiming(gap))

    def init(self, x: Array, team: Team[Any]) -> Run:
        """Dual variables that fit the margins at x, or their usual start at 0. Collective. Raises CapabilityError."""
        points = PerWorker(site.loss.point(x) for site in team.sites)
        return self.onward(Run(points, None, ()), team)

    def onward(self, run: Run, team: Team[Any]) -> Run:
        """From where another method stands. Collective. Raises CapabilityError."""
        self.check(team, self)
        _demand(team, self.name)
        with team.world.together("setting up the method"):
            memories = [self.solver.init(at.x, _phi(site)) for site, at in zip(team.sites, run.points, strict=True)]
            fitted = zip(memories, team.sites, run.points, strict=True)
            dual = PerWorker(memory.fit(site.loss, at) for memory, site, at in fitted)
        return run._replace(states=DualState(dual, self.plane.init(run.points[0].x, team)))

    def step(self, run: Run, team: Team[Any]) -> Run:
        """A few epochs and one pass over the rows. Collective: a few small sums."""
        (site,), (at,), (dual,) = team.sites, run.points, run.states.dual
        z, dual = self.solver(_phi(site), np.zeros(team.dim), at, dual)
        z -= at.x
        points, plane = self.plane(Message(z, np.empty(0)), run.points, run.states.plane, Joint(team, run.round))
        return Run(points, None, DualState(PerWorker((dual,)), plane), run.round + 1)

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """Collective: a vector round of recording, two with an intercept."""
        found, (dual,) = measured(team, run.points[0].x, gradient(team, run.points)), run.states.dual
        lower = dual_bound(team, dual.alpha, None if team.penalty.free else dual.image)
        return found._replace(gap=min(found.gap, above(lower, found.objective)))

    def lower(self, run: Run, team: Team[Any]) -> float:
        """See `Bounding`. Collective: one vector round."""
        return dual_bound(team, run.states.dual[0].alpha)

    def answer(self, run: Run, team: Team[Any]) -> Point:
        """x."""
        return run.points[0]


def _phi(site: Site[Any]) -> Reference[Any]:
    return Reference.of(site.loss, site.penalty, 0.0)


def _demand(team: Team[Conjugate], name: str) -> None:
    """Raises CapabilityError, the same on every rank, where there is more than one worker, or no such dual."""
    if team.world.workers > 1:
        raise CapabilityError(
            f"{name} in its form dual is for one worker, and here are {team.world.workers}: leave the form out"
        )
    refuse_kinks(team.penalty)
    team.sites[0].loss.demand_descent(name)
    if not team.penalty.l2 > 0:
        raise CapabilityError(
            f"{name} in its form dual needs an l2 penalty, and l2 is 0: give `l2` above 0, or leave the form out"
        )
