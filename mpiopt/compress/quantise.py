"""Unbiased quantisers: every coordinate is rounded up or down at random to one of a few values, so that its mean stays.

name        values                                    bits a number         omega
qsgd        multiples of norm / s                     1 + ceil(log2(s+1))   min(d / (4 s^2), sqrt(d) / s)
terngrad    0 and largest entry                       1.6                   (sqrt(d) - 1) / 2

d is the length of a bucket, where there are several. A random number is a hash of the worker's key and the coordinate.
"""

from abc import abstractmethod
from dataclasses import dataclass
from math import inf, sqrt
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.staging import room
from mpiopt.compress.compressor import Payload, Stream, demand, demand_vector, kernels, peaks, segment
from mpiopt.compress.signs import Bucketed, measured
from mpiopt.errors import NumericalError
from mpiopt.kernels import host


@dataclass(frozen=True)
class Quantiser(Bucketed):
    """Scales in the type of x, then packed codes."""

    gpu: ClassVar[bool] = True

    @property
    def unbiased(self) -> bool:
        """Yes."""
        return True

    @property
    @abstractmethod
    def bits_of_code(self) -> int:
        """Bits of a packed code, or TRITS."""

    @abstractmethod
    def table(self) -> np.ndarray:
        """The value of every code, for a scale of 1."""

    @abstractmethod
    def scales_of(self, x: Array) -> np.ndarray:
        """One scale of each bucket, in the type of x."""

    @abstractmethod
    def quantised(self, x: Array, scales: np.ndarray, key: int, packed: np.ndarray, at: int) -> None:
        """Write the codes of x to ``packed`` from byte ``at`` on."""

    def scaled(self, d: int) -> int:
        """The number of scales sent."""
        return self.buckets(d)

    def nbytes(self, d: int, dtype: np.typing.DTypeLike = np.float32) -> int:
        """The scales in the type of x, then the codes."""
        b = self.bits_of_code
        return self.scaled(d) * np.dtype(dtype).itemsize + (-(-d // 5) if b == host.TRITS else -(-d * b // 8))

    def _packed(self, x: Array, stream: Stream) -> Payload:
        """The scales, then the codes."""
        demand_vector(x)
        scales = self.scales_of(x)
        payload = room(x, self.nbytes(x.size, x.dtype), np.uint8)
        at = self.scaled(x.size) * x.itemsize
        payload[:at] = scales[: self.scaled(x.size)].view(np.uint8)
        self.quantised(x, scales, stream.own, payload, at)
        return payload

    def _write(self, payload: Payload, out: Array, stream: Stream, scale: float, fresh: bool) -> None:
        n = self.scaled(out.size)
        scales = segment(payload, 0, n, out.dtype) if n else np.ones(1, out.dtype)
        kernels(out).look_up(
            payload, n * out.itemsize, self.bits_of_code, self.table(), scales, self.width(out.size), scale, fresh, out
        )


def rounded_up(scales: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Scales in the type of x, none smaller than it was. Raises NumericalError where the type cannot hold one."""
    with np.errstate(over="ignore"):  # refused below
        out = scales.astype(dtype)
    out = np.where(out < scales, np.nextafter(out, dtype.type(inf)), out)
    if not np.isfinite(out).all():
        raise NumericalError(
            f"the length of a vector that was to be compressed is {scales.max():.3g}, which {dtype} cannot hold: "
            "the iteration has diverged; take a smaller step size"
        )
    return out


@dataclass(frozen=True)
class Normed(Quantiser):
    """A quantiser of x over its norm: ``norm`` 2 or inf."""

    norm: str = "2"

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self.norm in ("2", "inf"), "the norm", repr(self.norm), "2 or inf")

    def scales_of(self, x: Array) -> np.ndarray:
        """The norm of each bucket. Raises NumericalError."""
        if self.norm == "inf":
            return peaks(x, self.width(x.size))
        return rounded_up(measured(x, self.width(x.size), host.EUCLIDEAN), x.dtype)


def signed(values: np.ndarray) -> np.ndarray:
    """A table of values, and of their negatives in its second half."""
    half = np.zeros(1 << (len(values) - 1).bit_length())
    half[: len(values)] = values
    return np.concatenate([half, -half])


@dataclass(frozen=True)
class Qsgd(Normed):
    """|x_j| rounded at random to a multiple of norm / s.

    Alistarh, Grubic, Li, Tomioka, Vojnovic, QSGD: communication-efficient SGD via gradient quantization and encoding, 2017,
    section 3.1. Give ``bits`` a coordinate, sign included (s = 2^(bits - 1) - 1; 4 unless given), or ``levels`` s.
    """

    bits: int | None = None
    levels: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        demand(self.bits is None or self.levels is None, "levels", self.levels, "bits or levels, not both")
        demand(self.bits is None or 2 <= self.bits <= 16, "bits", self.bits, "a number from 2 to 16, sign included")
        demand(self.levels is None or 1 <= self.levels < 1 << 15, "levels", self.levels, "a number from 1 to 32767")

    @property
    def s(self) -> int:
        """Levels above 0."""
        return self.levels or (1 << ((self.bits or 4) - 1)) - 1

    @property
    def bits_of_code(self) -> int:
        """The sign and ceil(log2(s + 1)) bits."""
        return 1 + self.s.bit_length()

    def omega(self, d: int) -> float:
        """The variance is (norm / s)^2 sum p (1 - p), p the chance to go up: p (1 - p) <= 1/4, p <= s |x_j| / norm.

        For the 2-norm min(d / (4 s^2), sqrt(d) / s), where the paper (lemma 3.1) has d / s^2; for the largest magnitude,
        which is a level itself, min((d - 1) / (4 s^2), sqrt(d - 1) / (2 s)).
        """
        n, s = self.width(d), self.s
        if self.norm == "inf":
            return min((n - 1) / (4 * s * s), sqrt(n - 1) / (2 * s))
        return min(n / (4 * s * s), sqrt(n) / s)

    def table(self) -> np.ndarray:
        """0, 1/s, ..., 1 and their negatives."""
        return signed(np.arange(self.s + 1) / self.s)

    def quantised(self, x: Array, scales: np.ndarray, key: int, packed: np.ndarray, at: int) -> None:
        """One pass."""
        kernels(x).dither(x, scales, self.width(x.size), self.s, self.bits_of_code, key, packed, at)


@dataclass(frozen=True)
class TernGrad(Quantiser):
    """0 or the largest magnitude of the bucket, with the sign of x_j: five coordinates a byte.

    Wen, Xu, Yan, Wu, Wang, Chen, Li, TernGrad: ternary gradients to reduce communication in distributed deep learning, 2017,
    eq. 3, without its clipping.
    """

    bits_of_code = host.TRITS

    def omega(self, d: int) -> float:
        """(sqrt(d) - 1) / 2: the sum of M |x_j| - x_j^2 at its worst, where all but one entry are M / (1 + sqrt(d))."""
        return (sqrt(self.width(d)) - 1) / 2

    def table(self) -> np.ndarray:
        """Trits."""
        return np.array([0.0, 1.0, -1.0])

    def scales_of(self, x: Array) -> np.ndarray:
        """The largest magnitude of each bucket. Raises NumericalError."""
        return peaks(x, self.width(x.size))

    def quantised(self, x: Array, scales: np.ndarray, key: int, packed: np.ndarray, at: int) -> None:
        """One pass."""
        kernels(x).dither(x, scales, self.width(x.size), 1, host.TRITS, key, packed, at)
