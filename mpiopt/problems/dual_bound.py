"""What F is nowhere below, by dual variables: weak duality, for an l2 penalty and losses of rows.

    D(alpha) = -(1/W) sum_i w_i (loss*(-s_i alpha_i) + s_i alpha_i o_i) - |v|^2 / (2 l2),   v = (1/W) sum_i w_i s_i alpha_i a_i

W : the sum of all weights; o_i : a row's offset; s_i = y_i for losses of two classes, else 1 (Shalev-Shwartz and Zhang,
Stochastic dual coordinate ascent methods for regularized loss minimization, 2013, eq. 2). With an unpenalised intercept
sum_i w_i s_i alpha_i has to be 0: the terms of the sign that outweighs are shrunk. It holds for any alpha.
"""

from collections.abc import Sequence
from math import sqrt

import numpy as np

from mpiopt.arrays import Array
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Message, Team, mean
from mpiopt.problems.protocols import Conjugate

SHRINKS = 6  # tried between what l1 alone asks of residuals and what l2 alone does


def dual_bound(team: Team[Conjugate], alphas: Sequence[Array], image: Array | None = None) -> float:
    """D(alpha), alphas : (rows,) for each hosted worker; l2 > 0. Collective: one vector round.

    image : v / l2, (dim,), where that is known, all rows are one worker's and no coordinate is free: then none, and no pass.
    """
    if image is not None:
        return -_conjugates(team.sites[0].loss, alphas[0]) - 0.5 * team.penalty.l2 * team.world.dots([(image, image)])[0]
    signed = [_signed(site.loss, alpha) for site, alpha in zip(team.sites, alphas, strict=True)]
    if team.penalty.free:
        alphas, signed = _balanced(team, alphas, signed)
    messages = []
    for site, alpha, terms in zip(team.sites, alphas, signed, strict=True):
        scale = 1 / site.loss.weight if site.loss.weight > 0 else 0.0
        messages.append(Message(site.loss.combine(terms, scale), np.array([_conjugates(site.loss, alpha)])))
    agreed = mean(team, messages, name="dual bound")
    v = agreed.vector[: team.dim - team.penalty.free]
    return -float(agreed.scalars[0]) - team.world.dots([(v, v)])[0] / (2 * team.penalty.l2)


def shrinks(penalty: ElasticNet, largest: float) -> list[float]:
    """Factors of the residuals to try, ``largest`` the size of their image: the one that makes them feasible for l1 alone, and
    with l2 some up to 1. Not collective."""
    feasible = min(1.0, penalty.l1 / largest) if penalty.l1 and largest > 0 else 1.0
    if not penalty.l2 or feasible == 1:
        return [feasible]
    found = [feasible]
    for _ in range(SHRINKS):
        found.append(sqrt(found[-1]))  # which all CPUs round alike
    return [*found, 1.0]


def above(lower: float, objective: float) -> float:
    """How far an objective may be above its minimum; a difference is no better than its rounding."""
    return max(objective - lower, 4 * float(np.finfo(float).eps) * abs(objective))


def _conjugates(loss: Conjugate, alpha: Array) -> float:
    """The mean of a worker's terms loss*(-s_i alpha_i) + s_i alpha_i o_i: those of the gap at 0, less the losses there."""
    at = loss.shifted(np.zeros(loss.rows))
    total = loss.family.dual_gaps(at, loss.y, loss.weights, alpha) - loss.family.value_residual(at, loss.y, loss.weights)[0]
    return total / loss.weight if loss.weight > 0 else 0.0


def _signed(loss: Conjugate, alpha: Array) -> Array:
    """w_i s_i alpha_i, (rows,)."""
    signs = loss.family.signs(loss.y)
    terms = alpha * signs if signs.size else alpha.copy()
    return terms * loss.weights if loss.weights.size else terms


def _balanced(team: Team, alphas: Sequence[Array], signed: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """Dual variables and their terms, those of one sign shrunk so that the terms add up to 0. Collective: one small sum."""
    up, down = team.world.total([np.array([terms[terms > 0].sum(), -terms[terms < 0].sum()]) for terms in signed]).tolist()
    rise, fall = (min(1.0, down / up) if up > 0 else 1.0), (min(1.0, up / down) if down > 0 else 1.0)
    factors = [np.where(terms > 0, rise, fall) for terms in signed]
    return [a * f for a, f in zip(alphas, factors, strict=True)], [t * f for t, f in zip(signed, factors, strict=True)]
