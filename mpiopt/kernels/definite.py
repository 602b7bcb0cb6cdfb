"""Positive semidefinite systems of a few thousand unknowns, solved alike to the last bit on every CPU.

All ranks hold the matrix and take the same step. LAPACK's last bits depend on the processor; here every entry is changed by
the rows above it in their order, without contraction, and vector units change the speed alone.
"""

from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, on_host
from mpiopt.kernels.compiling import njit

PANEL, TILE = 32, 512  # rows and columns that are changed together by all rows above, four by four: they stay in the cache
ROUNDING = 8 * np.finfo(float).eps  # of a diagonal of 1, for each unknown: a pivot of that much depends on those before

_kernel = njit(cache=True, nogil=True, error_model="numpy")
_part = njit(cache=True, part=True, nogil=True, error_model="numpy")


@_kernel
def _scale(a, scale):
    """S A S in place, packed by rows."""
    at = 0
    for j in range(scale.size):
        for k in range(j, scale.size):
            a[at] *= scale[k] * scale[j]
            at += 1


@_part
def _take_away(row, s, other):
    """row -= s other."""
    if s != 0.0:
        for i in range(row.size):
            row[i] -= s * other[i]


@_part
def _take_four(row, s, first, second, third, fourth):
    """row -= s_0 first, then s_1 second, s_2 third and s_3 fourth: row is read once."""
    p, q, u, w = s
    for i in range(row.size):
        row[i] = row[i] - p * first[i] - q * second[i] - u * third[i] - w * fourth[i]


@_part
def _take_above(a, line, first, last, lo, hi):
    """Columns ``lo`` to ``hi`` of rows ``first`` to ``last``, changed by all rows above these; a multiple of four."""
    for j in range(0, first, 4):
        p, q, u, w = line[j], line[j + 1], line[j + 2], line[j + 3]
        for k in range(first, last):
            s = a[p + k], a[q + k], a[u + k], a[w + k]
            at = max(lo, k)
            if at < hi and (s[0] != 0.0 or s[1] != 0.0 or s[2] != 0.0 or s[3] != 0.0):
                row = a[line[k] + at : line[k] + hi]
                _take_four(row, s, a[p + at : p + hi], a[q + at : q + hi], a[u + at : u + hi], a[w + at : w + hi])


@_kernel
def _factor(a, n, least):
    """a = R^T R in place, packed by rows; a row whose pivot is at most ``least`` becomes 0."""
    line = np.array([j * n - j * (j + 1) // 2 for j in range(n)])
    for first in range(0, n, PANEL):
        last = min(first + PANEL, n)
        for lo in range(first, n, TILE):
            _take_above(a, line, first, last, lo, min(lo + TILE, n))
        for j in range(first, last):
            above = a[line[j] + j : line[j] + n]
            above /= np.sqrt(above[0]) if above[0] > least else np.inf
            for k in range(j + 1, last):
                _take_away(a[line[k] + k : line[k] + n], above[k - j], above[k - j :])


@_kernel
def _substituted(a, n, z):
    """R^T R z' = z in place; unknowns without a pivot are 0."""
    line = np.array([j * n - j * (j + 1) // 2 for j in range(n)])
    for j in range(n):
        pivot = a[line[j] + j]
        z[j] = z[j] / pivot if pivot > 0.0 else 0.0
        for i in range(j + 1, n):
            z[i] -= z[j] * a[line[j] + i]
    for j in range(n - 1, -1, -1):
        pivot = a[line[j] + j]
        if pivot > 0.0:
            for i in range(j + 1, n):
                z[j] -= a[line[j] + i] * z[i]
            z[j] /= pivot


class Factor(NamedTuple):
    """R with S (A + diag(ridge)) S = R^T R, S = diag(scale): R packed by rows, (n (n + 1) / 2,); scale (n,). On the host."""

    rows: np.ndarray
    scale: np.ndarray

    @staticmethod
    def of(triangle: Array, ridge: Array) -> "Factor":
        """That of the upper triangle of A by rows, (n (n + 1) / 2,), and ridge (n,). n^3 / 3 multiplications.

        Brought to a diagonal of 1 first, so that the units of the unknowns do not matter.
        """
        a, n = on_host(triangle).astype(np.float64), ridge.size
        lengths = np.arange(n, 0, -1)
        starts = np.cumsum(lengths) - lengths
        a[starts] += on_host(ridge)
        diagonal = a[starts]
        scale = np.divide(1, np.sqrt(np.maximum(diagonal, 0)), out=np.zeros(n), where=diagonal > 0)
        _scale(a, scale)
        _factor(a, n, ROUNDING * n)
        return Factor(a, scale)

    def solved(self, b: Array) -> np.ndarray:
        """z (n,) with (A + diag(ridge)) z = b, on the host; unknowns that depend on those before them are 0."""
        z = on_host(b) * self.scale
        _substituted(self.rows, z.size, z)
        return z * self.scale


def solved(triangle: Array, ridge: Array, b: Array) -> np.ndarray:
    """A solution z (n,) of (A + diag(ridge)) z = b, as `Factor` finds it."""
    return Factor.of(triangle, ridge).solved(b)
