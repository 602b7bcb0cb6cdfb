"""The intercept at its minimum, the other coefficients as they are; then the residuals add up to 0, as duality gaps ask for."""

import numpy as np

from mpiopt.engine.phase import PerWorker
from mpiopt.outer.plane_search import minimise
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.protocols import Columns


def centred(team: Team[Columns], points: PerWorker) -> PerWorker:
    """The workers' points with the intercept moved; as they are where there is none. Collective: a few small sums."""
    if not team.sites[0].loss.intercept:
        return points
    x = points[0].x
    unit = np.zeros(x.size)
    unit[-1] = 1
    c = float(minimise(team, points, [unit], [np.ones((1, site.loss.rows)) for site in team.sites])[0])
    return PerWorker(Point(x + c * unit, at.known + c) for at in points)
