"""ActiveSet: another method for an l1 penalty, run on the few features that matter.

    repeat   g = gradient of f over all features                                       one d-vector
             W = support of x and the worst violators of |g_j| <= l1
             solve on the columns W until the violation is a fraction of the one before    messages of |W| numbers
                 some steps of the inner method, until the signs settle; a Newton step on the face that they define

The compact problem is made by every worker for itself. The answer's gradient is known over all features, so a violation
of 0 outside W is seen and not assumed. Yuan, Ho, Lin, An improved GLMNET for l1-regularized logistic regression, 2012,
for working sets by violation.
"""

from dataclasses import dataclass
from math import sqrt
from typing import TypeGuard
from zlib import crc32

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Composed, Measured, Named, Run, measured
from mpiopt.engine.phase import PerWorker
from mpiopt.outer.face import newton_on_face
from mpiopt.problems.columns import coordinates, restricted, working_set
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Point, Team, gradient, offered
from mpiopt.problems.protocols import Columns, Penalty

FORCING = 0.1  # what CG leaves of the residual on a face; with the limit on products it also keeps flat faces at bay
ROUNDING = 10 * np.finfo(float).eps  # of the gradient: a violation below is not worth chasing


@dataclass(frozen=True)
class ActiveSet(Named):
    """``inner`` on working sets where the penalty has an l1 part and the loss `Columns`; ``inner`` itself elsewhere.

    One step is one cycle: at most ``cycles`` times up to ``settling`` inner steps, with a Newton step of up to
    ``products`` products in between, and one gradient over all features. ratio : what the violation falls to in a cycle.
    least : violators taken in at once, or as many as the support has, if that is more.
    dvectors : as of every method, where working sets are small beside all features; 18 where they are all of them.
    """

    inner: Composed
    ratio: float = 0.1
    settling: int = 50
    cycles: int = 30
    products: int = 50
    least: int = 100
    dvectors: int = 14

    def init(self, x: Array, team: Team) -> Run:
        """Evaluate at x. Collective."""
        self.check(team, *self.inner.blocks)
        if not (kinked(team.penalty) and offered(team, Columns)):
            return self.inner.init(x, team)
        points = PerWorker(site.loss.point(x) for site in team.sites)
        return Run(points, gradient(team, points), ())

    def step(self, run: Run, team: Team) -> Run:
        """One cycle. Collective."""
        penalty = team.penalty
        if not (kinked(penalty) and offered(team, Columns)):
            return self.inner.step(run, team)
        x, loss = run.points[0].x, team.sites[0].loss
        residual = team.penalty.residual(x, run.agreed.vector)
        shown = x[: loss.features] != 0
        features = working_set(shown, abs(residual[: loss.features]), max(self.least, int(shown.sum())))
        team.world.demand_alike({"the working set": crc32(features.tobytes())}, f"in round {run.round + 1}")
        where = coordinates(loss, features)
        violation, slope = team.world.dots([(residual, residual), (run.agreed.vector, run.agreed.vector)])
        target = max(self.ratio * sqrt(violation), ROUNDING * sqrt(slope))
        found = self._solve(restricted(team, features), penalty, x[where], target)
        x = np.zeros(x.size)
        x[where] = found[0].x
        points = PerWorker(Point(x, at.margins) for at in found)
        return Run(points, gradient(team, points), (), run.round + 1)

    def _solve(self, part: Team[Columns], penalty: ElasticNet, x: Array, target: float) -> PerWorker:
        """The points at a solution on the working set. Collective."""
        for _ in range(self.cycles):
            run = self._settled(self.inner.init(x, part), part, target)
            if self.inner.measure(run, part).gradient_norm <= target:
                break
            run = run._replace(points=newton_on_face(part, penalty, run.points, run.agreed.vector, FORCING, self.products))
            x = run.points[0].x
        return run.points

    def _settled(self, run: Run, part: Team, target: float) -> Run:
        """Inner steps until three in a row have left the signs alone."""
        same = 0
        while run.round < self.settling and same < 3 and self.inner.measure(run, part).gradient_norm > target:
            signs = np.sign(run.points[0].x)
            run = self.inner.step(run, part)
            turned = not np.array_equal(signs, np.sign(run.points[0].x))
            same = 0 if part.world.extremes(np.array([turned]), "signs")[1][0] else same + 1
        return run

    def measure(self, run: Run, team: Team) -> Measured:
        """From the gradient over all features. Collective: one small sum."""
        return measured(team, run.points[0].x, run.agreed)

    def answer(self, run: Run, team: Team) -> Point:
        """The common point."""
        return run.points[0]


def kinked(penalty: Penalty) -> TypeGuard[ElasticNet]:
    """Whether there is an l1 part."""
    return isinstance(penalty, ElasticNet) and penalty.l1 > 0
