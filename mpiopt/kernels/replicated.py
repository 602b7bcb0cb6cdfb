"""Sums over vectors that all ranks hold alike, the same to the last bit on every CPU.

BLAS adds up in an order that depends on the processor, so that ranks on unlike CPUs find unlike last bits, and what is
scaled by them drifts apart. Here the order is written down, and nothing is contracted: vector units change the speed alone.
Numbers that decide a branch are agreed on nevertheless (`comm.world.World.dots`, which divides the work besides).
"""

from math import sqrt

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.kernels.compiling import njit

_1, _2, _3, _4, _5, _6, _7, _8 = map(np.uint64, range(1, 9))


@njit(cache=True, nogil=True, error_model="numpy")
def _inner(x, y):
    a = b = c = d = e = f = g = h = 0.0  # eight sums at once, in vector units where there are any
    end = np.uint64(x.size - x.size % 8)
    i = np.uint64(0)
    while i < end:
        a += np.float64(x[i]) * np.float64(y[i])
        b += np.float64(x[i + _1]) * np.float64(y[i + _1])
        c += np.float64(x[i + _2]) * np.float64(y[i + _2])
        d += np.float64(x[i + _3]) * np.float64(y[i + _3])
        e += np.float64(x[i + _4]) * np.float64(y[i + _4])
        f += np.float64(x[i + _5]) * np.float64(y[i + _5])
        g += np.float64(x[i + _6]) * np.float64(y[i + _6])
        h += np.float64(x[i + _7]) * np.float64(y[i + _7])
        i += _8
    while i < np.uint64(x.size):
        a += np.float64(x[i]) * np.float64(y[i])
        i += _1
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


def inner(x: Array, y: Array) -> float:
    """x.y in float64; on a GPU as its library does it, alike on GPUs of one kind."""
    return float(_inner(x, y) if namespace(x) is np else x @ y)


@njit(cache=True, nogil=True, error_model="numpy")
def _product(a, b, out):
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            factor = a[i, k]
            for j in range(b.shape[1]):
                out[i, j] += factor * b[k, j]


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A B of matrices of one type, in it, a new array; several times slower than BLAS."""
    out = np.zeros((a.shape[0], b.shape[1]), a.dtype)
    _product(np.ascontiguousarray(a), np.ascontiguousarray(b), out)
    return out


def length(x: Array) -> float:
    """Euclidean length."""
    return sqrt(inner(x, x))


def power(base: float, exponent: int) -> float:
    """base ** exponent for exponent >= 0 by squaring: the mathematical library's last bit depends on the CPU."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base, exponent = base * base, exponent >> 1
    return result
