"""What a compressor is, and what it draws its random numbers from.

    payload = compressor.encode(x, stream)              x (d,) float32 or float64  ->  what goes on the wire
    y = compressor.decode(payload, x, stream)           a vector like x
    compressor.add(payload, total, stream, 1 / n)       total += y / n, without holding y

A payload is one flat array: of x's type where the compressor is linear, so that ranks may add payloads up, and of bytes
otherwise. Its length follows from d and the type of x alone (`nbytes`). Nothing that both sides know is sent: whoever
decodes gives the stream that the sender encoded with, which names round and worker.

x and y may be on a GPU. Payloads are in host memory all the same, where MPI takes them, and have the bytes that they would
have on the CPU, but for the last digit of scales that are sums. A compressor with kernels there (``gpu``) makes its codes on
the card; the vectors of the others pass through the CPU.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from types import ModuleType
from typing import NamedTuple, Self, TypeAlias
from zlib import crc32

import numpy as np

from mpiopt.arrays import Array, Shaped, namespace
from mpiopt.comm.staging import brought, landed, landing, on_device, returned
from mpiopt.errors import DataError, NumericalError, UsageError
from mpiopt.kernels.device import codes as device_codes
from mpiopt.kernels.host import codes as host_codes
from mpiopt.numerics.streams import Streams

Payload: TypeAlias = np.ndarray  # flat: of x's type if the compressor is linear, else uint8

_WORD = 0xFFFFFFFFFFFFFFFF


def mixed(*words: int) -> int:
    """A 64-bit key made of integers: SplitMix64's finaliser, word after word (Steele, Lea and Flood, 2014, figure 16)."""
    key = 0
    for word in words:
        key = (key + word + 0x9E3779B97F4A7C15) & _WORD
        key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
        key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & _WORD
        key ^= key >> 31
    return key


class Stream(NamedTuple):
    """The keys of one worker's random numbers in one round: kernels hash (key, coordinate), so nothing is drawn ahead."""

    own: int  # this worker's key
    shared: int  # the key that all workers have
    worker: int = 0
    workers: int = 1

    @staticmethod
    def of(streams: Streams, purpose: str, round: int = 0, worker: int = 0, workers: int = 1) -> "Stream":  # noqa: A002
        """The stream of this purpose, round and worker; equal names give equal streams on every rank."""
        shared = mixed(streams.seed & _WORD, crc32(purpose.encode()), round)
        return Stream(mixed(shared, worker + 1), shared, worker, workers)

    def part(self, number: int) -> "Stream":
        """The stream of the ``number``-th stage, counted from 0, of a compressor that has several."""
        return self._replace(own=mixed(self.own, number + 1), shared=mixed(self.shared, number + 1))


@dataclass(frozen=True)
class Compressor(ABC):
    """A map of vectors to short messages and back. Not collective.

    Q is in U(omega) where E Q(x) = x and E |Q(x) - x|^2 <= omega |x|^2; C is in B(delta) where
    E |C(x) - x|^2 <= (1 - delta) |x|^2. Constants are None where there is none that holds for every x.

    What the workers' errors make of a mean is said by `mean_omega`: a factor of their number is gained only where they are
    ``independent``.
    """

    @property
    def gpu(self) -> bool:
        """Whether `_packed` and `_write` take vectors on a GPU; if not, they never see one."""
        return False

    @property
    def unbiased(self) -> bool:
        """Whether E decode(encode(x)) = x."""
        return False

    @property
    def linear(self) -> bool:
        """Whether payloads under equal shared keys may be added up: their sum is the payload of the sum."""
        return False

    def among(self, workers: int) -> Self:
        """This compressor for so many workers, where that matters. Raises UsageError if it was made for another number."""
        return self

    def on(self, blocks: Sequence[Shaped]) -> Self:
        """This compressor for the vectors of a model of these blocks, where that matters."""
        return self

    @abstractmethod
    def nbytes(self, d: int, dtype: np.typing.DTypeLike = np.float32) -> int:
        """Exact length of the payload of a vector of ``d`` numbers. Raises UsageError for a d that it cannot compress."""

    def omega(self, d: int) -> float | None:
        """The variance constant, for unbiased compressors."""
        return None

    @property
    def independent(self) -> bool:
        """Whether two workers' errors are uncorrelated, whatever their vectors, so that they average out.

        Not where payloads add up: then all workers have the same map, and the error of the mean is that of their mean vector.
        """
        return not self.linear

    def mean_omega(self, d: int, workers: int) -> float | None:
        """m with E |mean_w Q(a_w) - mean_w a_w|^2 <= m mean_w |a_w|^2 for any a_w: omega over the workers, or omega.

        Szlendak, Tyurin, Richtarik, Permutation compressors for provably faster distributed nonconvex optimization, 2022,
        assumption 4 (the AB inequality, its A where B >= 0); for errors with any correlation by Jensen's inequality.
        """
        omega = self.omega(d)
        return omega / workers if omega is not None and self.independent else omega

    def delta(self, d: int) -> float | None:
        """The contraction constant; 1 - omega where that is positive."""
        omega = self.omega(d)
        return 1 - omega if omega is not None and omega < 1 else None

    def encode(self, x: Array, stream: Stream) -> Payload:
        """The payload of x (d,), a new array. Raises NumericalError if x has entries that are not finite."""
        return self._packed(x if self.gpu else brought(x), stream)

    @abstractmethod
    def _packed(self, x: Array, stream: Stream) -> Payload:
        """The payload of x, which is on the CPU unless ``gpu``."""

    def decode(self, payload: Payload, like: Array, stream: Stream, out: Array | None = None) -> Array:
        """The vector of a payload, in ``out`` or a new array like ``like``; ``stream`` is the one of its sender.

        Raises DataError if the payload has another length than `nbytes`.
        """
        out = namespace(like).empty_like(like) if out is None else out
        self.demand_payload(payload, out)
        if self.gpu or not on_device(out):
            self._write(payload, out, stream, 1.0, True)
            return out
        staged = landing(out)
        self._write(payload, staged, stream, 1.0, True)
        return landed(staged, out)

    def add(self, payload: Payload, out: Array, stream: Stream, scale: float = 1.0) -> None:
        """out += scale * decode(payload), without another vector of that length. Raises DataError as decode does."""
        self.demand_payload(payload, out)
        if self.gpu or not on_device(out):
            self._write(payload, out, stream, scale, False)
            return
        staged = landing(out)
        staged.fill(0)
        self._write(payload, staged, stream, scale, False)
        out += returned(staged, out)

    @abstractmethod
    def _write(self, payload: Payload, out: Array, stream: Stream, scale: float, fresh: bool) -> None:
        """out = scale * decode(payload) if ``fresh``, else out += that; ``out`` is on the CPU unless ``gpu``."""

    def demand_payload(self, payload: Payload, out: Array) -> None:
        """Raise DataError unless ``payload`` is one of this compressor for vectors like ``out``."""
        demand_vector(out)
        wanted = self.nbytes(out.size, out.dtype)
        kind = out.dtype if self.linear else np.dtype(np.uint8)
        if payload.nbytes != wanted or payload.dtype != kind or payload.ndim != 1:
            raise DataError(
                f"a payload of {payload.nbytes} bytes ({payload.dtype}) came for a vector of {out.size} numbers "
                f"({out.dtype}), where {self} sends {wanted} bytes ({kind}): do all ranks compress alike?"
            )


def demand_vector(x: Array) -> None:
    """Raise UsageError unless x is a flat, contiguous, non-empty vector of float32 or float64."""
    good = x.ndim == 1 and x.size and x.dtype in (np.float32, np.float64) and x.flags.c_contiguous
    if not good:
        raise UsageError(
            f"an array of shape {x.shape} and type {x.dtype} was given to a compressor: "
            "give a flat contiguous vector of float32 or float64 with at least one entry"
        )


def kernels(x: Array) -> ModuleType:
    """The home of the functions that compressors need, for vectors that are where ``x`` is: both have the same names."""
    return device_codes if on_device(x) else host_codes


def peaks(x: Array, bucket: int) -> np.ndarray:
    """The largest magnitude of each bucket of x (d,), in its type. Raises NumericalError if one is not finite."""
    demand_vector(x)
    out = kernels(x).peaks(x, bucket)
    demand_finite(out.max())
    return out


def peak(x: Array) -> float:
    """The largest magnitude in x (d,), in one pass over its bits. Raises NumericalError if it is not finite."""
    demand_vector(x)
    return float(peaks(x, x.size)[0])


def demand_finite(largest: float) -> None:
    """Raise NumericalError unless the largest magnitude of a vector is finite."""
    if not abs(largest) < inf:
        raise NumericalError(
            "a vector that was to be compressed has entries that are not finite: the iteration has diverged; "
            "take a smaller step size"
        )


def demand(good: bool, what: str, value: object, wanted: str) -> None:
    """Raise UsageError in one sentence unless ``good``."""
    if not good:
        raise UsageError(f"{what} is {value}: give {wanted}")


def segment(payload: Payload, first: int, count: int, dtype: np.typing.DTypeLike) -> np.ndarray:
    """``count`` numbers of a payload of bytes from byte ``first`` on; a copy only where they are not aligned."""
    cut = payload[first : first + count * np.dtype(dtype).itemsize].view(dtype)
    return cut if cut.flags.aligned else cut.copy()
