"""The constants of a problem that step sizes of theory ask for, found by power iteration."""

from collections.abc import Sequence
from functools import partial
from math import sqrt

import numpy as np

from mpiopt.arrays import Array, namespace, roomy
from mpiopt.errors import UsageError
from mpiopt.numerics.theory import Constants
from mpiopt.problems.lifted import largest
from mpiopt.problems.problem import Message, Team, mean
from mpiopt.problems.protocols import Curvature

SAFETY = 1.02


def constants(team: Team[Curvature], x: Array) -> Constants:
    """L, the L_i and mu of F at x (dim,); at 0, where the logistic loss is steepest, they hold everywhere. Collective.

    F is the plain mean of n share_w (f_w + penalty) over the n workers, and the L_i are those of these: theory knows no
    weights. mu is that of the penalty. One vector round for each of `lifted.PRODUCTS` products. Raises UsageError on every
    rank where there is no curvature.
    """
    points = [site.loss.point(x) for site in team.sites]
    maps = [site.loss.hessian(at) for site, at in zip(team.sites, points, strict=True)]
    l2, start = team.penalty.l2, namespace(x).asarray(team.sites[0].streams("curvature").standard_normal(x.size))
    whole = SAFETY * largest(
        lambda v: _mean(team, [product(v) for product in maps]), team.world.bcast(start), norm=partial(_agreed_length, team)
    )
    if not whole + l2 > 0:
        raise UsageError(
            "the step size follows from the curvature of the objective, and none can be measured: give the method "
            "its step (gamma), or scale the data"
        )
    n = team.world.workers
    own = [n * site.share * (SAFETY * largest(product, start) + l2) for site, product in zip(team.sites, maps, strict=True)]
    top = team.world.extremes(np.array([max(own)]))[1][0]
    squares = team.world.total([np.array([(each / top) ** 2]) for each in own])[0] / n
    return Constants(whole + l2, float(top), float(top) * sqrt(squares), l2, n)


def _mean(team: Team[Curvature], parts: Sequence[Array]) -> Array:
    return mean(team, [Message(part, np.zeros(0)) for part in parts], name="curvature").vector


def _agreed_length(team: Team[Curvature], v: Array) -> float:
    """Of a vector that all ranks hold. Collective."""
    world = team.world
    return roomy(
        lambda v: sqrt(world.dots([(v, v)], "curvature")[0]),
        lambda v: float(world.extremes(np.array([abs(v).max()]), "curvature")[1][0]),
        v,
    )
