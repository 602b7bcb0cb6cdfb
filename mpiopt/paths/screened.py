"""Fits with an l1 penalty on the features that may matter, which all of them share, and what that proves of all features.

    S     |g_j| >= 2 l1 - (the l1 before) or at least l1 / 2, or x_j away from 0, of any of the fits
    fits  each on the columns S alone
    then  g over all features, two passes and messages for all fits; features that violate what holds at the optimum join S

Tibshirani, Bien, Friedman, Hastie, Simon, Taylor, Tibshirani, Strong rules for discarding predictors in lasso-type problems,
2012: the rule may leave out what matters, so that all features are looked at afterwards. The gap is that of `certificate`: with
the residuals shrunk until they add up to 0, where there is an intercept, and then until |g| <= l1, or with l2 not at all.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mpiopt.arrays import Array
from mpiopt.paths.newton_abreast import shrunk
from mpiopt.problems.abreast import Abreast
from mpiopt.problems.columns import coordinates, restricted
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Point, Team

WORTH = 0.5  # of all features: more are not worth a copy of the rows
TURNS = 10  # in which features may join


def candidates(slope: Array, x: Array, l1: float, before: float) -> Array:
    """S as a mask, (features,), from gradients of the losses and points (features, k)."""
    found = (abs(slope) >= max(2 * l1 - before, l1 / 2)).any(1) | (x != 0).any(1)
    if not found.any():
        found[int(abs(slope).max(1, initial=0).argmax())] = True
    return found


def parts(teams: Sequence[Team[Linear]], features: Array) -> tuple[list[Team[Linear]], Array]:
    """The teams on some features, whose rows they share, and where their coefficients stand in x. Not collective."""
    first = restricted(teams[0], features)
    out = []
    for team in teams:
        pairs = zip(team.sites, first.sites, strict=True)
        sites = (replace(site, loss=replace(site.loss, matrix=small.loss.matrix)) for site, small in pairs)
        out.append(replace(team, sites=tuple(sites)))
    return out, coordinates(teams[0].sites[0].loss, features)


def proved(problem: Abreast, penalty: ElasticNet, margins: Sequence[Array], x: Array) -> tuple[Array, Array, Array]:
    """F (k,), what it is at most above its minimum (k,), and gradients of the losses (dim, k), at x (dim, k).

    Collective: two vector rounds with an intercept, else one, and a few small sums.
    """
    values, slope, rows = problem.gradient(margins)
    end, factors, even = len(x) - penalty.free, [np.ones_like(each) for each in rows], slope
    if penalty.free:
        factors, _ = shrunk(problem, rows)
        even = problem.combined([factor * each for factor, each in zip(factors, rows, strict=True)])
    inner, steep = np.ascontiguousarray(x[:end]), abs(even[:end])
    size, squares = problem.dots([(abs(inner), np.ones_like(inner)), (inner, inner)])
    values = values + penalty.l1 * size + penalty.l2 / 2 * squares
    feasible = np.minimum(1.0, penalty.l1 / np.maximum(steep.max(0, initial=0.0), np.finfo(float).tiny))
    bounds = [_dual(problem, penalty, margins, x, factors, steep, feasible)]
    if penalty.l2:
        bounds.append(_dual(problem, penalty, margins, x, factors, steep, np.ones_like(feasible)))
    return values, np.maximum(values - np.max(bounds, 0), 4 * np.finfo(float).eps * abs(values)), slope


def _dual(
    problem: Abreast, penalty: ElasticNet, margins: Sequence[Array], x: Array, factors: Sequence[Array], steep: Array, c: Array
) -> Array:
    """The dual objectives, (k,), of residuals times factors and c (k,), of which |A^T| without c is ``steep``."""
    found = []
    for loss, seen, weights, factor in zip(problem.losses, margins, problem.weights, factors, strict=True):
        own = [replace(loss, weights=w) for w in weights]
        given = zip(own, x.T, seen, factor, c, strict=True)
        found.append(np.array([[one.conjugate(Point(at, m), f * each) * one.weight for one, at, m, f, each in given]]))
    over = np.maximum(c * steep - penalty.l1, 0)
    squares, conjugates = problem.dots([(over, over)], found)
    return -conjugates - (squares / (2 * penalty.l2) if penalty.l2 else 0.0)
