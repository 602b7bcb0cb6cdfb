"""Counter-based random numbers inside kernels: a hash of (key, counter), nothing to carry along and nothing to checkpoint."""

import numpy as np

from mpiopt.kernels.compiling import njit

_M1, _M2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_27, _30, _31, _11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)


@njit(cache=True, inline="always")
def mix(z):
    """A bijection of the 64-bit integers whose outputs look random: uint64 in, uint64 out.

    The finaliser of SplitMix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014, figure 16).
    """
    z = (z ^ (z >> _30)) * _M1
    z = (z ^ (z >> _27)) * _M2
    return z ^ (z >> _31)


@njit(cache=True, inline="always")
def draw(key, counter):
    """The counter-th random uint64 of the stream ``key``: both uint64."""
    return mix(key + (counter + np.uint64(1)) * _GOLDEN)


@njit(cache=True, inline="always")
def unit(bits):
    """A random uint64 as a float64 strictly between 0 and 1, a multiple of 2^-54."""
    return (np.float64(bits >> _11) + 0.5) * (1.0 / 9007199254740992.0)
