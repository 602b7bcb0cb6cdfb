"""Every matrix and vector of a model compressed by itself, with scales and a share of the entries of its own."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Self

import numpy as np

from mpiopt.arrays import Array, Shaped
from mpiopt.compress.compressor import Compressor, Payload, Stream
from mpiopt.errors import CapabilityError, UsageError


@dataclass(frozen=True)
class PerBlock(Compressor):
    """``inner`` on each block: the payloads one after the other. Constants are the worst over the blocks.

    sizes : of the blocks, which `on` fills in; None before. A vector several times as long as x holds its blocks as often.
    """

    inner: Compressor
    sizes: tuple[int, ...] | None = None

    @property
    def gpu(self) -> bool:
        """If ``inner`` has kernels there."""
        return self.inner.gpu

    @property
    def unbiased(self) -> bool:
        """If ``inner`` is."""
        return self.inner.unbiased

    @property
    def linear(self) -> bool:
        """If ``inner`` is."""
        return self.inner.linear

    @property
    def independent(self) -> bool:
        """If ``inner``'s errors are."""
        return self.inner.independent

    def among(self, workers: int) -> Self:
        """The same for so many workers."""
        return replace(self, inner=self.inner.among(workers))

    def on(self, blocks: Sequence[Shaped]) -> Self:
        """For vectors of these blocks; of none for vectors that are one block."""
        return replace(self, sizes=tuple(size for block in blocks if (size := prod(block.shape))))

    def nbytes(self, d: int, dtype: np.typing.DTypeLike = np.float32) -> int:
        """The sum over the blocks."""
        return sum(self.inner.nbytes(size, dtype) for size in self._sizes(d))

    def omega(self, d: int) -> float | None:
        """The largest of a block."""
        return _worst(max, [self.inner.omega(size) for size in self._typical(d)])

    def delta(self, d: int) -> float | None:
        """The smallest of a block."""
        return _worst(min, [self.inner.delta(size) for size in self._typical(d)])

    def mean_omega(self, d: int, workers: int) -> float | None:
        """The largest of a block."""
        return _worst(max, [self.inner.mean_omega(size, workers) for size in self._typical(d)])

    def _typical(self, d: int) -> set[int]:
        """The sizes; before they are known that of one block."""
        return {d} if self.sizes is None else set(self._sizes(d))

    def _sizes(self, d: int) -> tuple[int, ...]:
        if self.sizes is None:
            raise CapabilityError(
                f"{self.inner} was to compress every block of a model by itself, and here nobody knows of blocks: leave "
                "`per_block` out, or use a method that ends its rounds with a mean, such as sgd, local_sgd or diloco"
            )
        times, rest = divmod(d, sum(self.sizes) or d)
        if rest:
            raise UsageError(
                f"a vector of {d:,} numbers was to be compressed block by block, and the model's blocks make up "
                f"{sum(self.sizes):,}: leave `per_block` out"
            )
        return (self.sizes or (d,)) * times

    def _parts(self, x: Array, stream: Stream) -> Iterator[tuple[Array, Stream]]:
        """Views of the blocks, each with a stream of its own."""
        at = 0
        for number, size in enumerate(self._sizes(x.size)):
            yield x[at : at + size], stream.part(number)
            at += size

    def _packed(self, x: Array, stream: Stream) -> Payload:
        """One after the other."""
        return np.concatenate([self.inner.encode(part, key) for part, key in self._parts(x, stream)])

    def _write(self, payload: Payload, out: Array, stream: Stream, scale: float, fresh: bool) -> None:
        at = 0
        for part, key in self._parts(out, stream):
            count = self.inner.nbytes(part.size, out.dtype) // payload.itemsize
            if fresh:
                part.fill(0)
            self.inner.add(payload[at : at + count], part, key, scale)
            at += count


def _worst(which: Callable[[list[float]], float], found: list[float | None]) -> float | None:
    known = [one for one in found if one is not None]
    return which(known) if len(known) == len(found) else None
