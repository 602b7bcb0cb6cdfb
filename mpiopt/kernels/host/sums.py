"""Sums for the row-wise kernels: a block of rows in several partial sums, the blocks with compensation.

Neumaier, Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen, ZAMM 1974: relative differences of 1e-14
remain visible at any number of rows.
"""

from mpiopt.kernels.compiling import njit

BLOCK = 256  # rows treated at once, without branches, so that the compiler can use the widest vectors there are

_part = njit(cache=True, part=True, nogil=True, error_model="numpy")
_reduction = njit(cache=True, part=True, nogil=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})


@_reduction
def block_sum(a, n):
    """a_0 + ... + a_(n-1)."""
    total = 0.0
    for i in range(n):
        total += a[i]
    return total


@_reduction
def inner(a, b, n):
    """sum of a_i b_i over i < n."""
    total = 0.0
    for i in range(n):
        total += a[i] * b[i]
    return total


@_reduction
def inner3(a, b, c, n):
    """sum of a_i b_i c_i over i < n."""
    total = 0.0
    for i in range(n):
        total += a[i] * b[i] * c[i]
    return total


@_part
def add(total, lost, term):
    """Neumaier's step: total + term, and the rounding error so far."""
    after = total + term
    if abs(total) >= abs(term):
        return after, lost + ((total - after) + term)
    return after, lost + ((term - after) + total)
