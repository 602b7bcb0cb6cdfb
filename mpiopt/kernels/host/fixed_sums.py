"""Sums by feature that are the same bits in whatever order and on however many ranks they are taken: of whole numbers."""

import numpy as np

from mpiopt.kernels.compiling import njit

PLACES = 30  # binary places of a slice: 2^32 rows add up to less than 2^63


@njit(cache=True, nogil=True)
def add_moments(indices, data, centre, exponent, sums):
    """Add up data[k] - centre of each feature, and its square, in slices of PLACES binary places.

    indices : (n,) features; data : (n,) values. centre : (features,); exponent : (features,) int64, 2^exponent is at least
    any |data - centre|. sums : (4, features) int64: two slices of the sum, two of the sum of squares. NaN is left out.
    """
    unit = 2.0**PLACES
    for k in range(indices.size):
        j = indices[k]
        value = np.float64(data[k])
        if np.isnan(value):
            continue
        t = np.ldexp(value - centre[j], -exponent[j])
        for part in range(2):
            scaled = t * unit
            high = np.rint(scaled)
            sums[2 * part, j] += np.int64(high)
            sums[2 * part + 1, j] += np.int64(np.rint((scaled - high) * unit))
            t = t * t


@njit(cache=True, nogil=True)
def extremes(indices, data, least, greatest, count):
    """Lower least[j] and raise greatest[j], (features,), to the values of feature j, and count them; NaN is left out."""
    for k in range(indices.size):
        j = indices[k]
        value = np.float64(data[k])
        if np.isnan(value):
            continue
        count[j] += 1
        if value < least[j]:
            least[j] = value
        if value > greatest[j]:
            greatest[j] = value
