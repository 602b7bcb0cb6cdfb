"""Newton's method for problems abreast, smooth and each with an l2 penalty: conjugate gradients whose products are one pass and
one message for all of them, with a preconditioner for all (`preconditioner`). Of few coefficients the Hessians are summed.

    gap_k <= (|g_k| + R |s_k|)^2 / (2 l2) + sum_i u_ik (loss + conjugate at minus the duals + duals times margins)

g : the gradients, where l2 is not the same for all in its units; without a free intercept that is all: the duals are the
residuals, of which no term is left, and s = 0. s : what the residuals add up to where there is one; those of the sign that
outweighs are shrunk until they add up to 0, which moves g by R |s| at most, R the longest row (`problems.dual_bound`). Where
more has no penalty the residuals are made orthogonal to it (`problems.unpenalised`), and g is of these.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.definite import Factor
from mpiopt.outer.line_search import ENOUGH
from mpiopt.paths.preconditioner import HeaviestColumns, NearHessian
from mpiopt.problems.abreast import Abreast
from mpiopt.problems.linear import Linear
from mpiopt.problems.unpenalised import Unpenalised

FEW = 300  # coefficients of which Hessians are summed and factored
PRODUCTS = 500  # of a Newton step at most
HALVINGS = 30
ALIKE = 0.1  # of what all rows are bent by: how much it may change while a preconditioner is kept
FORCING, LAST = 0.1, 0.5  # of the gradient, and of what the tolerance allows: what conjugate gradients leave
CLOSE = 1e-4  # of an objective: what it may have to fall by where one Newton step is to be the last
PATIENCE = 4  # Newton steps without a better gap, after which rounding is all that is left


class SolvedAbreast(NamedTuple):
    """Answers of k problems.

    x : (dim, k); margins : (k, rows) for each worker; values, lengths, gaps : (k,), of F, of gradients, and what is proved.
    """

    x: Array
    margins: list[Array]
    values: Array
    lengths: Array
    gaps: Array
    rounds: int


def minimised(
    problem: Abreast,
    ridge: Array,
    heavy: Callable[[], HeaviestColumns],
    x: Array,
    tolerance: float,
    limit: int,
    without: Unpenalised | None = None,
) -> SolvedAbreast:
    """The minima of the problems' losses plus sum_j ridge_j x_j^2 / 2, begun at x (dim, k). Collective.

    ridge : (dim,), 0 for an intercept and the columns ``without`` alone; heavy : asked for where conjugate gradients are, on
    every rank. tolerance : the gap asked of each; limit : of Newton steps.
    """
    column, least = ridge[:, None], float(ridge[ridge > 0].min())
    margins, best, waited, rounds = problem.margins(x), np.inf, 0, 0
    near: tuple[float, NearHessian] | None = None
    while True:
        values, slope, rows = problem.gradient(margins)
        slope += column * x
        length, energy = problem.dots([(slope, slope), (column * x, x)])
        if without is None:
            gaps = _gaps(problem, margins, rows, slope, ridge)
        else:
            gaps = _gaps_without(problem, margins, rows, column * x, ridge, without)
        worst = float(gaps.max())
        waited, best = (waited + 1, best) if worst >= best else (0, worst)
        if worst <= tolerance or rounds == limit or waited == PATIENCE or not np.isfinite(worst):
            return SolvedAbreast(x, margins, values + energy / 2, np.sqrt(length), gaps, rounds)
        if len(x) <= FEW:
            step, images = _factored(problem, x, margins, ridge, slope)
        else:
            goal = LAST * np.sqrt(2 * least * tolerance)
            last = np.minimum(goal, 0.3 * np.sqrt(length))
            h = problem.bends(margins)
            bent = float(problem.dots([(x[:0], x[:0])], [each.sum(1)[None] for each in h])[-1, 0])
            if near is None or abs(bent - near[0]) > ALIKE * near[0]:
                near = bent, heavy().preconditioner(problem, ridge, x, margins, h)
            close = CLOSE * (values + energy / 2)
            step, images = _conjugate_gradients(problem, h, column, -slope, near[1], last, close)
        t = _lengths(problem, margins, images, slope, column, step)
        x = x + t * step
        margins = [m + t[:, None] * image for m, image in zip(margins, images, strict=True)]
        rounds += 1


def _gaps(problem: Abreast, margins: Sequence[Array], rows: Sequence[Array], slope: Array, ridge: Array) -> Array:
    """The bounds above, (k,). Collective: a small sum, with an intercept three."""
    losses = problem.losses
    inner, column = slope[: losses[0].features], ridge[: losses[0].features, None]
    (squared,) = problem.dots([(inner / column, inner)])
    if not losses[0].intercept:
        return squared / 2
    radius = problem.world.extremes(np.array([max(float(np.sqrt(loss.row_squares.max(initial=0))) for loss in losses)]))[1][0]
    factors, off = shrunk(problem, rows)
    parts = [
        _dual_gaps(loss, m, w, factor * each)
        for loss, m, w, factor, each in zip(losses, margins, problem.weights, factors, rows, strict=True)
    ]
    beyond = problem.dots([(slope[:0], slope[:0])], parts)[-1]
    return (np.sqrt(squared) + radius * off / np.sqrt(column.min(initial=np.inf))) ** 2 / 2 + beyond


def _gaps_without(
    problem: Abreast, margins: Sequence[Array], rows: Sequence[Array], pull: Array, ridge: Array, without: Unpenalised
) -> Array:
    """The bounds above, (k,), with residuals that are orthogonal to what has no penalty. Collective: some vector rounds.

    pull : (dim, k), the penalties' gradients.
    """
    if (factors := without.factors(problem, margins, rows)) is None:
        return np.full(pull.shape[1], np.inf)
    even = [factor * each for factor, each in zip(factors, rows, strict=True)]
    slope = np.where(ridge[:, None] > 0, problem.combined(even) + pull, 0)
    found = zip(problem.losses, margins, problem.weights, even, strict=True)
    squared, beyond = problem.dots(
        [(slope / np.where(ridge > 0, ridge, 1.0)[:, None], slope)], [_dual_gaps(*each) for each in found]
    )
    return squared / 2 + beyond


def shrunk(problem: Abreast, rows: Sequence[Array]) -> tuple[list[Array], Array]:
    """Factors (k, rows) for each worker that make the rows' slopes add up to 0, and how far off they are, (k,). Collective: one
    small sum."""
    none = np.zeros((0, len(rows[0])))
    signs = [np.stack([np.maximum(each, 0).sum(1), np.maximum(-each, 0).sum(1)]) for each in rows]
    up, down = problem.dots([(none, none)], signs)[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        rise, fall = (np.where(a > b, b / a, 1.0)[:, None] for a, b in ((up, down), (down, up)))
    return [np.where(each > 0, rise, fall) for each in rows], abs(up - down)


def _dual_gaps(loss: Linear, margins: Array, weights: Array, slopes: Array) -> Array:
    """Of a worker's rows, (1, k), from their weighed slopes (k, rows)."""
    signs = loss.family.signs(loss.y)
    duals = -np.divide(slopes, weights, out=np.zeros_like(slopes), where=weights > 0)
    if signs.size:
        duals *= signs
    found = [loss.family.dual_gaps(loss.shifted(m), loss.y, w, a) for m, w, a in zip(margins, weights, duals, strict=True)]
    return np.array(found)[None]


def _factored(problem: Abreast, x: Array, margins: Sequence[Array], ridge: Array, slope: Array) -> tuple[Array, list[Array]]:
    """Steps from summed Hessians, and their margins. Collective: one vector round."""
    triangles = problem.triangles(x, margins)
    steps = [Factor.of(one, ridge).solved(-np.ascontiguousarray(g)) for one, g in zip(triangles, slope.T, strict=True)]
    step = np.array(steps).T.copy()
    return step, problem.margins(step)


def _conjugate_gradients(
    problem: Abreast, h: Sequence[Array], ridge: Array, b: Array, near: NearHessian, last: Array, close: Array
) -> tuple[Array, list[Array]]:
    """x of (H + D) x = b but for residuals as long as ``last`` (k,), and their margins. Collective: a vector round each.

    Where objectives are to fall by more than ``close`` (k,), as far as the preconditioner tells, residuals may be longer.
    """
    x, r, images = np.zeros_like(b), b.copy(), [np.zeros_like(each) for each in h]
    p, work = near.times(r), np.empty_like(r)
    rz, rr = problem.dots([(r, p), (r, r)])
    left = np.where(rz / 2 > close, np.maximum(last, FORCING * np.sqrt(rr)), last)
    for _ in range(PRODUCTS):
        hp, image = problem.product(h, p)
        hp += np.multiply(ridge, p, out=work)
        bent = problem.dots([(p, hp)])[0]
        going = (np.sqrt(rr) > left) & (bent > 0)
        if not going.any():
            break
        alpha = np.divide(rz, bent, out=np.zeros_like(rz), where=going)
        x += np.multiply(alpha, p, out=work)
        hp *= alpha
        r -= hp
        for total, each in zip(images, image, strict=True):
            total += alpha[:, None] * each
        z = near.times(r)
        before = rz
        rz, rr = problem.dots([(r, z), (r, r)])
        if not (np.sqrt(rr) > left).any():
            break
        p *= np.divide(rz, before, out=np.zeros_like(rz), where=going)
        p += z
    return x, images


def _lengths(
    problem: Abreast, margins: Sequence[Array], images: Sequence[Array], slope: Array, ridge: Array, step: Array
) -> Array:
    """How much of each step is taken, (k,): all of it where that lowers the objective enough, else halves. Collective."""
    promised, curved = problem.dots([(slope, step), (ridge * step, step)])
    t = np.ones(step.shape[1])
    for _ in range(HALVINGS):
        rises = problem.rises(margins, [t[:, None] * image for image in images])
        (_, beyond) = problem.dots([(slope[:0], slope[:0])], [each[None] for each in rises])
        short = t * promised + t * t / 2 * curved + beyond > ENOUGH * t * promised
        if not short.any():
            break
        t = np.where(short, t / 2, t)
    return t
