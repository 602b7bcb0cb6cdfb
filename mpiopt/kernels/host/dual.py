"""Dual coordinate descent for a regularised linear model with a shifted linear term, on this process's rows.

    min_z  (1/total) sum_i w_i loss(a_i.z + o_i, y_i)  +  1/2 sum_j D_j z_j^2  -  q.z,      D_j > 0, that of the intercept: bias

Shalev-Shwartz and Zhang, Stochastic dual coordinate ascent methods for regularized loss minimization, JMLR 2013, in
the exact form of Yu, Huang and Lin, Dual coordinate descent methods for logistic regression and maximum entropy
models, Machine Learning 2011, with the map

    z(alpha) = D^-1 (q + (1/total) sum_i w_i s_i alpha_i a_i),      s_i = y_i for losses of two classes, else 1

kept true at every step; the solution has s_i alpha_i = -d loss / d m, for logistic regression alpha_i = 1 / (1 +
exp(y_i a_i.z)). alpha is the caller's from call to call: another q needs only `dual_start`. How a row's alpha_i changes
is the loss's ``dual_step``.

The order of visits decides the speed: `host.visits`.

Rows rest. Most of the gap is in few rows: one whose part is below `REST` of the mean part of an epoch before gains next to
nothing by a visit, and is left out of the next epoch, or of the next two where its part is below a tenth of that. Where epochs
reduce the gap fast (to below `QUICK`) all are visited. After Hsieh et al., A dual coordinate descent method for large-scale
linear SVM, 2008, section 3.2 (shrinking), but that a row comes back by itself.
"""

from collections.abc import Callable
from typing import cast

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.gathers import quick_gathers
from mpiopt.kernels.host.prefetch import prefetch, unsigned
from mpiopt.kernels.host.products import row_add
from mpiopt.kernels.host.visits import after, block_shift, order_of, row_energy

_LINE = np.uint64(16)
_LONG = np.uint64(100)  # entries
_1, _2, _3, _4, _8 = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4), np.uint64(8)
REST, QUICK = 0.3, 0.4
LOOSE = 1e-3  # a ratio from which nobody asks rows at rest to bear out what is thought of them: twice that is taken for them
_STAYS = 2e-16  # relative: half the last digit
NONE = np.empty(0)  # offsets where there are none

_kernel = njit(cache=True, nogil=True, error_model="numpy")
_part = njit(cache=True, part=True, nogil=True, error_model="numpy", fastmath={"contract"})


@_kernel
def dual_start(indptr, indices, data, y, w, alpha, q, total, inverse, bias, z):
    """z = D^-1 (q + (1/total) A^T (w y alpha)), overwritten: the exact map, and the guard against drift.

    y, w : (rows,) or (0,) for all ones (y : the signs s); alpha : (rows,); q, z : (cols,), or (cols +
    1,) with an intercept, whose own D is bias (0.0: no intercept); total : the sum of weights that divides the loss;
    inverse : 1 / D, (cols,), or (1,) where all are the same.
    """
    start, index = unsigned(indptr), unsigned(indices)
    for j in range(z.size):
        z[j] = q[j]
    intercept = 0.0
    for i in range(alpha.size):
        f = alpha[i] / total
        if y.size:
            f *= y[i]
        if w.size:
            f *= w[i]
        intercept += f
        row_add(start[i], start[i + 1], index, data, f, z)
    last = z.size - 1
    for j in range(last if bias > 0.0 else z.size):
        z[j] *= inverse[j if inverse.size > 1 else 0]
    if bias > 0.0:
        z[last] = (z[last] + intercept) / bias


@_part
def _one_by_one(k, end, index, data, z):
    """a_i . z without looking ahead, since the rows visited next are not the neighbours."""
    a = 0.0
    b = 0.0
    c = 0.0
    d = 0.0
    while k + _4 <= end:
        a += np.float64(data[k]) * z[index[k]]
        b += np.float64(data[k + _1]) * z[index[k + _1]]
        c += np.float64(data[k + _2]) * z[index[k + _2]]
        d += np.float64(data[k + _3]) * z[index[k + _3]]
        k += _4
    while k < end:
        a += np.float64(data[k]) * z[index[k]]
        k += _1
    return (a + b) + (c + d)


@njit(cache=True, part=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
def _side_by_side(k, end, index, data, z):
    """The same, of several entries at a time."""
    total = 0.0
    for j in range(k, end):
        total += np.float64(data[j]) * z[index[j]]
    return total


_row_dot = _side_by_side if quick_gathers() else _one_by_one


@_part
def _ask(start, index, data, y, alpha, norms, far):
    """Prefetch what a visit of row far will read, z excepted."""
    row = np.uint64(far)
    prefetch(alpha, row)
    prefetch(y, row)
    prefetch(norms, row)
    k, end = start[far], start[far + 1]
    while k < end:
        prefetch(index, k)
        prefetch(data, k)
        if data.itemsize == 8:
            prefetch(data, k + _8)
        k += _LINE


@_part
def _row_square(k, end, data):
    """|a_i|^2."""
    total = 0.0
    while k < end:
        total += np.float64(data[k]) * data[k]
        k += _1
    return total


dual_step = cast("Callable[..., tuple[float, float]]", None)  # what the template leaves open


def epoch(start, index, data, y, w, norms, alpha, total, inverse, bias, z, order, signed, theta, steps, offset, rest, cut):
    """One visit to every row awake: the sum of their parts of the gap as they were found, how many these were, and of that sum
    what is of rows that are put to rest, for one epoch and for two.

    A template, whose ``dual_step(m, y, alpha, c)`` gives the row's new dual variable and its part of the gap at the margin m.
    order : log2 of the rows of a block, blocks from one to the next, and the first row. steps : how many a visit makes at
    most, until the dual variable stays; the norm of the row is then taken in double. offset : (rows,) o, or (0,) for none.
    rest : (rows,) uint8, epochs that a row is to be left out, changed in place; a row whose part, times total, is below
    ``cut`` is put to rest.
    """
    n, last = alpha.size, z.size - 1
    shift, stride, first = order
    # of long rows the processor itself asks for enough at once
    wide, even = z.size > 100_000 and start[n] - start[0] < _LONG * np.uint64(n), inverse.size == 1
    ahead = min(n, 2 + 256 * n // max(np.int64(start[n] - start[0]), 1), 24)
    i = far = first
    for _ in range(ahead):
        far = after(far, n, shift, stride)
    farther = far
    for _ in range(ahead):
        farther = after(farther, n, shift, stride)
    gap, seen, brief, longer = 0.0, 0, 0.0, 0.0
    for _ in range(n):
        following = after(i, n, shift, stride)
        farther = after(farther, n, shift, stride)
        far = after(far, n, shift, stride)
        prefetch(start, np.uint64(farther))
        if not rest[far]:
            _ask(start, index, data, y, alpha, norms, far)
        if wide and not rest[following]:
            for k in range(start[following], start[following + 1]):
                prefetch(z, index[k])
        weight = np.float64(w[i]) if w.size else 1.0
        awake = rest[i] == 0
        if awake:
            seen += 1
        else:
            rest[i] -= 1
        if awake and weight > 0.0:
            begin, end = start[i], start[i + 1]
            m = _row_dot(begin, end, index, data, z)
            if even:
                c = (np.float64(norms[i]) if steps == 1 else _row_square(begin, end, data)) * inverse[0]
            else:
                c = row_energy(begin, end, index, data, inverse)
            if bias > 0.0:
                m += z[last]
                c += 1.0 / bias
            if offset.size:
                m += offset[i]
            c *= weight / total
            new, part = dual_step(m, y[i], alpha[i], c, *theta)
            change = new - alpha[i]
            if signed:
                change *= y[i]
            for _ in range(1, steps):
                before = new
                new, _ = dual_step(m + c * change, y[i], before, c, *theta)
                change = new - alpha[i]
                if signed:
                    change *= y[i]
                if abs(new - before) <= _STAYS * abs(new):
                    break
            part *= weight
            gap += part
            if part < cut:
                if part > 0.1 * cut:
                    rest[i] = 1
                    brief += part
                else:
                    rest[i] = 2
                    longer += part
            alpha[i] = new
            f = change * (weight / total)
            if bias > 0.0:
                z[last] += f / bias
            if even:
                f *= inverse[0]
                while begin < end:
                    z[index[begin]] += f * data[begin]
                    begin += _1
            else:
                while begin < end:
                    z[index[begin]] += f * data[begin] * inverse[index[begin]]
                    begin += _1
        i = following
    return gap / total, seen, brief / total, longer / total


ALMOST = 100.0  # times what is enough: so near, another call would cost more than the epochs until then
LEFT = 2.0  # times what the next epoch would meet, if it fell as this one did, is more than the gap that is left


def epochs(
    visit,
    indptr,
    indices,
    data,
    y,
    w,
    norms,
    alpha,
    total,
    inverse,
    bias,
    z,
    seed,
    progress,
    ratio,
    signed,
    theta,
    steps=1,
    offset=NONE,
    enough=0.0,
):
    """Up to progress.size epochs, in place on (z, alpha), a pair of `dual_start`; epochs done.

    visit : `epoch` compiled for the loss; steps, offset : as there, and with steps = 1 rows rest. y : (rows,) labels, and
    factors of alpha in the map where ``signed``; w : (rows,), or (0,) for all ones; norms : (rows,) |a_i|^2; alpha : (rows,);
    inverse : 1 / D, (cols,), or (1,) where all are the same; z : (cols,), or (cols + 1,) where bias > 0. progress : (epochs,)
    float64, overwritten: the duality gap that each epoch met, for logistic regression to second order, rows at rest with what
    they were left with; it ends after the first epoch that met at most ratio times what the first one met, or left ``enough``
    by all appearances, to which it goes on where that is near; where nothing is said to be enough, after one without a row at
    rest, or of a ratio of `LOOSE` or more, one that met so little with those counted twice. seed : what the order of visits is
    drawn from; give another in every call. The dual objective never worsens, and alpha stays where the conjugate is finite.
    """
    start, index = indptr.view(np.uint64), indices.view(np.uint32)
    n = alpha.size
    if n == 0:
        progress[:] = 0.0
        return 0
    shift = block_shift(start, index, data, norms, total, inverse, bias)
    rest, cut, before, asleep, longest = np.zeros(n, np.uint8), 0.0, np.inf, 0.0, 0.0
    for number in range(progress.size):
        order = order_of(n, shift, seed, number)
        met, seen, brief, longer = visit(
            start, index, data, y, w, norms, alpha, total, inverse, bias, z, order, signed, theta, steps, offset, rest, cut
        )
        progress[number] = met + asleep
        target = _target(progress[: number + 1], ratio, enough)
        near = progress[number] <= target
        borne = seen == n or (ratio >= LOOSE and met + 2 * asleep <= target)
        if near and (borne or enough > 0.0):
            return number + 1
        if near:
            rest[:] = 0  # those at rest have to bear it out
            brief = longer = longest = 0.0
        cut = REST * met * total / seen if steps == 1 and met > QUICK * before and not near else 0.0
        asleep, longest, before = brief + longer + longest, longer, met if seen else before
    return progress.size


def _target(progress, ratio, enough):
    """What the last of these epochs has to have met, so that no more are needed."""
    target = max(ratio * progress[0], enough)
    if target >= ALMOST * enough:
        return target
    falls = progress[-2] / (LEFT * progress[-1]) if progress.size > 1 and progress[-1] > 0.0 else 1.0
    return max(falls, 1.0) * enough
