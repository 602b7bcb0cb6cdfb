"""How unlike the workers' gradients are, which redundancy makes less of."""

from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.problems.problem import Message, Team, mean
from mpiopt.work.log import slope


def diversity(team: Team[Any], x: Array, step: int) -> float:
    """Gradient diversity at x (dim,): sum |g_w|^2 / |sum g_w|^2 over the samples of a step, 1 / workers where all are alike.

    Collective: one vector round. Yin, Pananjady, Lam, Papailiopoulos, Ramchandran, Bartlett, Gradient diversity: a key
    ingredient for scalable distributed learning, AISTATS 2018, definition 1.
    """
    slopes = [slope(x, site, site.sample(step))[1] for site in team.sites]
    even = [1 / team.world.workers] * len(slopes)
    along = mean(team, [Message(g, np.zeros(0)) for g in slopes], even, "diversity").vector
    squares = float(team.world.total([np.array([float((g * g).sum())]) for g in slopes])[0])
    together = float((along * along).sum()) * team.world.workers**2
    return squares / together if together > 0 else float("inf")
