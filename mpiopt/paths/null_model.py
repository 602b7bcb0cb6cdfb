"""The fit of features without a penalty, all others left out: where a path of l1 penalties begins."""

from dataclasses import replace

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.drive import solve
from mpiopt.engine.method import Method
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import UsageError
from mpiopt.problems.columns import coordinates, restricted
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team, gradient
from mpiopt.problems.protocols import Columns
from mpiopt.problems.unpenalised import MOST

ROUNDS = 200
EXACT = 1e-12  # of the gradient at 0: what is left of it


def demand_penalised(factors: Array | None) -> None:
    """Raise UsageError where factors (features,) leave nothing that a path is about, or too much beside it. Not collective."""
    if factors is None or factors.all():
        return
    if not factors.any():
        raise UsageError("all penalty factors are 0: there is nothing that a path of penalties is about")
    if (count := int((factors == 0).sum())) > MOST:
        raise UsageError(f"{count:,} features have a penalty factor of 0, and a path takes at most {MOST}")


def unpenalised(team: Team[Columns], features: Array, inner: Method) -> Array:
    """x (dim,), 0 but for ``features`` (k,), ascending, and the intercept, which have no penalty. Collective.

    Raises UsageError on every rank where there is no such fit.
    """
    small, net = restricted(team, features), ElasticNet(free=int(team.sites[0].loss.intercept))
    small = replace(small, sites=tuple(replace(site, penalty=net) for site in small.sites))
    zeros = small.zeros()
    slope = gradient(small, [site.loss.point(zeros) for site in small.sites]).vector
    steep = float(np.sqrt(small.world.dots([(slope, slope)])[0]))
    found = solve(inner, small, zeros, Stop(rounds=ROUNDS, gradient=EXACT * steep))
    if found.reason is Reason.SEPARABLE:
        raise UsageError(
            "the features without a penalty tell the classes apart by themselves, so that there is no fit of them to begin a "
            "path at: give some of them a factor above 0"
        )
    x = team.zeros()
    x[coordinates(team.sites[0].loss, features)] = found.x
    return x
