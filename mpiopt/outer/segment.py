"""Search along a segment for penalties with kinks: the whole step where that descends enough, else the best of its halves.

Margins change by sums, so that it costs one product A p and as many passes over margins as steps are tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.phase import PerWorker
from mpiopt.kernels.kinked import Kinks
from mpiopt.kernels.knotted import Knots
from mpiopt.outer.line_search import ENOUGH, bregmans
from mpiopt.problems.problem import Team
from mpiopt.problems.protocols import Margins

HALVES = tuple(2.0**-k for k in range(1, 9))


@dataclass(frozen=True)
class Segment:
    """From the workers' common point to p (k,) further on.

    slope, bend : (k,), of F's smooth part and of the penalty's. kinks : of the penalty. rows : p's margins, (rows,) per hosted
    worker.
    """

    team: Team[Margins]
    points: PerWorker
    slope: Array
    bend: Array
    kinks: Kinks | Knots
    p: Array
    rows: Sequence[Array]

    def taken(self, slack: float) -> float:
        """The t of the step that is taken, 0 for none. Collective: one small sum, or two.

        slack : what a whole step may rise by.
        """
        whole, promised = self._changes((1.0,))
        if whole <= ENOUGH * promised + slack:
            return 1.0
        changes = np.array([whole, *self._changes(HALVES)[:-1]])
        best = int(np.argmin(np.where(np.isfinite(changes), changes, np.inf)))
        return (1.0, *HALVES)[best] if changes[best] < 0 else 0.0

    def _changes(self, steps: Sequence[float]) -> list[float]:
        """F(x + t p) - F(x) for each step t, and what its slope promises of the longest. Collective."""
        x, p, team = self.points[0].x, self.p, self.team
        trials = [[at.known + t * row for t in steps] for at, row in zip(self.points, self.rows, strict=True)]
        rises, parts = [self.kinks.rise(x, t * p) for t in steps], []
        cuts = zip(team.world.slices(p.size), team.world.slices(rises[0].size), strict=True)
        for site, found, (cut, own) in zip(team.sites, bregmans(team, self.points, trials), cuts, strict=True):
            step, rise = p[cut], [float(each[own].sum()) for each in rises]
            straight, curved = float(self.slope[cut] @ step), float(self.bend[cut] @ (step * step))
            along = [t * straight + t * t / 2 * curved + more for t, more in zip(steps, rise, strict=True)]
            parts.append(np.array([*(site.share * found + along), steps[0] * straight + rise[0]]))
        return team.world.total(parts, "search").tolist()
