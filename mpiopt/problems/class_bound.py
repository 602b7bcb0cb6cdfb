"""How far the objective of several classes is from its minimum, by dual variables: with free intercepts, and with kinks.

For a loss l of margins with the conjugate l* and any u_i in its domain, with sum_i w_i u_i = 0 where intercepts are free
(Fenchel's duality; Boyd and Vandenberghe, Convex optimization, 2004, section 5.1),

    F(x) - F*  <=  (1/W) sum_i w_i [l(m_i) + l*(u_i) - u_i.m_i]  +  [penalty(x) + V.x + penalty*(-V)],   V = A^T u / W

of which no term is below 0. For the softmax u = a - e_y with a in the simplex, and the first is the relative entropy of a from
the chances. For an l2 penalty the second is |l2 x + V|^2 / (2 l2). u is the slope at m, changed by each loss in a way of its
own until it adds up to 0, and with l1 shrunk until |V| <= l1.
"""

from collections.abc import Sequence

import numpy as np

from mpiopt.arrays import Array
from mpiopt.problems.dual_bound import shrinks
from mpiopt.problems.penalties import ElasticNet, Inseparable, sliced
from mpiopt.problems.problem import Message, Point, Team, mean, mean_scalars, measures
from mpiopt.problems.several import Several

ROUNDING = 4 * float(np.finfo(float).eps)  # by which what is shrunk to a bound stays inside it


def class_gap(team: Team[Several], points: Sequence[Point]) -> float:
    """The bound at a point, infinity without a penalty, and for one that is no sum over coordinates.

    Collective: one vector round and a few small sums.
    """
    penalty = team.penalty
    if not penalty.grows or isinstance(penalty, Inseparable):
        return np.inf
    x = points[0].x
    parts = [site.loss.dual_sums(at) for site, at in zip(team.sites, points, strict=True)] if penalty.free else []
    sums = team.world.total([part.reshape(-1) for part in parts], "certificate").reshape(2, -1) if parts else None
    found = [site.loss.dual(at, sums) for site, at in zip(team.sites, points, strict=True)]
    agreed = mean(team, [Message(slope, np.array([far])) for far, slope in found], name="certificate")
    if penalty.smooth:
        return float(agreed.scalars[0]) + measures(team, x, agreed.vector)[0] ** 2 / (2 * penalty.l2)
    slope = agreed.vector
    slope[slope.size - penalty.free :] = 0  # but for rounding
    best = np.inf
    largest = float(abs(slope).max()) * (1 + ROUNDING) if slope.size else 0.0
    for shrink in shrinks(penalty, largest) if isinstance(penalty, ElasticNet) else [1.0]:
        distances = [np.array([site.loss.dual_distance(at, sums, shrink)]) for site, at in zip(team.sites, points, strict=True)]
        best = min(best, float(mean_scalars(team, distances, "certificate")[0]) + _between(team, x, shrink * slope))
    return best


def _between(team: Team, x: Array, slope: Array) -> float:
    """penalty(x) + slope.x + penalty*(-slope), every worker seeing to its slice. Collective: one small sum."""
    parts = []
    for cut in team.world.slices(x.size):
        penalty = sliced(team.penalty, cut, x.size)
        parts.append(np.array([penalty.value(x[cut]) + float(slope[cut] @ x[cut]) + penalty.conjugate(-slope[cut])]))
    return max(float(team.world.total(parts, "certificate")[0]), 0.0)
