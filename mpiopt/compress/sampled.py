"""Entries of a vector drawn at random: anywhere, in a row, or so that no two workers send the same.

name        sent                           class                              aggregate by
randk       k anywhere                     omega = d / k - 1, delta = k / d   allreduce if all workers share the set
block       k in a row from a random one   omega = d / k - 1, delta = k / d   allreduce if all workers share the block
permk       d / n of n workers             omega = n - 1                      gather

No index is sent, since both sides know the stream.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.compress.compressor import Stream, demand, kernels, peak
from mpiopt.compress.reducer import NOTHING, Reducer
from mpiopt.compress.sparse import Few


@dataclass(frozen=True)
class RandK(Few):
    """k coordinates at random, times d / k if ``scaled``.

    shared : all workers take the same coordinates, so that payloads can be added up; their errors then do not average out.
    Wangni, Wang, Liu, Zhang, Gradient sparsification for communication-efficient distributed optimization, 2018;
    unscaled: Stich, Cordonnier, Jaggi, Sparsified SGD with memory, 2018, lemma A.1.
    """

    shared: bool = False
    scaled: bool = True

    @property
    def unbiased(self) -> bool:
        """If scaled."""
        return self.scaled

    @property
    def linear(self) -> bool:
        """If shared."""
        return self.shared

    @property
    def projection(self) -> bool:
        """If not scaled."""
        return not self.scaled

    def omega(self, d: int) -> float | None:
        """d / k - 1, if scaled."""
        return d / self.length(d) - 1 if self.scaled else None

    def delta(self, d: int) -> float | None:
        """k / d, if not scaled."""
        return super().delta(d) if self.scaled else self.share(d)

    def places(self, like: Array, stream: Stream) -> Array:
        """The k coordinates of vectors like this, where it is."""
        d, key = like.size, stream.shared if self.shared else stream.own
        return kernels(like).subset(key, 0, self.length(d), d)

    def gain(self, d: int) -> float:
        """What an entry is multiplied by."""
        return d / self.length(d) if self.scaled else 1.0

    def reduce(self, x: Array, stream: Stream) -> tuple[Array, np.ndarray]:
        """The entries at the places of the stream."""
        peak(x)
        return x[self.places(x, stream)], NOTHING

    def expand(self, kept: Array, beside: np.ndarray, out: Array, stream: Stream, scale: float) -> None:
        """k additions."""
        kernels(out).scatter(kept, self.places(out, stream), scale * self.gain(out.size), out)


@dataclass(frozen=True)
class RandomBlock(RandK):
    """k coordinates in a row, from a random one on and around the end; the same for all workers if ``shared``.

    Vogels, Karimireddy, Jaggi, PowerSGD, 2019, section 4.2.
    """

    shared: bool = True

    def places(self, like: Array, stream: Stream) -> Array:
        """The k coordinates of vectors like this, where it is."""
        d, key = like.size, stream.shared if self.shared else stream.own
        first = int(kernels(like).subset(key, 0, 1, d)[0])
        return namespace(like).arange(first, first + self.length(d)) % d


@dataclass(frozen=True)
class PermK(Reducer):
    """Every coordinate from one worker of n, times n: all workers together send one vector.

    Szlendak, Tyurin, Richtarik, Permutation compressors for provably faster distributed nonconvex optimization, 2022,
    definition 2; where n does not divide d, the coordinates are filled up with empty ones. The mean over the workers is
    exact where their vectors are equal.
    """

    workers: int = 0

    def __post_init__(self) -> None:
        demand(self.workers >= 0, "the number of workers", self.workers, "at least 1, or 0 until it is known")

    def among(self, workers: int) -> Self:
        """The same for so many workers. Raises UsageError if that contradicts its own number."""
        demand(self.workers in (0, workers), "the number of workers of permk", self.workers, f"{workers}, or leave it out")
        return replace(self, workers=workers)

    @property
    def unbiased(self) -> bool:
        """Yes."""
        return True

    @property
    def independent(self) -> bool:
        """No: what one sends the others do not."""
        return False

    def omega(self, d: int) -> float:
        """n - 1 of each worker by itself; their errors cancel in part."""
        return float(self._n() - 1)

    def mean_omega(self, d: int, workers: int) -> float:
        """1, lemma 1 of the paper: the error of the mean is mean_w |a_w|^2 - |mean_w a_w|^2; none of one worker."""
        return float(workers > 1)

    def length(self, d: int) -> int:
        """d / n, rounded up."""
        return -(-d // self._n())

    def gain(self, d: int) -> float:
        """What an entry is multiplied by."""
        return float(self._n())

    def _n(self) -> int:
        demand(self.workers > 0, "the number of workers of permk", self.workers, "it, as in permk:workers=4")
        return self.workers

    def places(self, like: Array, stream: Stream) -> Array:
        """This worker's coordinates of vectors like this, where it is; d and more stand for none."""
        there = stream.workers
        demand(there == self._n(), "the number of workers of permk", self.workers, f"{there}, as many as there are")
        count = self.length(like.size)
        return kernels(like).subset(stream.shared, stream.worker * count, count, count * self.workers)

    def reduce(self, x: Array, stream: Stream) -> tuple[Array, np.ndarray]:
        """The entries at this worker's places."""
        peak(x)
        xp, places = namespace(x), self.places(x, stream)
        return xp.where(places < x.size, x[xp.minimum(places, x.size - 1)], x.dtype.type(0)), NOTHING

    def expand(self, kept: Array, beside: np.ndarray, out: Array, stream: Stream, scale: float) -> None:
        """d / n additions."""
        kernels(out).scatter(kept, self.places(out, stream), scale * self.gain(out.size), out)
