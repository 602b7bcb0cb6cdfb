"""A seeded order of any number of rows in which the place of each can be computed by itself."""

from dataclasses import dataclass

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.hashing import draw, mix

_ROUNDS = 6


@dataclass(frozen=True)
class Shuffle:
    """A permutation of ``rows`` row numbers that follows from ``seed``; None for the identity.

    A Feistel network (Luby and Rackoff, How to construct pseudorandom permutations, 1988) on just enough bits, applied
    again until the result is a row number (Black and Rogaway, Ciphers with arbitrary finite domains, 2002, section 3).
    """

    rows: int
    seed: int | None

    def __call__(self, first: int, count: int) -> np.ndarray:
        """The new places (count,) int64 of the rows first, first + 1, ..."""
        if self.seed is None:
            return np.arange(first, first + count)
        places = np.empty(count, np.int64)
        bits = max(2, (self.rows - 1).bit_length())
        _permute(np.uint64(self.seed & 0xFFFFFFFFFFFFFFFF), np.uint64(self.rows), np.uint64(bits), np.uint64(first), places)
        return places


@njit(cache=True, nogil=True)
def _permute(seed, rows, bits, first, places):
    one = np.uint64(1)
    low_bits = bits >> one
    high_bits = bits - low_bits
    low_mask, high_mask = (one << low_bits) - one, (one << high_bits) - one
    for i in range(places.size):
        x = first + np.uint64(i)
        while True:
            high, low = x >> low_bits, x & low_mask
            for r in range(_ROUNDS // 2):
                high ^= mix(draw(seed, np.uint64(2 * r)) ^ low) & high_mask
                low ^= mix(draw(seed, np.uint64(2 * r + 1)) ^ high) & low_mask
            x = (high << low_bits) | low
            if x < rows:
                break
        places[i] = x
