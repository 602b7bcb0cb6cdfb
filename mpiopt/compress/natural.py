"""Unbiased quantisers to powers of two, whose exponents are all that is sent.

name                values                                  bits a number         omega
natural             powers of two                           9                     1 / 8
natural_dithering   norm times 0 or 2^(1-s), ..., 1/2, 1    1 + ceil(log2(s+1))   1 / 8 + a min(1, a), a = sqrt(d) 2^(1-s)

d is the length of a bucket, where there are several.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from mpiopt.arrays import Array
from mpiopt.compress.compressor import demand, kernels, peak
from mpiopt.compress.quantise import Normed, Quantiser, signed
from mpiopt.errors import NumericalError


@dataclass(frozen=True)
class Natural(Quantiser):
    """|x_j| rounded at random to the power of two below or above it: a sign and the exponent of a float32.

    Horvath, Ho, Horvath, Sahu, Canini, Richtarik, Natural compression for distributed deep learning, 2022, definition 3 and
    theorem 7. Entries below 2^-126 become 0 or 2^-126; a magnitude above 2^127 is refused.
    """

    bits_of_code = 9
    bucket: int = 0

    def __post_init__(self) -> None:
        demand(self.bucket == 0, "the bucket of natural", self.bucket, "none, since no scale is sent")

    def scaled(self, d: int) -> int:
        """None."""
        return 0

    def omega(self, d: int) -> float:
        """1/8, attained by x_j = 4/3 2^k."""
        return 0.125

    def table(self) -> np.ndarray:
        """0, 2^-126, ..., 2^127, and nothing for the exponent of infinity."""
        return signed(np.concatenate([[0.0], np.ldexp(1.0, np.arange(-126, 128)), [0.0]]))

    def scales_of(self, x: Array) -> np.ndarray:
        """1. Raises NumericalError."""
        largest = peak(x)
        if largest > 2.0**127:
            raise NumericalError(
                f"a vector that was to be compressed has an entry of magnitude {largest:.3g}, and natural compression "
                "ends at 2^127: the iteration has diverged; take a smaller step size"
            )
        return np.ones(1, x.dtype)

    def quantised(self, x: Array, scales: np.ndarray, key: int, packed: np.ndarray, at: int) -> None:
        """One pass."""
        kernels(x).powers(x, scales, x.size, -126, 254, 9, key, packed, at)


@dataclass(frozen=True)
class NaturalDithering(Normed):
    """|x_j| / norm rounded at random to 0 or a power of two from 2^(1 - s) to 1.

    Horvath, Ho, Horvath, Sahu, Canini, Richtarik, Natural compression for distributed deep learning, 2022, definition 5 and
    theorem 8. ``levels`` is s.
    """

    levels: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(1 <= self.levels <= 1000, "levels", self.levels, "a number from 1 to 1000")

    @property
    def bits_of_code(self) -> int:
        """The sign and ceil(log2(s + 1)) bits."""
        return 1 + self.levels.bit_length()

    def omega(self, d: int) -> float:
        """1/8 + a min(1, a) with a = sqrt(d) 2^(1 - s), for both norms."""
        a = sqrt(self.width(d)) * 2.0 ** (1 - self.levels)
        return 0.125 + a * min(1.0, a)

    def table(self) -> np.ndarray:
        """0, 2^(1 - s), ..., 1 and their negatives."""
        return signed(np.concatenate([[0.0], np.ldexp(1.0, np.arange(1 - self.levels, 1))]))

    def quantised(self, x: Array, scales: np.ndarray, key: int, packed: np.ndarray, at: int) -> None:
        """One pass."""
        kernels(x).powers(x, scales, self.width(x.size), 1 - self.levels, self.levels, self.bits_of_code, key, packed, at)
