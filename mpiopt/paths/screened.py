"""Fits with an l1 penalty on the features that may matter, which all of them share, and what that proves of all features.

    S     |g_j| >= l1 - ((the l1 before) - l1) / 2, and l1 / 2, or x_j away from 0, of any of the fits
    fits  each on the columns S alone
    then  g over all features, two passes and messages for all fits; features that violate what holds at the optimum join S

Tibshirani, Bien, Friedman, Hastie, Simon, Taylor, Tibshirani, Strong rules for discarding predictors in lasso-type problems,
2012: the rule may leave out what matters, so that all features are looked at afterwards. The gap is that of `certificate`: with
the residuals shrunk until they add up to 0, where there is an intercept (`problems.unpenalised`, where more has no penalty),
and then until |g| <= l1, or with l2 not at all.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mpiopt.arrays import Array
from mpiopt.paths.newton_abreast import shrunk
from mpiopt.problems.abreast import Abreast
from mpiopt.problems.columns import coordinates, restricted
from mpiopt.problems.linear import Linear
from mpiopt.problems.per_feature import Net
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.unpenalised import Unpenalised

WORTH = 0.5  # of all features: more are not worth a copy of the rows
SLOPE = 0.5  # what a gradient is taken to change by, over what l1 does; the rule has 1, which costs more than what is missed
TURNS = 10  # in which features may join


def candidates(slope: Array, x: Array, l1: Array, before: Array) -> Array:
    """S as a mask, (features,), from gradients of the losses and points (features, k), the l1 of each, and the one before."""
    found = (abs(slope) >= np.maximum(l1 - SLOPE * (before - l1), l1 / 2)[:, None]).any(1) | (x != 0).any(1)
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


def proved(
    problem: Abreast,
    penalty: Net,
    margins: Sequence[Array],
    x: Array,
    without: Unpenalised | None = None,
    spread: Array | None = None,
) -> tuple[Array, Array, Array]:
    """F (k,), what it is at most above its minimum (k,), and gradients of the losses (dim, k), at x (dim, k).

    without : the columns that have no penalty, if any. spread : sum_i r_i^2 / h_i, (k,), of the rows' slopes and second
    derivatives, somewhere near; gaps are then of D(c r) to second order, f - c x.A^T r - (1 - c)^2 spread / 2, which takes
    no logarithms and proves nothing. Collective: two vector rounds with such columns or an intercept, else one, and a few
    small sums.
    """
    values, slope, rows = problem.gradient(margins)
    end, factors, even = len(x) - penalty.free, [np.ones_like(each) for each in rows], slope
    if without is not None or penalty.free:
        found = shrunk(problem, rows)[0] if without is None else without.factors(problem, margins, rows)
        factors = factors if found is None else found
        even = problem.combined([factor * each for factor, each in zip(factors, rows, strict=True)])
        if found is None:
            even[:] = np.inf
    inner, steep = np.ascontiguousarray(x[:end]), abs(even[:end])
    kinks, ridge = (each[:end, None] for each in (penalty.kinks(len(x)).l1, penalty.grad(np.ones(len(x)))))
    size, squares = problem.dots([(kinks * abs(inner), np.ones_like(inner)), (ridge * inner, inner)])
    values = values + size + squares / 2
    over = np.divide(steep, kinks, out=np.zeros_like(steep), where=kinks > 0).max(0, initial=0.0)
    feasible = np.minimum(1.0, 1 / np.maximum(over, np.finfo(float).tiny))
    if spread is not None:
        gaps = _near(problem, kinks, ridge, x, even, feasible) + size + squares / 2
        return values, np.maximum(gaps, 0) + (0.0 if ridge.any() else (1 - feasible) ** 2 / 2 * spread), slope
    bounds = [_dual(problem, kinks, ridge, margins, x, factors, steep, feasible)]
    if ridge.any():
        bounds.append(_dual(problem, kinks, ridge, margins, x, factors, steep, np.ones_like(feasible)))
    return values, np.maximum(values - np.max(bounds, 0), 4 * np.finfo(float).eps * abs(values)), slope


def _near(problem: Abreast, kinks: Array, ridge: Array, x: Array, even: Array, feasible: Array) -> Array:
    """The gaps, (k,), without penalties and to first order, of residuals whose A^T is ``even``, (dim, k)."""
    if not ridge.any():
        return feasible * problem.dots([(x, even)])[0]
    over = np.where(ridge > 0, np.maximum(abs(even[: len(kinks)]) - kinks, 0), 0)
    (across,), (squares,) = problem.dots([(x, even)]), problem.dots([(over / np.where(ridge > 0, ridge, 1.0), over)])
    return across + squares / 2


def _dual(
    problem: Abreast,
    kinks: Array,
    ridge: Array,
    margins: Sequence[Array],
    x: Array,
    factors: Sequence[Array],
    steep: Array,
    c: Array,
) -> Array:
    """The dual objectives, (k,), of residuals times factors and c (k,), of which |A^T| without c is ``steep``."""
    found = []
    for loss, seen, weights, factor in zip(problem.losses, margins, problem.weights, factors, strict=True):
        own = [replace(loss, weights=w) for w in weights]
        given = zip(own, x.T, seen, factor, c, strict=True)
        found.append(np.array([[one.conjugate(Point(at, m), f * each) * one.weight for one, at, m, f, each in given]]))
    over = np.where(ridge > 0, np.maximum(c * steep - kinks, 0), 0)
    squares, conjugates = problem.dots([(over / np.where(ridge > 0, ridge, 1.0), over)], found)
    return -conjugates - squares / 2
