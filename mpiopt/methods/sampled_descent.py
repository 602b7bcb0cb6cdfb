"""SGD with any sampling of rows, its step from theory.

    sgd_as     DrawnRows(sampling) -> Mean          x <- x - gamma_k sum_w share_w g_w, g_w a weighted gradient over drawn rows

gamma_k is constant at first and falls as 1/k from where the noise of the draws would hold it up. Gower, Loizou, Qian,
Sailanbayev, Shulgin, Richtarik, SGD: general analysis and improved rates, ICML 2019.
"""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Composed, Measured, Run, measured
from mpiopt.engine.phase import PerWorker, Phase
from mpiopt.errors import CapabilityError
from mpiopt.exchange.mean import Mean
from mpiopt.methods.entry import Entry
from mpiopt.outer.descend import Falling, Falls
from mpiopt.problems.problem import Point, Team, gradient
from mpiopt.problems.protocols import Columns, offers
from mpiopt.sampling.constants import row_constants
from mpiopt.sampling.plans import GOWER, plan_of
from mpiopt.work.drawn import DrawnRows


@dataclass(frozen=True)
class SampledDescent(Composed):
    """A method of one phase that draws rows, and looks at all of them to be measured."""

    def init(self, x: Array, team: Team[Any]) -> Run:
        """At x, the constants of the rows known. Collective. Raises CapabilityError on every rank where there are none."""
        states = self._states(x, team)
        with team.world.together("looking at the rows"):
            mu = team.penalty.l2
            if not mu > 0 or team.penalty.free:
                raise CapabilityError(
                    f"the steps of {self.name} follow from how strongly convex the objective is: give an l2 above 0 and no "
                    "intercept, or use gradient"
                )
            known = [self._known(site, mu) for site in team.sites]
        top = team.world.extremes(np.array([max(one) for one in zip(*known, strict=True)]), "sampling")[1]
        smoothness = float(top[0] if team.world.workers == 1 else min(top[0], top[2] + top[1]))
        states = states._replace(outer=Falls(max(smoothness, mu), mu))
        return Run(PerWorker(Point(x) for _ in team.sites), None, states)

    def _known(self, site: Any, mu: float) -> tuple[float, float, float]:
        """The expected smoothness of a worker's draws, that times its share, and L of its rows."""
        if not (offers(site.loss, Columns) and np.isfinite(site.loss.lipschitz)):
            raise CapabilityError(
                f"{self.name} draws rows of linear models whose losses have a bounded second derivative, and this is none: use "
                "gradient"
            )
        law = cast(DrawnRows, self.phases[0].work).law(site)
        c = row_constants(site.loss, mu, np.zeros(site.loss.dim))
        found = law.smoothness(c)
        return found, site.share * found, c.whole

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """F and its gradient, by a pass over all rows. Collective."""
        x = run.points[0].x
        return measured(team, x, gradient(team, [site.loss.point(x) for site in team.sites]))


def sgd_as(sampling: str | None = None) -> SampledDescent:
    """SGD with any sampling, by theory's steps: constant, then falling.

    sampling : nice:64, single:importance, independent:count=32, partition:blocks=100, of each worker's rows; 64 rows, or as
    many as there are, unless given.
    """
    plan = None if sampling is None else plan_of(sampling)
    return SampledDescent(None, (Phase(DrawnRows(plan), Mean()),), Falling(), dvectors=13)


ENTRIES = (Entry(sgd_as, GOWER),)
