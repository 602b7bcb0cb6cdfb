"""How far the objective of several classes is from its minimum, by dual variables: with free intercepts, and with kinks.

A row's loss log sum_c exp(m_c) - m_y has the conjugate sum_c a_c log a_c at a - e_y, a in the simplex. So for any such a_i with
sum_i w_i (a_i - e_y) = 0 where intercepts are free (Fenchel's duality; Boyd and Vandenberghe, Convex optimization, 2004, 5.1)

    F(x) - F*  <=  (1/W) sum_i w_i KL(a_i | p_i)  +  [penalty(x) + V.x + penalty*(-V)],    V = mean A^T (a - e_y)

p_i the chances at x, and both terms are of positive parts alone: nothing cancels. For an l2 penalty the second is
|l2 x + V|^2 / (2 l2). Chances of the classes that are foretold too often are lowered in proportion, all rows alike, and what
is left over goes to the other classes, as each lacks it; with l1 all a_i are drawn towards e_y until |V| <= l1. (This way
of making a_i feasible is ours.)
"""

from collections.abc import Sequence

import numpy as np

from mpiopt.arrays import Array
from mpiopt.problems.dual_bound import shrinks
from mpiopt.problems.penalties import ElasticNet, sliced
from mpiopt.problems.problem import Message, Point, Team, mean, mean_scalars, measures
from mpiopt.problems.protocols import Several


def class_gap(team: Team[Several], x: Array) -> float:
    """The bound at x (dim,), infinity where there is no penalty. Collective: one vector round and a few small sums."""
    penalty = team.penalty
    if not penalty.grows:
        return np.inf
    points = [site.loss.point(x) for site in team.sites]
    shares = balance(team, points)
    found = [site.loss.dual(at, *shares) for site, at in zip(team.sites, points, strict=True)]
    agreed = mean(team, [Message(slope, np.array([far])) for far, slope in found], name="certificate")
    if penalty.smooth:
        return float(agreed.scalars[0]) + measures(team, x, agreed.vector)[0] ** 2 / (2 * penalty.l2)
    slope = agreed.vector
    slope[slope.size - penalty.free :] = 0  # but for rounding
    best = np.inf
    largest = float(abs(slope).max()) if slope.size else 0.0
    for shrink in shrinks(penalty, largest) if isinstance(penalty, ElasticNet) else [1.0]:
        parts = [np.array([site.loss.dual_distance(at, *shares, shrink)]) for site, at in zip(team.sites, points, strict=True)]
        best = min(best, float(mean_scalars(team, parts, "certificate")[0]) + _between(team, x, shrink * slope))
    return best


def balance(team: Team[Several], points: Sequence[Point]) -> tuple[Array, Array]:
    """What is kept of each class's chances, and what each takes of the rest, (classes,), so that the dual variables of all rows
    add up to the rows of each class. Collective: one small sum."""
    loss = team.sites[0].loss
    if not team.penalty.free:
        return np.ones(loss.classes), np.zeros(loss.classes)
    parts = [site.loss.class_sums(at) for site, at in zip(team.sites, points, strict=True)]
    foretold, there = team.world.total([part.reshape(-1) for part in parts], "certificate").reshape(2, -1)
    over = foretold > there
    kept = np.where(over, there / np.where(over, foretold, 1.0), 1.0)
    lacking = np.maximum(there - foretold, 0.0)
    return kept, lacking / (lacking.sum() or 1.0)


def _between(team: Team, x: Array, slope: Array) -> float:
    """penalty(x) + slope.x + penalty*(-slope), every worker seeing to its slice. Collective: one small sum."""
    parts = []
    for cut in team.world.slices(x.size):
        penalty = sliced(team.penalty, cut, x.size)
        parts.append(np.array([penalty.value(x[cut]) + float(slope[cut] @ x[cut]) + penalty.conjugate(-slope[cut])]))
    return max(float(team.world.total(parts, "certificate")[0]), 0.0)
