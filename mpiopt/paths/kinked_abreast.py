"""Proximal Newton for problems abreast that have kinks: fits with an l1 penalty of all rows and without each of some folds.

    T_f = sum of w_i bend_i a_i a_i^T over the rows of fold f, at the fit of all rows      one pass, one message for all fits
    H_k = (sum of all T_f, less T_k) / weight_k                                            of the fit without fold k
    v_k = argmin g_k.(v - x_k) + (v - x_k).H_k (v - x_k) / 2 + penalty(v)                  each by one worker, and told to all
    x_k <- x_k + t_k (v_k - x_k), t = 1, 1/2, ...                                          small sums for all fits

H_k is that of another point than x_k, and is kept while gaps fall well with it: a step then costs a pass with its message, and
H_k learns by what it did to the slope (Nocedal, Wright, Numerical optimization, 2006, eq. 6.19). As `methods.prox_newton`; what
is shared between the folds is ours. Of few features: matrices of them are held for every fold.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.kinked import Kinks, minimised, unfolded
from mpiopt.outer.line_search import ENOUGH
from mpiopt.paths.screened import proved
from mpiopt.problems.abreast import Abreast
from mpiopt.problems.per_feature import Net
from mpiopt.problems.problem import Point
from mpiopt.problems.unpenalised import Unpenalised

MOST = 1500  # features
WELL = 0.3  # of a gap: a Hessian at hand has to bring it below, else it is summed anew where the point has moved
DAMPING = 1e-6  # of the diagonal, always: matrices may be singular, and are rounded to float32
SHORT = 1500  # numbers up to which a message takes as long however few its bytes are
FIRST, PATIENCE = 1e-5, 4  # damping after a step that was cut down; steps without a better gap
EPOCHS, SETTLED = (20,), 1e-12  # of coordinate descent, before a step by a factorisation
HALVINGS = 8
SLACK = 4e-15  # of F: what a whole step may rise by, which is rounding


def kinked(
    problem: Abreast, penalty: Net, x: Array, tolerance: float, limit: int, without: Unpenalised | None = None
) -> tuple[Array, list[Array], int] | None:
    """x (dim, k) whose gaps are at most the tolerance, about, margins (k, rows) for each worker, and the steps that it
    took; None where that is not reached. Collective: two vector rounds a step, but for rows' Hessians.

    x : (dim, k), to begin at; limit : of steps; without : as of `proved`. The first problem has the rows of all others.
    """
    kinks, bend = penalty.kinks(len(x)), penalty.grad(np.ones(len(x)))
    tau, best, waited = 0.0, np.full(x.shape[1], np.inf), 0
    hessians: list[Array] = []
    margins, there = problem.margins(x), x[:, 0]
    look, steps = partial(_at, problem, penalty, without, problem.spread(margins)), 0
    at = look(x, margins)
    while True:
        gaps = at.gaps
        if (gaps <= tolerance).all():
            return at.x, at.margins, steps
        waited = 0 if (gaps < best).any() else waited + 1
        if steps == limit or waited == PATIENCE or not np.isfinite(at.values).all():
            return None
        slow = (gaps > np.maximum(WELL * best, tolerance)).any()
        if not hessians or (slow and (at.x[:, 0] != there).any()):
            hessians, there = _summed(problem, at.x, at.margins), at.x[:, 0]
        best = np.minimum(best, gaps)
        steep = at.slope + bend[:, None] * at.x
        step = _steps(problem, hessians, bend, kinks, steep, at.x, gaps > tolerance, DAMPING + tau)
        slope = at.slope
        t, at = _searched(problem, look, kinks, steep, at, step)
        _learn(problem, hessians, t * step, at.slope - slope)
        tau = max(10 * tau, FIRST) if (t < 0.5).any() else tau / 10 if tau > FIRST else 0.0
        steps += 1


class FitsSeen(NamedTuple):
    """What `proved` finds at x (dim, k), margins (k, rows) for each worker; gaps but for what is of third order."""

    x: Array
    margins: list[Array]
    values: Array
    gaps: Array
    slope: Array


def _at(problem: Abreast, penalty: Net, without: Unpenalised | None, spread: Array, x: Array, margins: list[Array]) -> FitsSeen:
    return FitsSeen(x, margins, *proved(problem, penalty, margins, x, without, spread))


def _summed(problem: Abreast, x: Array, margins: Sequence[Array]) -> list[Array]:
    """The problems' Hessians, (dim, dim) each, at the first one's point. Collective: a small sum, and one vector round."""
    held = [[(weights[0] > 0) & (fit == 0) for fit in weights[1:]] for weights in problem.weights]
    rest = [
        np.logical_and.reduce([weights[0] > 0, *(~each for each in out)])
        for weights, out in zip(problem.weights, held, strict=True)
    ]
    others = float(problem.world.total([np.array([float(each.any())]) for each in rest], "rows")[0]) > 0
    parts = []
    for loss, weights, seen, out, left in zip(problem.losses, problem.weights, margins, held, rest, strict=True):
        found = []
        for mask in [*out, left] if others else out:
            part = replace(loss, weights=weights[0]).take(np.flatnonzero(mask))
            found.append(part.triangle(Point(x[:, 0], seen[0][mask])) * part.weight)
        parts.append(_narrowed(np.array(found), problem))
    triangles = problem.world.sum(parts, "hessian", out=parts[0]).astype(float)
    whole = triangles.sum(0)
    lacking = [0.0, *triangles][: x.shape[1]]
    return [unfolded(factor * (whole - each), len(x)) for factor, each in zip(problem.factors(), lacking, strict=True)]


def _narrowed(triangles: Array, problem: Abreast) -> Array:
    """In 32 bits a number where that is less to send: a model need not be exact, and damping is above what is rounded off."""
    return triangles.astype(np.float32) if problem.world.workers > 1 and triangles.size > SHORT else triangles


def _steps(
    problem: Abreast, hessians: Sequence[Array], bend: Array, kinks: Kinks, slope: Array, x: Array, going: Array, damping: float
) -> Array:
    """v - x, (dim, k), 0 where a problem is done: every worker solves some. Collective: one vector round."""
    world, parts = problem.world, []
    for worker in world.hosted:
        part = np.zeros_like(x)
        for k in np.flatnonzero(going).tolist():
            if k % world.workers == worker:
                h = hessians[k].copy()
                h[np.diag_indices(len(x))] += bend + damping * np.diag(hessians[k])
                at, steep = np.ascontiguousarray(x[:, k]), np.ascontiguousarray(slope[:, k])
                part[:, k] = minimised(h, steep, kinks, at, EPOCHS, SETTLED) - at
        parts.append(part)
    return world.sum(parts, "steps", out=parts[0])


def _learn(problem: Abreast, hessians: Sequence[Array], steps: Array, changes: Array) -> None:
    """Hessians of the problems that workers here solve, (dim, dim) each, changed in place to turn ``steps`` (dim, k) into the
    ``changes`` (dim, k) of the slopes (BFGS). Not collective."""
    for k, (h, step, change) in enumerate(zip(hessians, steps.T, changes.T, strict=True)):
        bent, along = h @ step, float(step @ change)
        if k % problem.world.workers in problem.world.hosted and along > 0 and (size := float(step @ bent)) > 0:
            h += np.outer(change, change / along) - np.outer(bent, bent / size)


def _searched(
    problem: Abreast, look: Callable[[Array, list[Array]], FitsSeen], kinks: Kinks, slope: Array, at: FitsSeen, step: Array
) -> tuple[Array, FitsSeen]:
    """How much of each step is taken, (k,), 0 for none, and what is there. Collective: as `proved`, mostly once."""
    images, tall = problem.margins(step), Kinks(*(each[:, None] for each in kinks))
    promised, t = problem.dots([(slope, step), (tall.rise(at.x, step), np.ones_like(step))]).sum(0), np.ones(step.shape[1])
    for k in range(HALVINGS + 1):
        margins = [m + t[:, None] * image for m, image in zip(at.margins, images, strict=True)]
        found = look(at.x + t * step, margins)
        short = ~(found.values <= at.values + ENOUGH * t * promised + SLACK * abs(at.values)) & (t > 0)
        if not short.any():
            break
        t = np.where(short, t / 2 if k < HALVINGS - 1 else 0.0, t)
    return t, found
