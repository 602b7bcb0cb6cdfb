"""Convex quadratics of some thousand unknowns with lengths of groups, minimised alike to the last bit on every CPU.

    minimise  s.(v - x) + (v - x).H (v - x) / 2 + sum_g c_g |v_g|

by block coordinate descent for the groups that are 0, then by Newton's method on the others, where all is smooth. A block's
matrix is majorised by the diagonal D of its rows' sums of sizes, and v_g = t b / (D t + c), b = D v_g - slope, with the t at
which |b / (D t + c)| = 1: of one unknown a soft threshold (Yang and Zou, A fast unified algorithm for solving group-lasso
penalized learning problems, 2015, majorise by a number; Qin, Scheinberg, Goldfarb, Efficient block-coordinate descent
algorithms for the group lasso, 2013, section 4, for t by Newton's method). All ranks hold H, as in `kernels.kinked`.
"""

from math import frexp
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.compiling import njit
from mpiopt.kernels.definite import solved
from mpiopt.kernels.kinked import FACTORED, SETTLED, _slope, folded

EPOCHS = (20, 20, 20, 40, 40, 80, 160)  # of coordinate descent, between Newton steps
STEPS = tuple(2.0**-k for k in range(12))
NEWTON = 4  # steps between epochs
SMALL = 1e-8  # of what a step has gained: another one would gain the square of it

_kernel = njit(cache=True, nogil=True, error_model="numpy")
_part = njit(cache=True, part=True, nogil=True, error_model="numpy")


@_part
def _length(b):
    """|b|, whose squares may be too large or too small for a number."""
    most = total = 0.0
    for each in b:
        most = max(most, abs(each))
    if most > 0.0:
        for each in b:
            total += (each / most) ** 2
    return most * np.sqrt(total)


@_part
def _lengthened(b, d, c):
    """The t > 0 with |b / (d t + c)| = 1, |b| > c: from below, since |.|^-1 is concave in t."""
    t = 0.0
    for _ in range(60):
        most = total = bent = 0.0
        for j in range(b.size):
            part = d[j] * t + c
            most = max(most, abs(b[j]) / part) if part > 0.0 else most
        if not most > 0.0:
            break
        for j in range(b.size):
            part = d[j] * t + c
            if part > 0.0:
                square = (b[j] / part / most) ** 2
                total += square
                bent += square * d[j] / part
        size = most * np.sqrt(total)
        if not (size > 1.0 and bent > 0.0):
            break
        longer = t + (size - 1.0) * total / bent
        if not longer > t * (1.0 + 4e-16):
            break
        t = longer
    return t


@_kernel
def _descend(h, starts, lengths, v, r, epochs, settled, longest):
    """Epochs in place on v and r = s + H (v - x); whether the last one moved nothing to speak of, and the longest step's
    square, those of earlier turns too."""
    d, b = np.zeros(v.size), np.zeros(v.size)
    for g in range(lengths.size):
        for j in range(starts[g], starts[g + 1]):
            for k in range(starts[g], starts[g + 1]):
                d[j] += abs(h[j, k])
    for _ in range(epochs):
        moved = 0.0
        for g in range(lengths.size):
            lo, hi, c = starts[g], starts[g + 1], lengths[g]
            for j in range(lo, hi):
                b[j] = d[j] * v[j] - r[j] if d[j] > 0.0 else 0.0
            t = _lengthened(b[lo:hi], d[lo:hi], c) if c > 0.0 and _length(b[lo:hi]) > c else 0.0
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
            return True, longest
    return False, longest


@_kernel
def _bend(triangle, groups, bend, unit):
    """triangle += the bend of lengths, bend (1 - unit unit^T) of a group's unknowns, which are neighbours; see `folded`."""
    n, line = groups.size, 0
    for j in range(n):
        triangle[line] += bend[j]
        k = j
        while k < n and groups[k] == groups[j]:
            triangle[line + k - j] -= bend[j] * unit[j] * unit[k]
            k += 1
        line += n - j


@_kernel
def lengths_of(x, groups, count):
    """|x_g|, (count,), of x (n,) in ``groups`` (n,). Squares of a group may be too large or too small for a number."""
    most, total = np.zeros(count), np.zeros(count)
    for j in range(x.size):
        most[groups[j]] = max(most[groups[j]], abs(x[j]))
    for j in range(x.size):
        if most[groups[j]] > 0.0:
            total[groups[j]] += (x[j] / most[groups[j]]) ** 2
    return most * np.sqrt(total)


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
        return lengths_of(v, self.groups, self.lengths.size)

    def open(self, v: Array) -> Array:
        """Mask (n,) of unknowns in whose neighbourhood all is smooth."""
        return ((self.sizes(v) > 0) | (self.lengths == 0))[self.groups]

    def rise(self, x: Array, step: Array) -> Array:
        """c_g (|x_g + step_g| - |x_g|), (groups,), without cancellation."""
        both = self.sizes(x) + self.sizes(x + step)
        share = np.divide(2 * x + step, both[self.groups], out=np.zeros(x.size), where=both[self.groups] > 0)
        return self.lengths * np.bincount(self.groups, share * step, both.size)

    def minimised(self, h: Array, slope: Array, x: Array) -> Array:
        """v (n,), no higher than x, and a minimiser but for rounding unless the epochs run out first.

        h : (n, n), symmetric and semidefinite; slope : s (n,); x : (n,).
        """
        order = np.argsort(self.groups, kind="stable")
        groups, part = self.groups[order], np.ascontiguousarray(h[np.ix_(order, order)])
        starts = np.searchsorted(groups, np.arange(self.lengths.size + 1))
        unit = _units(part, starts)
        by, v, r = np.repeat(unit, np.diff(starts)), x[order], slope[order]
        part *= by
        part *= by[:, None]
        v, r, lengths = v / by, r * by, self.lengths * unit
        power = frexp(max(abs(v).max(initial=0.0), abs(r).max(initial=0.0)))[1]
        v, r, lengths = np.ldexp(v, -power), np.ldexp(r, -power), np.ldexp(lengths, -power)
        _settle(part, Knots(groups, lengths), starts, v, r)
        out = np.empty(v.size)
        out[order] = np.ldexp(v, power) * by
        return out


def _units(h: Array, starts: Array) -> Array:
    """Powers of two for the groups, (groups,), in which their largest curvature is about 1: squares then have room."""
    most = np.maximum.reduceat(np.diag(h), starts[:-1])
    return np.ldexp(1.0, np.where(most > 0, -(np.frexp(most)[1] // 2), 0))


def _settle(h: Array, knots: Knots, starts: Array, v: Array, r: Array) -> None:
    """In place on v and r = s + H (v - x), groups in their order."""
    longest = most = 0.0
    for epochs in EPOCHS:
        done, longest = _descend(h, starts, knots.lengths, v, r, epochs, SETTLED, longest)
        if done:
            return
        most = _polish(h, knots, v, r, most)


def _polish(h: Array, knots: Knots, v: Array, r: Array, most: float) -> float:
    """Newton steps in place on the groups that are not 0, on v and r, until one is cut down: a group of it is to be 0. None on
    faces too large. The most that a step has gained, ``most`` before."""
    free = np.flatnonzero(knots.open(v))
    if not 0 < free.size <= FACTORED:
        return most
    for _ in range(NEWTON):
        step = np.zeros(v.size)
        step[free] = _newton(folded(h, free), knots.at(free), v[free], r[free])
        turned = np.zeros(v.size)
        _slope(h, step, turned)
        straight, bent = _total(step * r), _total(step * turned)
        changes = ((t, t * straight + t * t / 2 * bent + _total(knots.rise(v, t * step))) for t in STEPS)
        t, gained = next(((t, change) for t, change in changes if change < 0), (0.0, 0.0))
        v += t * step
        r += t * turned
        most = max(most, -gained)
        if t < 1 or -gained <= SMALL * most:
            break
    return most


def _newton(triangle: Array, knots: Knots, v: Array, r: Array) -> Array:
    """The step (n,) to where the model of second order has its least value; triangle : of H, see `folded`, which is changed."""
    sizes = knots.sizes(v)[knots.groups]
    unit = np.divide(v, sizes, out=np.zeros(v.size), where=sizes > 0)
    c = knots.lengths[knots.groups]
    bend = np.divide(c, sizes, out=np.zeros(v.size), where=sizes > 0)
    _bend(triangle, knots.groups, bend, unit)
    return solved(triangle, np.zeros(v.size), -(r + c * unit))
