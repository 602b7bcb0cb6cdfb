"""Sixteen bits a number: IEEE half precision and bfloat16, after a power of two has brought the largest entry into range."""

from dataclasses import dataclass
from math import frexp, inf

import numpy as np

from mpiopt.arrays import Array
from mpiopt.compress.compressor import Compressor, Payload, Stream, demand_finite, peak, segment

_PIECE = 1 << 15  # numbers converted at once


@dataclass(frozen=True)
class Fp16(Compressor):
    """IEEE binary16, rounded to nearest, beside one power of two: 11 bits of precision, 27 binades deep."""

    def nbytes(self, d: int, dtype: np.typing.DTypeLike = np.float32) -> int:
        """The power of two in the type of x, then 2 d."""
        return np.dtype(dtype).itemsize + 2 * d

    def delta(self, d: int) -> float:
        """1 - 2^-22 for the numbers in full precision, less what those far below the largest may lose."""
        return 1 - 2.0**-22 - d * 2.0**-76

    def _packed(self, x: Array, stream: Stream) -> Payload:
        """The power of two that x was divided by, then the numbers."""
        power = _power(peak(x), x.dtype)
        payload = np.empty(self.nbytes(x.size, x.dtype), np.uint8)
        payload[: x.itemsize] = np.array([power]).view(np.uint8)
        halves = payload[x.itemsize :].view(np.uint16)
        for lo in range(0, x.size, _PIECE):
            halves[lo : lo + _PIECE] = self._narrow(x[lo : lo + _PIECE] / power)
        return payload

    def _write(self, payload: Payload, out: Array, stream: Stream, scale: float, fresh: bool) -> None:
        power = segment(payload, 0, 1, out.dtype)[0]
        halves = segment(payload, out.itemsize, out.size, np.uint16)
        for lo in range(0, out.size, _PIECE):
            wide = self._widen(halves[lo : lo + _PIECE]).astype(out.dtype) * power
            if fresh:
                out[lo : lo + _PIECE] = wide
            else:
                out[lo : lo + _PIECE] += wide * out.dtype.type(scale)

    def _narrow(self, x: np.ndarray) -> np.ndarray:
        """Numbers of magnitude up to 1 as 16 bits."""
        return (x * x.dtype.type(2.0**14)).astype(np.float16).view(np.uint16)

    def _widen(self, halves: np.ndarray) -> np.ndarray:
        """The inverse, up to rounding."""
        return halves.view(np.float16).astype(np.float32) * np.float32(2.0**-14)


def _power(largest: float, dtype: np.dtype) -> np.floating:
    """The power of two above ``largest``, or the nearest that can be divided by. Raises NumericalError."""
    limits, (_, exponent) = np.finfo(dtype), frexp(largest)
    demand_finite(largest if exponent < limits.maxexp else inf)  # the last binade could be rounded out of range
    return np.ldexp(dtype.type(1), max(exponent, int(limits.minexp)))


@dataclass(frozen=True)
class Bf16(Fp16):
    """The upper half of a binary32, rounded to nearest, ties to even, beside one power of two: 8 bits of precision."""

    def delta(self, d: int) -> float:
        """1 - 2^-16, less what those far below the largest may lose."""
        return 1 - 2.0**-15.99 - d * 2.0**-240

    def _narrow(self, x: np.ndarray) -> np.ndarray:
        bits = x.astype(np.float32).view(np.uint32)
        return ((bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))) >> 16).astype(np.uint16)

    def _widen(self, halves: np.ndarray) -> np.ndarray:
        return (halves.astype(np.uint32) << np.uint32(16)).view(np.float32)
