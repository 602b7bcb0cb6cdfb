"""Proximal Newton for problems abreast that have kinks: fits with an l1 penalty of all rows and without each of some folds.

    T_f = sum of w_i bend_i a_i a_i^T over the rows of fold f, at the fit of all rows      one pass, one message for all fits
    H_k = (sum of all T_f, less T_k) / weight_k                                            of the fit without fold k
    v_k = argmin g_k.(v - x_k) + (v - x_k).H_k (v - x_k) / 2 + penalty(v)                  each by one worker, and told to all
    x_k <- x_k + t_k (v_k - x_k), t = 1, 1/2, ...                                          small sums for all fits

H_k is that of another point than x_k, and is kept while gaps fall well with it: a step then costs a pass with its message. As
`methods.prox_newton`; what is shared between the folds is ours. Of few features: matrices of them are held for every fold.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.kinked import Kinks, minimised, unfolded
from mpiopt.outer.line_search import ENOUGH
from mpiopt.paths.screened import proved
from mpiopt.problems.abreast import Abreast
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Point

MOST = 1500  # features
WELL = 0.1  # of a gap: what a step with a Hessian at hand has to bring it below
DAMPING = 1e-9  # of the diagonal, always: matrices may be singular
FIRST, PATIENCE = 1e-6, 4  # damping after a step that was cut down; steps without a better gap
EPOCHS, SETTLED = (20,), 1e-12  # of coordinate descent, before a step by a factorisation
HALVINGS = 8


def kinked(
    problem: Abreast, penalty: ElasticNet, x: Array, tolerance: float, limit: int
) -> tuple[Array, list[Array], int] | None:
    """x (dim, k) whose gaps are at most the tolerance, margins (k, rows) for each worker, and the steps that it took; None
    where that is not reached. Collective: three vector rounds a step, but for rows' Hessians.

    x : (dim, k), to begin at; limit : of steps. The first problem has the rows of all others.
    """
    kinks, bend = penalty.kinks(len(x)), penalty.grad(np.ones(len(x)))
    margins, steps, tau, best, waited = problem.margins(x), 0, 0.0, np.full(x.shape[1], np.inf), 0
    hessians: list[Array] = []
    while True:
        values, gaps, slope = proved(problem, penalty, margins, x)
        if (gaps <= tolerance).all():
            return x, margins, steps
        waited = 0 if (gaps < best).any() else waited + 1
        if steps == limit or waited == PATIENCE or not np.isfinite(values).all():
            return None
        if not hessians or (gaps > np.maximum(WELL * best, tolerance)).any():
            hessians = _summed(problem, x, margins)
        best = np.minimum(best, gaps)
        slope += bend[:, None] * x
        step = _steps(problem, hessians, bend, kinks, slope, x, gaps > tolerance, DAMPING + tau)
        t, images = _lengths(problem, margins, slope, bend, kinks, x, step, abs(values))
        tau = max(10 * tau, FIRST) if (t < 0.5).any() else tau / 10 if tau > FIRST else 0.0
        x = x + t * step
        margins = [m + t[:, None] * image for m, image in zip(margins, images, strict=True)]
        steps += 1


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
        parts.append(np.array(found))
    triangles = problem.world.sum(parts, "hessian", out=parts[0])
    whole = triangles.sum(0)
    lacking = [0.0, *triangles][: x.shape[1]]
    return [unfolded(factor * (whole - each), len(x)) for factor, each in zip(problem.factors(), lacking, strict=True)]


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


def _lengths(
    problem: Abreast, margins: Sequence[Array], slope: Array, bend: Array, kinks: Kinks, x: Array, step: Array, values: Array
) -> tuple[Array, list[Array]]:
    """How much of each step is taken, (k,), 0 for none, and the margins of the steps. Collective: small sums."""
    images = problem.margins(step)
    column, tall = bend[:, None], Kinks(*(each[:, None] for each in kinks))
    ones = np.ones_like(step)
    promised, whole, curved = problem.dots([(slope, step), (tall.rise(x, step), ones), (column * step, step)])
    promised, t = promised + whole, np.ones(step.shape[1])
    for _ in range(HALVINGS):
        rises = problem.rises(margins, [t[:, None] * image for image in images])
        straight, kinky, beyond = problem.dots(
            [(slope, t * step), (tall.rise(x, t * step), ones)], [each[None] for each in rises]
        )
        change = straight + kinky + beyond + t * t / 2 * curved
        short = change > ENOUGH * t * promised + 4e-15 * values
        if not short.any():
            return t, images
        t = np.where(short, t / 2, t)
    return np.where(short, 0.0, t), images
