"""What one call of an exchange sends, as the exchange itself says it before any is made."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpiopt.comm.world import World


class Shape(NamedTuple):
    """Of the workers' messages: vectors of ``dim`` numbers of this type, and so many scalars."""

    dim: int
    scalars: int
    dtype: np.dtype

    def nbytes(self, extra: int = 0) -> int:
        """Of a message in one piece, the scalars in the vector's type; ``extra`` numbers more."""
        return (self.dim + self.scalars + extra) * self.dtype.itemsize


@dataclass(frozen=True)
class Traffic:
    """Of one rank; averages where chance has a say. What is sent once, at the start, is not in it.

    messages, vector_rounds, nbytes : as a tally counts them. long : vector rounds of whole vectors. payload : bytes of one
    worker's compressed vector, None where nothing is compressed.
    """

    messages: float = 0.0
    vector_rounds: float = 0.0
    long: float = 0.0
    nbytes: float = 0.0
    payload: int | None = None

    def __add__(self, other: "Traffic") -> "Traffic":
        payload = self.payload if other.payload is None else other.payload
        return Traffic(
            self.messages + other.messages,
            self.vector_rounds + other.vector_rounds,
            self.long + other.long,
            self.nbytes + other.nbytes,
            payload,
        )

    def times(self, often: float) -> "Traffic":
        """That of so many calls."""
        return Traffic(often * self.messages, often * self.vector_rounds, often * self.long, often * self.nbytes, self.payload)


def vector_sum(world: World, nbytes: int, payload: int | None = None) -> Traffic:
    """A sum of a vector of so many bytes; of a short one, with the ``payload`` in it, where something is compressed."""
    return Traffic(1, 1, float(payload is None), nbytes * world.summands, payload)


def small_sum(world: World, numbers: int) -> Traffic:
    """A sum of a few numbers."""
    return Traffic(1, nbytes=8 * numbers * world.summands)


def broadcast(nbytes: int, often: float) -> Traffic:
    """A vector from one rank to all, which is this one so ``often``."""
    return Traffic(1, 1, 1, often * nbytes)
