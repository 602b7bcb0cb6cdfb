"""Positive semidefinite systems of a few thousand unknowns, solved alike to the last bit on every CPU.

All ranks hold the matrix and take the same step. LAPACK's last bits depend on the processor; here every entry is changed by
the rows above it in their order, without contraction, and vector units change the speed alone.
"""

from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, on_host
from mpiopt.kernels.compiling import njit

PANEL = 8  # rows that are changed together by every row above: it is read once for all of them
ROUNDING = 8 * np.finfo(float).eps  # of a diagonal of 1, for each unknown: a pivot of that much depends on those before

_kernel = njit(cache=True, nogil=True, error_model="numpy")


@_kernel
def _take_away(row, s, other):
    """row -= s other."""
    if s != 0.0:
        for i in range(row.size):
            row[i] -= s * other[i]


@_kernel
def _factor(a, n, least):
    """a = R^T R in place, packed by rows; a row whose pivot is at most ``least`` becomes 0."""
    line = np.array([j * n - j * (j + 1) // 2 for j in range(n)])
    for first in range(0, n, PANEL):
        last = min(first + PANEL, n)
        for j in range(last):
            above = a[line[j] + j : line[j] + n]
            if j >= first:
                above /= np.sqrt(above[0]) if above[0] > least else np.inf
            for k in range(max(first, j + 1), last):
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
        for j, start in enumerate(starts):
            a[start : start + n - j] *= scale[j:] * scale[j]
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
