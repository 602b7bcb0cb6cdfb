"""Compressors made of others: the numbers that one keeps, compressed by the next; and an unbiased one made a contraction."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.compress.compressor import Compressor, Payload, Stream, demand
from mpiopt.compress.reducer import Reducer
from mpiopt.errors import UsageError


def reducer(first: Compressor) -> Reducer:
    """A compressor that can stand before another. Raises UsageError for one that cannot."""
    if not isinstance(first, Reducer):
        raise UsageError(
            f"{type(first).__name__} cannot stand before another compressor, since it sends codes, not numbers: "
            "put topk, randk, block, permk, sketch or identity first"
        )
    return first


@dataclass(frozen=True)
class Then(Compressor):
    """``first`` keeps some numbers, ``second`` compresses them: the second's payload, then what the first sends beside.

    Constants: (1 + omega1)(1 + omega2) - 1 where both are unbiased; delta1 delta2 where the first keeps entries as they are
    (Basu, Data, Karakus, Diggavi, Qsparse-local-SGD, 2019, lemma 1, has the case of top-k and a quantiser).
    """

    first: Reducer
    second: Compressor

    def __post_init__(self) -> None:
        reducer(self.first)

    @property
    def gpu(self) -> bool:
        """If the first has kernels there; the second looks for itself where the numbers kept are."""
        return self.first.gpu

    @property
    def unbiased(self) -> bool:
        """If both are."""
        return self.first.unbiased and self.second.unbiased

    @property
    def linear(self) -> bool:
        """If both are."""
        return self.first.linear and self.second.linear

    def among(self, workers: int) -> Self:
        """Both, for so many workers."""
        return replace(self, first=self.first.among(workers), second=self.second.among(workers))

    def nbytes(self, d: int, dtype: np.typing.DTypeLike = np.float32) -> int:
        """The second's payload of the numbers kept, then the bytes beside them."""
        return self.second.nbytes(self.first.length(d), dtype) + self.first.beside(d)

    def omega(self, d: int) -> float | None:
        """(1 + omega1)(1 + omega2) - 1, if both are unbiased and the first selects coordinates."""
        one, two = self.first.omega(d), self.second.omega(self.first.length(d))
        if one is None or two is None or not (self.unbiased and self.first.selects):
            return None
        return (1 + one) * (1 + two) - 1

    @property
    def independent(self) -> bool:
        """If both are: with one shared draw the errors of the whole are correlated."""
        return self.first.independent and self.second.independent

    def mean_omega(self, d: int, workers: int) -> float | None:
        """m1 + (1 + omega1) m, m of what the second adds to the mean: its own, its omega over the workers, or its omega.

        The second's errors, unbiased whatever the first drew, come on top of the first's, for vectors that are 1 + omega1
        times as large. The second's own m holds where the first puts all workers' numbers in the same places.
        """
        length, omega = self.first.length(d), self.omega(d)
        one, two = self.first.omega(d), self.second.omega(length)
        first, second = self.first.mean_omega(d, workers), self.second.mean_omega(length, workers)
        if omega is None or one is None or two is None or first is None or second is None:
            return None
        return first + (1 + one) * (second if self.first.linear or self.second.independent else two)

    def delta(self, d: int) -> float | None:
        """delta1 delta2, if the first keeps entries as they are."""
        if not self.first.projection:
            return super().delta(d)
        one, two = self.first.delta(d), self.second.delta(self.first.length(d))
        return one * two if one is not None and two is not None else None

    def _packed(self, x: Array, stream: Stream) -> Payload:
        """One after the other."""
        kept, beside = self.first.reduce(x, stream.part(0))
        payload = self.second.encode(kept, stream.part(1))
        return payload if self.linear else np.concatenate([payload.view(np.uint8), beside])

    def _write(self, payload: Payload, out: Array, stream: Stream, scale: float, fresh: bool) -> None:
        n = self.first.length(out.size)
        cut, kept = self.second.nbytes(n, out.dtype), namespace(out).empty(n, out.dtype)
        inner = payload.view(np.uint8)[:cut].view(out.dtype if self.second.linear else np.uint8)
        self.second.decode(inner if inner.flags.aligned else inner.copy(), kept, stream.part(1), kept)
        if fresh:
            out.fill(0)
        self.first.expand(kept, payload.view(np.uint8)[cut:], out, stream.part(0), scale)


@dataclass(frozen=True)
class Shrunk(Compressor):
    """Q / (1 + omega): the contraction that an unbiased Q makes, with delta = 1 / (1 + omega); for error feedback."""

    inner: Compressor

    def __post_init__(self) -> None:
        demand(self.inner.unbiased, "the compressor to be shrunk", self.inner, "an unbiased one, such as qsgd")

    @property
    def gpu(self) -> bool:
        """If Q has kernels there."""
        return self.inner.gpu

    @property
    def linear(self) -> bool:
        """If Q is."""
        return self.inner.linear

    def among(self, workers: int) -> Self:
        """The same for so many workers."""
        return replace(self, inner=self.inner.among(workers))

    def nbytes(self, d: int, dtype: np.typing.DTypeLike = np.float32) -> int:
        """Those of Q."""
        return self.inner.nbytes(d, dtype)

    def factor(self, d: int) -> float:
        """1 / (1 + omega). Raises UsageError where Q has no omega."""
        omega = self.inner.omega(d)
        if omega is None:
            raise UsageError(f"{self.inner} has no constant omega to be shrunk by: shrink another, or take this one as it is")
        return 1 / (1 + omega)

    def delta(self, d: int) -> float:
        """1 / (1 + omega)."""
        return self.factor(d)

    def _packed(self, x: Array, stream: Stream) -> Payload:
        """The payload of Q."""
        self.factor(x.size)
        return self.inner.encode(x, stream)

    def _write(self, payload: Payload, out: Array, stream: Stream, scale: float, fresh: bool) -> None:
        self.inner._write(payload, out, stream, scale * self.factor(out.size), fresh)
