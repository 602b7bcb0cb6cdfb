"""SGD with any sampling of rows, its step from theory.

    sgd_as     DrawnRows(sampling) -> Mean          x <- x - gamma_k sum_w share_w g_w, g_w a weighted gradient over drawn rows
               SizedRows -> Mean                    the same, the rows of a step counted out for an accuracy (`chosen_descent`)

gamma_k is constant at first and falls as 1/k from where the noise of the draws would hold it up. Gower, Loizou, Qian,
Sailanbayev, Shulgin, Richtarik, SGD: general analysis and improved rates, ICML 2019.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Composed, Measured, Run, measured
from mpiopt.engine.phase import PerWorker
from mpiopt.errors import CapabilityError
from mpiopt.outer.descend import Falls
from mpiopt.problems.problem import Point, Team, gradient
from mpiopt.problems.protocols import Columns, offers
from mpiopt.sampling.constants import RowConstants, row_constants
from mpiopt.work.drawn import DrawnRows


@dataclass(frozen=True)
class SampledDescent(Composed):
    """A method of one phase that draws rows, and looks at all of them to be measured."""

    def init(self, x: Array, team: Team[Any]) -> Run:
        """At x, the constants of the rows known. Collective. Raises CapabilityError on every rank where there are none."""
        states = self._states(x, team)
        with team.world.together("looking at the rows"):
            mu, known = self._constants(team)
            work = cast(DrawnRows, self.phases[0].work)
            each = np.array([[work.law(site).smoothness(c)] for site, c in zip(team.sites, known, strict=True)])
        smoothness = float(joint(team, each, [c.whole for c in known])[0])
        states = states._replace(outer=Falls(max(smoothness, mu), mu))
        return Run(PerWorker(Point(x) for _ in team.sites), None, states)

    def _constants(self, team: Team[Any]) -> tuple[float, list[RowConstants]]:
        """mu, and the constants of every hosted worker's rows, gradients at 0. Raises CapabilityError where there are none."""
        mu = team.penalty.l2
        if not mu > 0 or team.penalty.free:
            raise CapabilityError(
                f"the steps of {self.name} follow from how strongly convex the objective is: give an l2 above 0 and no "
                "intercept, or use gradient"
            )
        for site in team.sites:
            if not (offers(site.loss, Columns) and np.isfinite(site.loss.lipschitz)):
                raise CapabilityError(
                    f"{self.name} draws rows of linear models whose losses have a bounded second derivative, and this is none: "
                    "use gradient"
                )
        return mu, [row_constants(site.loss, mu, np.zeros(site.loss.dim)) for site in team.sites]

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """F and its gradient, by a pass over all rows. Collective."""
        x = run.points[0].x
        return measured(team, x, gradient(team, [site.loss.point(x) for site in team.sites]))


def joint(team: Team[Any], each: Array, whole: Sequence[float]) -> Array:
    """Bounds (k,) of the expected smoothness of the mean over workers, of draws by k laws. Collective.

    each : (hosted workers, k), of a worker's own draws; whole : L of all its rows.
    """
    shared = np.array([site.share for site in team.sites])[:, None] * each
    found = np.stack([each.max(axis=0), shared.max(axis=0), np.full(each.shape[1], max(whole))])
    most, part, top = team.world.extremes(found, "sampling")[1]
    return most if team.world.workers == 1 else np.minimum(most, top + part)
