"""Rows of several classes on margins m : (rows, classes) that the caller keeps: log sum_c exp(m_c) - m_y.

y : (rows,) class numbers; w : (rows,) sample weights, or (0,) for all 1. Sums are over this process's rows, not divided by
anything, and nothing communicates. No exponential is of a positive number.
"""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.sums import add

_kernel = njit(cache=True, nogil=True, error_model="numpy")
_part = njit(cache=True, part=True, nogil=True, error_model="numpy")
SMALL = 1e-2  # of an exponent, below which e^d - 1 - d is taken from its series


@_part
def _chances(m, p):
    """p = softmax(m); the logarithm of the sum of exponentials."""
    top, total = m[0], 0.0
    for c in range(m.size):
        if m[c] > top:
            top = m[c]
    for c in range(m.size):
        p[c] = np.exp(m[c] - top)
        total += p[c]
    for c in range(m.size):
        p[c] /= total
    return top + np.log(total)


@_part
def _mean(p, values):
    total = 0.0
    for c in range(p.size):
        total += p[c] * values[c]
    return total


@_part
def _weight(w, i):
    return w[i] if w.size else 1.0


@_kernel
def value_slopes(m, y, w, slopes):
    """The weighted sum of losses; slopes = its derivatives in m, w_i (p_i - e_y), overwritten."""
    total, lost = 0.0, 0.0
    for i in range(y.size):
        size = _chances(m[i], slopes[i])
        total, lost = add(total, lost, _weight(w, i) * (size - m[i, y[i]]))
        slopes[i, y[i]] -= 1.0
        for c in range(m.shape[1]):
            slopes[i, c] *= _weight(w, i)
    return total + lost


@_kernel
def chances(m, out):
    """out = the rows' chances p of the classes, overwritten."""
    for i in range(m.shape[0]):
        _chances(m[i], out[i])


@_kernel
def bent(p, w, v, out):
    """out = the Hessian in m times v, w_i (p v - p (p.v)), overwritten; p : `chances`; all (rows, classes)."""
    for i in range(p.shape[0]):
        mean, weight = 0.0, _weight(w, i)
        for c in range(p.shape[1]):
            mean += p[i, c] * v[i, c]
        for c in range(p.shape[1]):
            out[i, c] = weight * p[i, c] * (v[i, c] - mean)


@_kernel
def bends(m, w, out):
    """out = the diagonal of that Hessian, w_i p (1 - p), overwritten."""
    for i in range(m.shape[0]):
        _chances(m[i], out[i])
        for c in range(m.shape[1]):
            out[i, c] *= _weight(w, i) * (1.0 - out[i, c])


@_kernel
def softmax_plane(m, directions, c, y, w):
    """The sum of losses at m + sum_j c_j d_j, its gradient and upper Hessian triangle in c; directions : (k, rows, classes)."""
    k, classes = c.size, m.shape[1]
    sums, lost = np.empty(1 + k + k * (k + 1) // 2), np.empty(1 + k + k * (k + 1) // 2)
    for j in range(sums.size):
        sums[j] = lost[j] = 0.0
    t, p, means = np.empty(classes), np.empty(classes), np.empty(k)
    for i in range(y.size):
        for a in range(classes):
            t[a] = m[i, a]
            for j in range(k):
                t[a] += c[j] * directions[j, i, a]
        weight = _weight(w, i)
        sums[0], lost[0] = add(sums[0], lost[0], weight * (_chances(t, p) - t[y[i]]))
        for j in range(k):
            means[j] = _mean(p, directions[j, i])
            sums[1 + j], lost[1 + j] = add(sums[1 + j], lost[1 + j], weight * (means[j] - directions[j, i, y[i]]))
        at = 1 + k
        for j in range(k):
            for h in range(j, k):
                term = 0.0
                for a in range(classes):
                    term += p[a] * (directions[j, i, a] - means[j]) * (directions[h, i, a] - means[h])
                sums[at], lost[at] = add(sums[at], lost[at], weight * term)
                at += 1
    for j in range(sums.size):
        sums[j] += lost[j]
    return sums


@_kernel
def softmax_bregman(m, delta, w):
    """sum_i w_i [L(m + d) - L(m) - p.d], L the logarithm of the sum of exponentials.

    With u = d - p.d it is log1p(sum_c p_c (e^u - 1 - u)), all of whose terms are positive.
    """
    total, lost, p, moved = 0.0, 0.0, np.empty(m.shape[1]), np.empty(m.shape[1])
    for i in range(m.shape[0]):
        size = _chances(m[i], p)
        mean, most = _mean(p, delta[i]), delta[i, 0]
        for c in range(p.size):
            moved[c], most = m[i, c] + delta[i, c], max(most, delta[i, c])
        if most - mean > 300.0:
            term = _chances(moved, p) - size - mean
        else:
            rise = 0.0
            for c in range(p.size):
                u = delta[i, c] - mean
                small = u * u * (0.5 + u * (1 / 6 + u * (1 / 24 + u * (1 / 120 + u / 720))))
                rise += p[c] * (small if abs(u) < SMALL else np.expm1(u) - u)
            term = np.log1p(rise)
        total, lost = add(total, lost, _weight(w, i) * term)
    return total + lost


@_kernel
def softmax_sums(m, y, w, out):
    """out[0] = the weighted sums of chances by class, out[1] those of rows by class, overwritten; out : (2, classes)."""
    out[:] = 0.0
    p = np.empty(m.shape[1])
    for i in range(y.size):
        _chances(m[i], p)
        weight = _weight(w, i)
        out[1, y[i]] += weight
        for c in range(p.size):
            out[0, c] += weight * p[c]


@_kernel
def softmax_dual(m, y, w, kept, taken, shrink, slopes):
    """Rows' dual variables a, and how far they are from the chances p: the weighted sum of their relative entropies.

    a = e_y + shrink (a' - e_y), a'_c = kept_c p_c + taken_c sum_d (1 - kept_d) p_d, with kept, taken : (classes,) in [0, 1];
    slopes = w_i (a - e_y), overwritten, (rows, classes), or (0, classes) where they are not asked for.
    """
    total, lost, p = 0.0, 0.0, np.empty(m.shape[1])
    for i in range(y.size):
        size, weight = _chances(m[i], p), _weight(w, i)
        spare = 0.0
        for c in range(p.size):
            spare += (1.0 - kept[c]) * p[c]
        term = 0.0
        for c in range(p.size):
            own = 1.0 if c == y[i] else 0.0
            a = own + shrink * (kept[c] * p[c] + taken[c] * spare - own)
            term += _entropy(a, p[c], m[i, c] - size)
            if slopes.shape[0]:
                slopes[i, c] = weight * (a - own)
        total, lost = add(total, lost, weight * term)
    return total + lost


@_part
def _entropy(a, p, logarithm):
    """a log(a / p) - a + p >= 0, the logarithm of p given."""
    if a <= 0.0:
        return p
    if abs(a - p) < SMALL * p:
        q = (a - p) / p
        return p * q * q * (0.5 - q * (1 / 6 - q * (1 / 12 - q * (1 / 20 - q * (1 / 30 - q / 42)))))
    return max(a * (np.log(a) - logarithm) - a + p, 0.0)
