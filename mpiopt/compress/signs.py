"""One bit a coordinate, and a scale or two for each bucket of coordinates.

name          y_j                                                class
sign          1 or -1                                            none
scaled_sign   mean |x| times the sign                            delta = |x|_1^2 / (d |x|_2^2) >= 1 / d
two_means     the mean of the entries >= 0, or of those below    delta >= 1 / d

A zero counts as positive. ``bucket`` 0 makes one bucket of the whole vector; d is the bucket's length otherwise.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.staging import room
from mpiopt.compress.compressor import (
    Compressor,
    Payload,
    Stream,
    demand,
    demand_vector,
    kernels,
    peak,
    peaks,
    segment,
)
from mpiopt.kernels import host


@dataclass(frozen=True)
class Bucketed(Compressor):
    """A compressor that keeps some scales for each bucket, and then packs codes."""

    bucket: int = 0

    def __post_init__(self) -> None:
        demand(self.bucket >= 0, "the length of a bucket", self.bucket, "a positive number, or 0 for the whole vector")

    def width(self, d: int) -> int:
        """Coordinates in a bucket; the last may have fewer."""
        return min(self.bucket, d) or d

    def buckets(self, d: int) -> int:
        """Their number."""
        return -(-d // self.width(d))


@dataclass(frozen=True)
class Sign(Compressor):
    """1 where x_j >= 0 and -1 elsewhere: the length of x is lost.

    Bernstein, Wang, Azizzadenesheli, Anandkumar, signSGD: compressed optimisation for non-convex problems, 2018.
    """

    gpu: ClassVar[bool] = True

    def nbytes(self, d: int, dtype: np.typing.DTypeLike = np.float32) -> int:
        """d bits."""
        return -(-d // 8)

    def _packed(self, x: Array, stream: Stream) -> Payload:
        """The bits."""
        peak(x)
        payload = room(x, self.nbytes(x.size), np.uint8)
        kernels(x).signs(x, payload, 0)
        return payload

    def _write(self, payload: Payload, out: Array, stream: Stream, scale: float, fresh: bool) -> None:
        kernels(out).choose(payload, 0, np.array([[1.0, -1.0]]), out.size, scale, fresh, out)


@dataclass(frozen=True)
class ScaledSign(Bucketed):
    """The mean magnitude of the bucket times the sign.

    Karimireddy, Rebjock, Stich, Jaggi, Error feedback fixes SignSGD and other gradient compression schemes, 2019, lemma 8.
    """

    gpu: ClassVar[bool] = True
    scales = 1  # of a bucket

    def nbytes(self, d: int, dtype: np.typing.DTypeLike = np.float32) -> int:
        """The scales in the type of x, then d bits."""
        return self.buckets(d) * self.scales * np.dtype(dtype).itemsize + -(-d // 8)

    def delta(self, d: int) -> float:
        """1 / d, d the bucket's: what x of one entry has; |x|_1^2 / (d |x|_2^2) of a given one."""
        return 1 / self.width(d)

    def _packed(self, x: Array, stream: Stream) -> Payload:
        """The scales, then the bits."""
        demand_vector(x)
        means = self._means(x)
        payload = room(x, self.nbytes(x.size, x.dtype), np.uint8)
        payload[: means.nbytes] = means.reshape(-1).view(np.uint8)
        kernels(x).signs(x, payload, means.nbytes)
        return payload

    def _means(self, x: Array) -> np.ndarray:
        """Scales like x, (buckets, scales)."""
        return measured(x, self.width(x.size), host.MEAN).astype(x.dtype)[:, None]

    def _write(self, payload: Payload, out: Array, stream: Stream, scale: float, fresh: bool) -> None:
        n = self.buckets(out.size) * self.scales
        pairs = self._pairs(segment(payload, 0, n, out.dtype).reshape(-1, self.scales))
        kernels(out).choose(payload, n * out.itemsize, pairs, self.width(out.size), scale, fresh, out)

    def _pairs(self, means: np.ndarray) -> np.ndarray:
        """What the bits 0 and 1 stand for in each bucket."""
        return np.concatenate([means, -means], axis=1)


@dataclass(frozen=True)
class TwoMeans(ScaledSign):
    """The mean of the bucket's entries that are not negative, or of those that are: the best values for these bits.

    Seide, Fu, Droppo, Li, Yu, 1-bit stochastic gradient descent and its application to data-parallel distributed training
    of speech DNNs, 2014, section 3.
    """

    scales = 2

    def _means(self, x: Array) -> np.ndarray:
        means = kernels(x).two_means(x, self.width(x.size))
        if not np.isfinite(means).all():
            peak(x)
            means = kernels(x).two_means(x * 2.0**-80, self.width(x.size)) * 2.0**80
        return means.astype(x.dtype)

    def _pairs(self, means: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(means)


def measured(x: Array, bucket: int, kind: int) -> np.ndarray:
    """A float64 scale of each bucket (`host.quantise.measure`), neither overflown nor lost. Raises NumericalError."""
    out = kernels(x).measure(x, bucket, kind)
    odd = ~np.isfinite(out) | (out < 1e-140 if kind == host.EUCLIDEAN else False)
    if odd.any():
        tops = peaks(x, bucket).astype(np.float64)
        for i in np.flatnonzero(odd & (tops > 0)):
            unit = np.ldexp(1.0, np.frexp(tops[i])[1] - 1)  # a power of 2, by which nothing is rounded
            piece = x[i * bucket : (i + 1) * bucket].astype(np.float64, copy=False) / unit
            out[i] = kernels(x).measure(piece, piece.size, kind)[0] * unit
    return out
