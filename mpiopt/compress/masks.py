"""Random diagonal maps S with E S = I: what a sketched point and its gradient are seen through.

randk:0.1        k coordinates anywhere, times d / k               gain d / k
block:0.1        k in a row, a structured mask                     gain d / k
permk            the workers' shares of a random permutation       gain n
bernoulli:0.1    every coordinate by itself, with probability p    gain 1 / p
parts:4          one of so many parts that are drawn once          gain 4, a finite family

A coordinate is seen with probability 1 / gain and then multiplied by the gain, so that E S^2 = gain I, and the largest
eigenvalue of any S^2 is gain^2: the constants by which f(S x) is less smooth than f. Demidovich, Malinovsky, Shulgin,
Richtarik, MAST: model-agnostic sparsified training, ICLR 2025, section 2.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, Self

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.compress.catalogue import CATALOGUE
from mpiopt.compress.compressor import Stream, demand
from mpiopt.numerics.streams import Streams
from mpiopt.registry.entry import Spelt
from mpiopt.registry.registry import Registry


class Mask(Protocol):
    """A law of masks. Not collective."""

    def among(self, workers: int) -> Self:
        """The same for so many workers. Raises UsageError if it was made for another number."""

    def gain(self, d: int) -> float:
        """What the coordinates seen are multiplied by: one over the probability of each. Raises UsageError for a bad d."""

    def places(self, like: Array, stream: Stream) -> Array:
        """The coordinates of vectors like this (d,) that are seen, int64, where it is; d and more stand for none."""


class _Alone:
    """A mask that does not ask how many workers there are."""

    def among(self, workers: int) -> Self:
        """Itself."""
        return self


@dataclass(frozen=True)
class Bernoulli(_Alone):
    """Every coordinate by a draw of its own.

    Raises UsageError for a probability that is none.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        demand(0 < self.probability <= 1, "the probability of a coordinate", self.probability, "one above 0, up to 1")

    def gain(self, d: int) -> float:
        """1 / p."""
        return 1 / self.probability

    def places(self, like: Array, stream: Stream) -> Array:
        """See `Mask`."""
        draws = np.random.Generator(np.random.Philox(key=stream.own)).random(like.size)
        return namespace(like).asarray(np.flatnonzero(draws < self.probability))


@dataclass(frozen=True)
class Parts(_Alone):
    """One part of a partition that stays the same.

    A finite family of ``count`` masks. Raises UsageError.
    """

    count: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        demand(self.count >= 1, "the number of parts", self.count, "at least 1")

    def gain(self, d: int) -> float:
        """As many as there are parts."""
        demand(self.count <= d, "the number of parts", self.count, f"at most the {d} coordinates that there are")
        return float(self.count)

    def family(self, d: int) -> tuple[np.ndarray, ...]:
        """The coordinates of every part, whose sizes differ by one at most."""
        return _partition(self.count, self.seed, d)

    def places(self, like: Array, stream: Stream) -> Array:
        """Those of a part at random."""
        number = int(np.random.Generator(np.random.Philox(key=stream.own)).integers(self.count))
        return namespace(like).asarray(self.family(like.size)[number])


@lru_cache(maxsize=8)
def _partition(count: int, seed: int, d: int) -> tuple[np.ndarray, ...]:
    parts = np.array_split(np.random.Generator(np.random.Philox(key=seed)).permutation(d), count)
    return tuple(np.sort(part) for part in parts)


MASKS: Registry[Spelt] = Registry(
    "sketch",
    (
        *(CATALOGUE[name] for name in ("randk", "block", "permk")),
        Spelt(
            Bernoulli,
            "Wan, Zeiler, Zhang, LeCun, Fergus, Regularization of neural networks using DropConnect, 2013",
            "probability",
            name="bernoulli",
        ),
        Spelt(Parts, "Demidovich, Malinovsky, Shulgin, Richtarik, MAST, ICLR 2025", "count", name="parts"),
    ),
)


def mask(text: str) -> Mask:
    """The law that a text describes. Raises UsageError for one that is not known, or has not E S = I."""
    head, _, rest = text.strip().partition(":")
    found = MASKS.find(head).spelt(rest)
    demand(getattr(found, "unbiased", True), "the sketch", text, "one with E S = I: leave scaled out")
    return found


def shown(law: Mask, like: Array, streams: Streams, round: int, worker: int, workers: int) -> Array:  # noqa: A002
    """The coordinates of vectors like this (d,) that a worker's mask shows in a round; every rank finds the same."""
    places = law.among(workers).places(like, Stream.of(streams, "sketch", round, worker, workers))
    return places[places < like.size]


def times(law: Mask, like: Array, workers: int) -> float:
    """The gain of a mask among so many workers, in the type of vectors like this (d,)."""
    return like.dtype.type(law.among(workers).gain(like.size))
