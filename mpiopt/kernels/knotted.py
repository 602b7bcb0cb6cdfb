"""Convex quadratics of some thousand unknowns with lengths of groups, minimised alike to the last bit on every CPU.

    minimise  s.(v - x) + (v - x).H (v - x) / 2 + sum_g c_g |v_g|

by block coordinate descent for the groups that are 0, then by Newton's method on the others, where all is smooth. A block's
matrix is majorised by the diagonal D of its rows' sums of sizes, and v_g = t b / (D t + c), b = D v_g - slope, with the t at
which |b / (D t + c)| = 1: of one unknown a soft threshold (Yang and Zou, A fast unified algorithm for solving group-lasso
penalized learning problems, 2015, majorise by a number; Qin, Scheinberg, Goldfarb, Efficient block-coordinate descent
algorithms for the group lasso, 2013, section 4, for t by Newton's method). All ranks hold H, as in `kernels.kinked`.
"""

from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.compiling import njit
from mpiopt.kernels.definite import solved
from mpiopt.kernels.kinked import EPOCHS, FACTORED, SETTLED, _slope

STEPS = tuple(2.0**-k for k in range(12))
NEWTON = 10  # steps between epochs
SMALL = 1e-14  # of what a first step gains: what is left to gain is rounding

_kernel = njit(cache=True, nogil=True, error_model="numpy")


@_kernel
def _lengthened(b, d, c):
    """The t > 0 with |b / (d t + c)| = 1, |b| > c: from below, since |.|^-1 is concave in t."""
    t = 0.0
    for _ in range(60):
        size = bent = 0.0
        for j in range(b.size):
            part = d[j] * t + c
            if part > 0.0:
                size += (b[j] / part) ** 2
                bent += (b[j] / part) ** 2 * d[j] / part
        if not (size > 1.0 and bent > 0.0):
            break
        longer = t + (np.sqrt(size) - 1.0) * size / bent
        if not longer > t * (1.0 + 4e-16):
            break
        t = longer
    return t


@_kernel
def _descend(h, starts, lengths, v, r, epochs, settled):
    """Epochs in place on v and r = s + H (v - x); whether the last one moved nothing to speak of."""
    d, b = np.zeros(v.size), np.zeros(v.size)
    for g in range(lengths.size):
        for j in range(starts[g], starts[g + 1]):
            for k in range(starts[g], starts[g + 1]):
                d[j] += abs(h[j, k])
    longest = 0.0
    for _ in range(epochs):
        moved = 0.0
        for g in range(lengths.size):
            lo, hi, c, size = starts[g], starts[g + 1], lengths[g], 0.0
            for j in range(lo, hi):
                b[j] = d[j] * v[j] - r[j] if d[j] > 0.0 else 0.0
                size += b[j] * b[j]
            t = _lengthened(b[lo:hi], d[lo:hi], c) if c > 0.0 and np.sqrt(size) > c else 0.0
            for j in range(lo, hi):
                if c > 0.0:
                    wanted = t * b[j] / (d[j] * t + c)
                else:
                    wanted = b[j] / d[j] if d[j] > 0.0 else v[j]
                step = wanted - v[j]
                if step != 0.0:
                    v[j] = wanted
                    for k in range(v.size):
                        r[k] += step * h[j, k]
                    moved = max(moved, d[j] * step * step)
        longest = max(longest, moved)
        if moved <= settled * longest:
            return True
    return False


@_kernel
def _total(terms):
    """Their sum, in their order."""
    total = 0.0
    for term in terms:
        total += term
    return total


class Knots(NamedTuple):
    """groups : (n,), the number of the group of an unknown; lengths : (groups,), c, 0 for a group that is free."""

    groups: Array
    lengths: Array

    def at(self, where: Array) -> "Knots":
        """Of some unknowns, all of a group or none."""
        kept, groups = np.unique(self.groups[where], return_inverse=True)
        return Knots(groups, self.lengths[kept])

    def sizes(self, v: Array) -> Array:
        """|v_g|, (groups,)."""
        return np.sqrt(np.bincount(self.groups, v * v, self.lengths.size))

    def open(self, v: Array) -> Array:
        """Mask (n,) of unknowns in whose neighbourhood all is smooth."""
        return ((self.sizes(v) > 0) | (self.lengths == 0))[self.groups]

    def rise(self, x: Array, step: Array) -> Array:
        """c_g (|x_g + step_g| - |x_g|), (groups,), without cancellation."""
        gained = np.bincount(self.groups, (2 * x + step) * step, self.lengths.size)
        both = self.sizes(x) + self.sizes(x + step)
        return self.lengths * np.divide(gained, both, out=np.zeros(both.size), where=both > 0)

    def minimised(self, h: Array, slope: Array, x: Array) -> Array:
        """v (n,), no higher than x, and a minimiser but for rounding unless the epochs run out first.

        h : (n, n), symmetric and semidefinite; slope : s (n,); x : (n,).
        """
        order = np.argsort(self.groups, kind="stable")
        starts = np.searchsorted(self.groups[order], np.arange(self.lengths.size + 1))
        sorted_, part = Knots(self.groups[order], self.lengths), np.ascontiguousarray(h[np.ix_(order, order)])
        v, r = x[order], slope[order]
        for epochs in EPOCHS:
            if _descend(part, starts, self.lengths, v, r, epochs, SETTLED):
                break
            _polish(part, sorted_, v, r)
        out = np.empty(v.size)
        out[order] = v
        return out


def _polish(h: Array, knots: Knots, v: Array, r: Array) -> None:
    """Newton steps in place on the groups that are not 0, on v and r; none on faces too large."""
    free = np.flatnonzero(knots.open(v))
    if not 0 < free.size <= FACTORED:
        return
    most = 0.0
    for _ in range(NEWTON):
        step = np.zeros(v.size)
        step[free] = _newton(h[np.ix_(free, free)], knots.at(free), v[free], r[free])
        turned = np.zeros(v.size)
        _slope(h, step, turned)
        straight, bent = _total(step * r), _total(step * turned)
        changes = ((t, t * straight + t * t / 2 * bent + _total(knots.rise(v, t * step))) for t in STEPS)
        t, gained = next(((t, change) for t, change in changes if change < 0), (0.0, 0.0))
        v += t * step
        r += t * turned
        most = max(most, -gained)
        if -gained <= SMALL * most:
            return


def _newton(h: Array, knots: Knots, v: Array, r: Array) -> Array:
    """The step (n,) to where the model of second order has its least value; h : (n, n), which is changed."""
    sizes = knots.sizes(v)[knots.groups]
    unit = np.divide(v, sizes, out=np.zeros(v.size), where=sizes > 0)
    c = knots.lengths[knots.groups]
    bend = np.divide(c, sizes, out=np.zeros(v.size), where=sizes > 0)
    for g in range(knots.lengths.size):
        mine = np.flatnonzero(knots.groups == g)
        h[np.ix_(mine, mine)] += np.diag(bend[mine]) - np.outer(bend[mine] * unit[mine], unit[mine])
    return solved(h[np.triu_indices(v.size)], np.zeros(v.size), -(r + c * unit))
