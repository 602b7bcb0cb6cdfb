"""Dual coordinate descent of `host.dual` for several classes at once, each against the rest, on the same rows.

Classes differ in their labels alone: of a row's entries each meets the numbers of all classes, which lie together (z : (cols,
width)), so that a row is read once and its coordinates cost little more than those of one class. All D_j are the same number;
no row rests, since one that says nothing of one class may say much of another.
"""

from collections.abc import Callable
from typing import cast

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.lanes import row_add, row_dot
from mpiopt.kernels.host.prefetch import prefetch
from mpiopt.kernels.host.visits import after, block_shift, order_of

_AHEAD, _0, _1, _2, _4, _8 = (np.uint64(each) for each in (64, 0, 1, 2, 4, 8))
_dot8, _dot4, _dot2, _dot1 = map(row_dot, (8, 4, 2, 1))
_add8, _add4, _add2, _add1 = map(row_add, (8, 4, 2, 1))
_LINE = np.uint64(16)
dual_step = cast("Callable[..., tuple[float, float]]", None)  # what the template leaves open


@njit(cache=True, part=True, nogil=True, error_model="numpy")
def _ask(start, index, data, far):
    """Prefetch the entries of row far."""
    k, end = start[far], start[far + 1]
    while k < end:
        prefetch(index, k)
        prefetch(data, k)
        k += _LINE


def epoch_of_classes(start, index, data, own, which, w, norms, known, alpha, total, inverse, bias, z, order, theta, met):
    """One visit to every row: the classes' sums of parts of their gaps as they were found, met (classes,), overwritten.

    A template, as `host.dual.epoch`. own : (rows,) the rows' classes; which : (classes,) those that are at hand; alpha : (rows,
    classes); known : (rows, classes), what is added to the margins of z; inverse : 1 / D; bias : the intercepts' D, 0.0 where
    there are none; z : (cols, width), the last line that of the intercepts, laid out as in `products_many`; order : log2 of the
    rows of a block, blocks from one to the next, first row.
    """
    n, classes, width = own.size, which.size, np.uint64(z.shape[1])
    flat, last = z.reshape(-1), z.shape[0] - 1
    margins, factors = np.zeros(z.shape[1]), np.zeros(z.shape[1])
    shift, stride, first = order
    i = far = first
    for _ in range(min(n, 4)):
        far = after(far, n, shift, stride)
    met[:] = 0.0
    for _ in range(n):
        _ask(start, index, data, far)
        far = after(far, n, shift, stride)
        weight = np.float64(w[i]) if w.size else 1.0
        if weight > 0.0:
            begin, end, c = start[i], start[i + 1], _0
            while c + _8 <= width:
                _dot8(begin, end, index, data, flat, width, c, _AHEAD, margins, c)
                c += _8
            if c + _4 <= width:
                _dot4(begin, end, index, data, flat, width, c, _AHEAD, margins, c)
                c += _4
            if c + _2 <= width:
                _dot2(begin, end, index, data, flat, width, c, _AHEAD, margins, c)
                c += _2
            if c < width:
                _dot1(begin, end, index, data, flat, width, c, _AHEAD, margins, c)
            share = weight / total
            bent = (norms[i] * inverse + (1.0 / bias if bias > 0.0 else 0.0)) * share
            for k in range(classes):
                sign = 1.0 if own[i] == which[k] else -1.0
                m = known[i, k] + margins[k] + (z[last, k] if bias > 0.0 else 0.0)
                new, part = dual_step(m, sign, alpha[i, k], bent, *theta)
                change = (new - alpha[i, k]) * (sign * share)
                alpha[i, k] = new
                met[k] += weight * part
                factors[k] = change * inverse
                if bias > 0.0:
                    z[last, k] += change / bias
            c = _0
            while c + _8 <= width:
                _add8(begin, end, index, data, flat, width, c, _AHEAD, factors, c)
                c += _8
            if c + _4 <= width:
                _add4(begin, end, index, data, flat, width, c, _AHEAD, factors, c)
                c += _4
            if c + _2 <= width:
                _add2(begin, end, index, data, flat, width, c, _AHEAD, factors, c)
                c += _2
            if c < width:
                _add1(begin, end, index, data, flat, width, c, _AHEAD, factors, c)
        i = after(i, n, shift, stride)


def epochs_of_classes(
    visit, indptr, indices, data, own, which, w, norms, known, alpha, total, inverse, bias, z, seed, epochs, ratio, theta
):
    """Up to ``epochs``, in place on (z, alpha), of which z is the exact image; ends after the first that met at most ratio
    times what the first one met of every class. Returns epochs done. seed : what the order of visits is drawn from.
    """
    start, index, n = indptr.view(np.uint64), indices.view(np.uint32), own.size
    if n == 0:
        return 0
    shift = block_shift(start, index, data, norms, total, np.array([inverse]), bias)
    met, goal = np.empty(which.size), None
    for number in range(epochs):
        order = order_of(n, shift, seed, number)
        visit(start, index, data, own, which, w, norms, known, alpha, total, inverse, bias, z, order, theta, met)
        if goal is None:
            goal = ratio * met
        elif (met <= goal).all():
            return number + 1
    return epochs
