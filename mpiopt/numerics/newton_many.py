"""Damped Newton on several convex functions of a few coefficients, in step: one evaluation serves all that go on.

What `newton` does for one, each for itself: where an evaluation is an allreduce, there are as many as the slowest needs.
"""

from collections.abc import Callable

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import NumericalError
from mpiopt.numerics.newton import inner, newton_step

HALVINGS = 30
ENOUGH = 1e-3  # of all that is gained: a step that promises less is the last

Found = tuple[Array, Array, Array]  # values (n,), gradients (n, k), Hessians (n, k, k)


def minima(evaluate: Callable[[Array, Array], Found], c: Array, limit: int = 20) -> tuple[Array, Array]:
    """Minimisers (n, k) of n functions, begun at c (n, k), or at 0 where that is lower; and their values (n,).

    evaluate : of functions by number (m,), which may repeat, at (m, k). Values at the answers are never above those at 0. A
    point where anything is not finite counts as infinitely high. Raises NumericalError where 0 has no value.
    """
    n = len(c)
    both = _finite(evaluate(np.tile(np.arange(n), 2), np.concatenate([np.zeros_like(c), c])))
    start, now = (tuple(part[cut].copy() for part in both) for cut in (slice(0, n), slice(n, None)))
    if not np.isfinite(start[0]).all():
        raise NumericalError("the objective is not finite before the search for a step: check the data for huge values")
    lower = now[0] <= start[0]
    c = np.where(lower[:, None], c, 0.0)
    for here, first in zip(now, start, strict=True):
        here[~lower] = first[~lower]
    steps, factors, taken, tried = np.zeros_like(c), np.ones(n), np.zeros(n, int), np.zeros(n, int)
    promised = np.array([_step(now, i, steps) for i in range(n)])
    going = list(range(n))
    while going:
        found = _finite(evaluate(np.array(going), c[going] + factors[going, None] * steps[going]))
        left = []
        for at, i in enumerate(going):
            if found[0][at] <= now[0][i] + 1e-15 * abs(now[0][i]):
                c[i] += factors[i] * steps[i]
                for here, there in zip(now, found, strict=True):
                    here[i] = there[at]
                taken[i] += 1
                if promised[i] <= max(ENOUGH * (start[0][i] - now[0][i]), 1e-17 * abs(now[0][i])) or taken[i] == limit:
                    continue
                promised[i], factors[i], tried[i] = _step(now, i, steps), 1.0, 0
            else:
                factors[i] *= 0.5 if np.isfinite(found[0][at]) else 2.0**-6
                tried[i] += 1
                if tried[i] == HALVINGS:
                    continue
            left.append(i)
        going = left
    return c, now[0]


def _step(now: tuple[Array, ...], i: int, steps: Array) -> float:
    """Put the Newton step of a function where it belongs; what it promises to gain."""
    steps[i] = newton_step(now[1][i], now[2][i])
    return -0.5 * inner(now[1][i], steps[i])


def _finite(found: Found) -> Found:
    """The values infinite where anything is not finite."""
    value, gradient, hessian = found
    good = np.isfinite(value) & np.isfinite(gradient).all(1) & np.isfinite(hessian).all((1, 2))
    return np.where(good, value, np.inf), gradient, hessian
