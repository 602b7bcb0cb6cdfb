"""The logistic loss's row-wise kernels by hand, on margins m = A x : (rows,) that the caller keeps; see `host.rowwise`.

w_i log(1 + exp(-y_i m_i)) with labels y_i = -1 or +1 (any real or integer type). w : (rows,) are sample weights; an array
of length 0 stands for all ones. Sums are over this process's rows, not divided by anything, and nothing communicates.
Margins may be as large as the type allows: exponentials are of non-positive numbers only.

The loops run over blocks of `sums.BLOCK` rows, without branches, so that the compiler can use the widest vectors there are;
the exponential is a polynomial, since calls to the mathematical library cannot be vectorised.
"""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.sums import BLOCK, add, block_sum, inner, inner3

_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_ROUND = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to an integer and leaves that integer in the low bits
_E2, _E3, _E4, _E5, _E6 = (
    0.5000000000000001,
    0.16666666666666669,
    0.04166666666662409,
    0.008333333333330084,
    0.0013888888917232278,
)
_E7, _E8, _E9 = 0.00019841269862943777, 2.480152126721156e-05, 2.7557268595420696e-06
_E10, _E11 = 2.7620102057311725e-07, 2.5100334429887826e-08
# The coefficients of log in Sun's fdlibm, e_log.c.
_L1, _L2 = 6.666666666666735130e-01, 3.999999999940941908e-01
_L3, _L4 = 2.857142874366239149e-01, 2.222219843214978396e-01
_L5, _L6, _L7 = 1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01

_kernel = njit(cache=True, nogil=True, error_model="numpy")
# contract lets a * b + c be one instruction; nothing else may be reordered, or the rounding trick is lost.
_elementary = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
_part = njit(cache=True, part=True, nogil=True, error_model="numpy", fastmath={"contract"})


@_part
def exp_negative(x):
    """e^x for x <= 0 to 2e-16 relative; x below -708 counts as -708 (3e-308).

    x = n ln 2 + r, |r| <= ln(2)/2; e^r by its degree-11 interpolation at Chebyshev nodes; 2^n by adding n to the
    exponent's bits.
    """
    shifted = max(x, -708.0) * _LOG2E + _ROUND
    n = shifted - _ROUND
    r = (max(x, -708.0) - n * _LN2_HIGH) - n * _LN2_LOW
    s = r * r
    low = (_E2 + _E3 * r) + s * (_E4 + _E5 * r)
    high = (_E6 + _E7 * r) + s * (_E8 + _E9 * r) + (s * s) * (_E10 + _E11 * r)
    power = 1.0 + (r + s * (low + (s * s) * high))
    bits = np.float64(power).view(np.int64) + (np.float64(shifted).view(np.int64) << np.int64(52))
    return np.int64(bits).view(np.float64)


@_part
def log1p_unit(u):
    """log(1 + u) for 0 <= u <= 1 to about 2e-16 relative (fdlibm's series, after halving 1 + u above sqrt 2)."""
    large = u > 0.4142135623730951
    f = 0.5 * (u - 1.0) if large else u
    s = f / (2.0 + f)
    z = s * s
    series = z * (_L1 + z * (_L2 + z * (_L3 + z * (_L4 + z * (_L5 + z * (_L6 + z * _L7))))))
    half = 0.5 * f * f
    small = s * (half + series)
    return _LN2_HIGH - ((half - (small + _LN2_LOW)) - f) if large else f - (half - small)


@_part
def _losses(t, n, value, slope):
    """value = log(1 + e^-t), slope = -1 / (1 + e^t), for a block of n signed margins t."""
    for i in range(n):
        e = exp_negative(-abs(t[i]))
        value[i] = max(-t[i], 0.0) + log1p_unit(e)
        slope[i] = -(e if t[i] > 0.0 else 1.0) / (1.0 + e)


@_kernel
def logistic(m, y, w, residual):
    """sum_i w_i log(1 + exp(-y_i m_i)); residual_i = its derivative in m_i, -w_i y_i / (1 + exp(y_i m_i)), overwritten.

    m : (rows,); y : (rows,); w : (rows,) or (0,); residual : (rows,). The gradient in x is A^T residual.
    """
    t, value, slope = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    total, lost = 0.0, 0.0
    for lo in range(0, m.size, BLOCK):
        n = min(BLOCK, m.size - lo)
        mb, yb, rb, wb = m[lo : lo + n], y[lo : lo + n], residual[lo : lo + n], w[lo : lo + n]
        for i in range(n):
            t[i] = yb[i] * mb[i]
        _losses(t, n, value, slope)
        if w.size:
            for i in range(n):
                rb[i] = wb[i] * yb[i] * slope[i]
            total, lost = add(total, lost, inner(value, wb, n))
        else:
            for i in range(n):
                rb[i] = yb[i] * slope[i]
            total, lost = add(total, lost, block_sum(value, n))
    return total + lost


@_elementary
def curvature(m, w, h):
    """h_i = w_i sigma'(m_i), the logistic loss's second derivative for either label; h : (rows,), overwritten."""
    for i in range(m.size):
        e = exp_negative(-abs(m[i]))
        h[i] = e / ((1.0 + e) * (1.0 + e))
    if w.size:
        for i in range(m.size):
            h[i] *= w[i]


@_kernel
def plane(m, p, c, y, w):
    """The logistic loss at the margins m + sum_j c_j p_j: value, gradient and Hessian in c, in one pass.

    m : (rows,); p : (k, rows) the directions' margins, C-contiguous; c : (k,); y : (rows,); w : (rows,) or (0,).
    Returns (1 + k + k (k + 1) / 2,): the sum of losses, its gradient, the upper triangle of its Hessian row by row.
    """
    k = c.size
    sums, lost = np.empty(1 + k + k * (k + 1) // 2), np.empty(1 + k + k * (k + 1) // 2)
    for j in range(sums.size):
        sums[j] = lost[j] = 0.0
    t, value, slope, bend = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for lo in range(0, m.size, BLOCK):
        n = min(BLOCK, m.size - lo)
        mb, yb, wb = m[lo : lo + n], y[lo : lo + n], w[lo : lo + n]
        for i in range(n):
            t[i] = mb[i]
        for j in range(k):
            pj, cj = p[j, lo : lo + n], c[j]
            for i in range(n):
                t[i] += cj * pj[i]
        for i in range(n):
            t[i] *= yb[i]
        _losses(t, n, value, slope)
        for i in range(n):
            bend[i] = -slope[i] * (1.0 + slope[i])
            slope[i] *= yb[i]
        if w.size:
            for i in range(n):
                value[i] *= wb[i]
                slope[i] *= wb[i]
                bend[i] *= wb[i]
        sums[0], lost[0] = add(sums[0], lost[0], block_sum(value, n))
        at = 1 + k
        for j in range(k):
            sums[1 + j], lost[1 + j] = add(sums[1 + j], lost[1 + j], inner(slope, p[j, lo : lo + n], n))
            for h in range(j, k):
                term = inner3(bend, p[j, lo : lo + n], p[h, lo : lo + n], n)
                sums[at], lost[at] = add(sums[at], lost[at], term)
                at += 1
    for j in range(sums.size):
        sums[j] += lost[j]
    return sums


@_kernel
def bregman(m, delta, y, w):
    """sum_i w_i [l(t_i + d_i) - l(t_i) - l'(t_i) d_i], l(t) = log(1 + e^-t), t = y m, d = y delta, stably.

    m, delta, y : (rows,); w : (rows,) or (0,). With p = 1 / (1 + e^t): log1p(p expm1(-d)) + p d, and below |d| = 1e-3
    its series p (1 - p) d^2 [1/2 - (1 - 2p) d / 6 + (1 - 6p + 6p^2) d^2 / 24] (the difference of two losses is only
    round-off there).
    """
    total, lost = 0.0, 0.0
    for i in range(m.size):
        t, d = y[i] * m[i], y[i] * delta[i]
        e = exp_negative(-abs(t))
        p = (e if t > 0.0 else 1.0) / (1.0 + e)
        if abs(d) < 1e-3:
            bend = e / ((1.0 + e) * (1.0 + e))
            term = bend * d * d * (0.5 - (1 - 2 * p) * d / 6 + (1 - 6 * bend) * d * d / 24)
        elif (t > 0.0 and d > -500.0) or d > 500.0:
            term = np.log1p(p * np.expm1(-d)) + p * d
        else:
            # The same number with 1 - p in place of p: p near 1 would cancel, and expm1(-d) might overflow.
            q = (1.0 if t > 0.0 else e) / (1.0 + e)
            term = np.log1p(q * np.expm1(d)) - q * d
        total, lost = add(total, lost, (w[i] if w.size else 1.0) * term)
    return total + lost
