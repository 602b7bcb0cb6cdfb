"""Convex quadratics of some thousand unknowns with kinks and walls, minimised alike to the last bit on every CPU.

    minimise  s.(v - x) + (v - x).H (v - x) / 2 + sum_j l1_j |v_j|    subject to    lower <= v <= upper

by coordinate descent for the signs, then by a factorisation on the coordinates that are away from kinks and walls (Yuan, Ho,
Lin, An improved GLMNET for l1-regularized logistic regression, 2012, section 3; Hager and Zhang, A new active set algorithm for
box constrained optimization, 2006). All ranks hold H and take the same step, as in `kernels.definite`.
"""

from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.compiling import njit
from mpiopt.kernels.definite import solved

EPOCHS = (20, 20, 80, 160)  # of coordinate descent, between steps by a factorisation
TILE = 32
ROUNDING = 4 * np.finfo(float).eps
SETTLED = 1e-18  # of the longest step's square, of all turns: what is left to move is far below what a model is worth
FACTORED = 4000  # unknowns, up to which a factorisation costs less than the rounds that it saves

_kernel = njit(cache=True, nogil=True, error_model="numpy")


class Kinks(NamedTuple):
    """What is not smooth in the unknowns, (n,) each."""

    l1: Array
    lower: Array
    upper: Array

    def at(self, where: Array) -> "Kinks":
        """Of some of them."""
        return Kinks(*(each[where] for each in self))

    def rise(self, x: Array, step: Array) -> Array:
        """l1_j (|x_j + step_j| - |x_j|), (n,), exact where no sign changes."""
        same = x * (x + step) >= 0
        return self.l1 * np.where(same & (x != 0), np.sign(x) * step, abs(x + step) - abs(x))

    def shortest(self, x: Array, slope: Array) -> Array:
        """The shortest of the slope (n,) of what is smooth and the subgradients of the rest at x, (n,)."""
        kink = np.sign(slope) * np.maximum(abs(slope) - self.l1, 0)
        out = np.where((x == 0) & (self.l1 > 0), kink, slope + self.l1 * np.sign(x))
        out[(x <= self.lower) & (out > 0)] = 0
        out[(x >= self.upper) & (out < 0)] = 0
        return out

    def open(self, v: Array) -> Array:
        """Mask (n,) of unknowns in whose neighbourhood all is smooth."""
        return ((v != 0) | (self.l1 == 0)) & (v > self.lower) & (v < self.upper)


@_kernel
def unfolded(triangle, n):
    """The symmetric matrix (n, n) of an upper triangle (n (n + 1) / 2,) by rows."""
    full, at = np.empty((n, n)), 0
    for j in range(n):
        full[j, j:] = triangle[at : at + n - j]
        at += n - j
    for lo in range(0, n, TILE):  # whose lines and columns are in the cache together
        for first in range(lo, n, TILE):
            for k in range(first, min(first + TILE, n)):
                for j in range(lo, min(lo + TILE, k)):
                    full[k, j] = full[j, k]
    return full


@_kernel
def folded(h, some):
    """The upper triangle by rows (k (k + 1) / 2,) of a symmetric matrix (n, n), of ``some`` unknowns (k,)."""
    out, at = np.empty(some.size * (some.size + 1) // 2), 0
    for j in range(some.size):
        row = h[some[j]]
        for k in range(j, some.size):
            out[at] = row[some[k]]
            at += 1
    return out


@_kernel
def _descend(h, l1, lower, upper, v, r, epochs, settled, longest):
    """Epochs in place on v and r = s + H (v - x); whether the last one moved nothing to speak of, and the longest step's
    square, those of earlier turns too."""
    for _ in range(epochs):
        moved = 0.0
        for j in range(v.size):
            bend = h[j, j]
            if not bend > 0.0:
                continue
            wanted = v[j] - r[j] / bend
            away = abs(wanted) - l1[j] / bend
            wanted = min(max(np.sign(wanted) * away if away > 0.0 else 0.0, lower[j]), upper[j])
            step = wanted - v[j]
            if step == 0.0:
                continue
            v[j] = wanted
            row = h[j]
            for k in range(v.size):
                r[k] += step * row[k]
            moved = max(moved, bend * step * step)
        longest = max(longest, moved)
        if moved <= settled * longest:
            return True, longest
    return False, longest


@_kernel
def _slope(h, step, r):
    """r += H step."""
    for j in range(step.size):
        if step[j] != 0.0:
            for k in range(r.size):
                r[k] += step[j] * h[j, k]


@_kernel
def _change(r, step, image, rises):
    """What the model changes by, in the order of the unknowns."""
    total = 0.0
    for j in range(step.size):
        total += step[j] * (r[j] + 0.5 * image[j]) + rises[j]
    return total


def minimised(
    h: Array, slope: Array, kinks: Kinks, x: Array, turns: tuple[int, ...] = EPOCHS, settled: float = SETTLED
) -> Array:
    """v (n,), x where nothing is to gain.

    h : (n, n), symmetric and semidefinite, its diagonal positive where an unknown is to move; slope : s (n,); x : (n,), between
    the walls. turns : epochs before each factorisation; settled : of the longest step's square, what ends them. What is found
    is no higher than x, and a minimiser but for rounding unless the epochs run out first.
    """
    v, r, longest = x.copy(), slope.copy(), 0.0
    for epochs in turns:
        done, longest = _descend(h, *kinks, v, r, epochs, settled, longest)
        if done:
            break
        step, image = _newton(h, kinks, v, r)
        r += image
        v += step
        v[abs(v) <= ROUNDING * abs(step)] = 0  # where the step ended in a kink
    return v


def _newton(h: Array, kinks: Kinks, v: Array, r: Array) -> tuple[Array, Array]:
    """The step (n,) to the minimiser on the face of v, and H step; 0 for faces too large.

    Where that is beyond kinks or walls, the lower of two: each unknown as far as its own, or all on the way to the first one.
    """
    whole, free = np.zeros(v.size), np.flatnonzero(kinks.open(v))
    if not 0 < free.size <= FACTORED:
        return whole, np.zeros(v.size)
    held, at = kinks.at(free), v[free]
    move = solved(folded(h, free), np.zeros(free.size), -(r[free] + held.l1 * np.sign(at)))
    whole[free] = move
    short = np.zeros(v.size)
    short[free] = np.clip(np.where((held.l1 > 0) & (at * (at + move) < 0), 0.0, at + move), held.lower, held.upper) - at
    if (abs(short[free] - move) <= ROUNDING * (abs(at) + abs(move))).all():
        return whole, _image(h, whole)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = [np.where((held.l1 > 0) & (at * move < 0), -at / move, np.inf)]
        ends += [np.where(move < 0, (held.lower - at) / move, np.where(move > 0, (held.upper - at) / move, np.inf))]
    cut = min(1.0, float(np.minimum(*ends).min())) * whole
    images = _image(h, short), _image(h, cut)
    if _change(r, short, images[0], kinks.rise(v, short)) < _change(r, cut, images[1], kinks.rise(v, cut)):
        return short, images[0]
    return cut, images[1]


def _image(h: Array, step: Array) -> Array:
    """H step, (n,), alike on every CPU."""
    out = np.zeros(step.size)
    _slope(h, step, out)
    return out
