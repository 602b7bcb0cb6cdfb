"""Damped Newton on a convex function of a few coefficients, and the packing of its sums.

The search of PlaneSearch, of the line searches and of local Newton steps: every evaluation may be an allreduce, so
there are few, and every rank takes the same decisions from the same numbers.
"""

from collections.abc import Callable
from functools import cache, partial
from math import isfinite

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import NumericalError

RIDGE = 1e-10  # of a Hessian whose diagonal is 1

Evaluated = tuple[float, Array, Array]  # value, gradient (k,), Hessian (k, k)
Evaluate = Callable[[Array], Evaluated]


def unpack(sums: Array, k: int) -> tuple[float, Array, Array]:
    """Value, gradient (k,) and symmetric Hessian (k, k) from 1 + k + k(k+1)/2 sums."""
    hessian, (i, j) = np.empty((k, k)), _upper(k)
    hessian[i, j] = hessian[j, i] = sums[1 + k :]
    return float(sums[0]), sums[1 : 1 + k], hessian


@cache
def _upper(k: int) -> tuple[Array, Array]:
    """The places of the upper triangle, row by row: asked for at every point of a search, and few dimensions have one."""
    return np.triu_indices(k)


def newton(evaluate: Evaluate, c: Array, limit: int = 20, value: Callable[[Array], float] | None = None) -> Array:
    """Damped Newton on a convex function of a few coefficients, begun at c (k,), or at 0 where that is lower.

    The value at the answer is never above that at 0. A point where anything is not finite counts as infinitely high. Stops
    once a step gains less than a thousandth of all that is gained. value : the same as the first that ``evaluate`` returns,
    where it takes less; asked for at 0 and where a step is foreseen to be the last. Raises NumericalError where 0 has no value.
    """
    zero = np.zeros_like(c)
    evaluate = partial(_finite, evaluate)
    alone = evaluate if value is None else partial(_finite, lambda c: (value(c), c[:0], c[:0]))
    start = alone(zero)[0]
    if not np.isfinite(start):
        raise NumericalError("the objective is not finite before the search for a step: check the data for huge values")
    now = evaluate(c)
    if not now[0] <= start:
        c, now = zero, evaluate(zero)
    for _ in range(limit):
        step = newton_step(now[1], now[2])
        promised = -0.5 * inner(now[1], step)
        last = _little(promised, start, now[0] - promised)
        trial = _damped(alone if last else evaluate, c, step, now[0])
        if trial is None:
            return c
        c, found = trial
        if _little(promised, start, found[0]):
            return c
        now = evaluate(c) if last and value is not None else found
    return c


def _little(promised: float, start: float, now: float) -> bool:
    """Whether what a step has promised is too little to go on after it."""
    return promised <= max(1e-3 * (start - now), 1e-17 * abs(now))


def _finite(evaluate: Evaluate, c: Array) -> Evaluated:
    """What ``evaluate`` finds at c, the value infinite where anything is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        value, gradient, hessian = evaluate(c)
    finite = isfinite(value) and np.isfinite(gradient).all() and np.isfinite(hessian).all()
    return (value if finite else np.inf), gradient, hessian


def _damped(evaluate: Evaluate, c: Array, step: Array, value: float) -> tuple[Array, Evaluated] | None:
    """The first of c + step, c + step/2, ... that does not raise the value beyond rounding; out of where it is infinite by
    larger leaps, since an exponential may be in the way.
    """
    factor = 1.0
    for _ in range(30):
        trial = c + factor * step
        found = evaluate(trial)
        if found[0] <= value + 1e-15 * abs(value):
            return trial, found
        factor *= 0.5 if np.isfinite(found[0]) else 2.0**-6
    return None


def inner(x: Array, y: Array) -> float:
    """x.y of a few coefficients, added up one after the other: alike on all CPUs, as what all ranks decide by has to be."""
    total = 0.0
    for a, b in zip(x.tolist(), y.tolist(), strict=True):
        total += a * b
    return total


def model(c: Array, slope: Array, quadratic: Array) -> tuple[float, Array]:
    """slope.c + c.Q c / 2 and its gradient (k,), in a fixed order."""
    bent = np.array([inner(row, c) for row in quadratic])
    return inner(slope, c) + 0.5 * inner(c, bent), slope + bent


def newton_step(gradient: Array, hessian: Array) -> Array:
    """-H^+ g, scaled by the diagonal first: directions may differ in length by many orders.

    Where they are alike to rounding, what sets them apart is noise: a small ridge keeps it from leading far away.
    """
    diagonal = np.diag(hessian)
    scale = np.divide(1, np.sqrt(diagonal), out=np.zeros_like(diagonal), where=diagonal > 0)
    scaled = (hessian * scale[:, None]) * scale  # one factor at a time: their products may overflow
    return -scale * _solved(scaled + RIDGE * np.eye(len(scale)), scale * gradient)


def _solved(matrix: Array, rhs: Array, least: float = 1e-14) -> Array:
    """A solution of a small semidefinite system (k, k), without the directions whose pivots are below ``least``.

    Gaussian elimination, the largest pivot first. LAPACK's last bits depend on the CPU, and all ranks take this step.
    """
    rows = [[*row, b] for row, b in zip(matrix.tolist(), rhs.tolist(), strict=True)]
    left, done = list(range(len(rows))), []
    while left and rows[pivot := max(left, key=lambda i: rows[i][i])][pivot] > least:
        left.remove(pivot)
        done.append(pivot)
        for i in left:
            factor = rows[i][pivot] / rows[pivot][pivot]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[pivot], strict=True)]
    z = [0.0] * len(rows)
    for pivot in reversed(done):
        *row, b = rows[pivot]
        z[pivot] = (b - inner(np.array(row), np.array(z))) / row[pivot]
    return np.array(z)
