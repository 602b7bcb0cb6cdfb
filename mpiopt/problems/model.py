"""What training asks of a problem, beyond Loss: minibatches, a start, a score on held-out rows, and the shape of x.

x is one flat vector (dim,), float32 or float64; its ``blocks`` are the matrices and vectors it is made of, one after the
other, and models work on views of them.
"""

from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from math import prod
from typing import NamedTuple, Protocol

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.problems.buffers import Buffers
from mpiopt.problems.problem import Point
from mpiopt.problems.protocols import Blocks, Trainable, offers

CHUNK = 1024  # rows treated at once, which bounds the memory on the way and keeps their activations in the cache
WIDE = 16384  # rows treated at once on a GPU, which wants work for all its cores


class Block(NamedTuple):
    """A named part of the flat vector."""

    name: str
    shape: tuple[int, ...]


class ScoreSums(NamedTuple):
    """Sums over rows, to be added up over workers.

    correct : rows answered rightly, NaN where the loss does not say what is right. figures : of a model's own figures, in
    their order.
    """

    loss: float
    correct: float
    rows: int
    figures: tuple[float, ...] = ()

    @staticmethod
    def total(parts: Iterable[tuple[float | Array, float | Array, int]]) -> "ScoreSums":
        """The sums over several sets of rows. A GPU is waited for once they are all under way."""
        loss: float | Array = 0.0
        correct: float | Array = 0
        rows = 0
        for part in parts:
            loss, correct, rows = loss + part[0], correct + part[1], rows + part[2]
        return ScoreSums(float(loss), float(correct), rows)


class Model(Trainable, Protocol):
    """One worker's mean loss, also over some of its rows. Not collective."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The parts of x."""

    @property
    def buffers(self) -> Buffers:
        """Copies of what a model keeps beside x, such as running statistics, by name; {} for most."""

    @property
    def form(self) -> str:
        """What must be the same on every rank, in words."""

    def value_grad(self, at: Point, rows: Array | None = None) -> tuple[float, Array]:
        """Mean loss over ``rows`` (b,), local row numbers, None for all, and its gradient (dim,) in the type of x.

        The gradient is a new array: the caller's to keep and to write into. No rows give 0 and zeros. A point that has
        diverged gives NaN or infinity, without a warning.
        """

    def initial(self, stream: np.random.Generator) -> Array:
        """A new x (dim,) to start from, in the memory of the CPU; equal streams give equal starts on every worker."""

    def evaluate(self, x: Array, rows: Array | None = None) -> ScoreSums:
        """Sums over ``rows``, None for all; penalties are not in the losses."""

    def flawed(self) -> int | None:
        """The first of its rows that holds, or whose answer is, no finite number; None where all are."""


def blocks_of(loss: object) -> tuple[Block, ...]:
    """The named matrices and vectors that the x of a loss is made of; none where it does not say."""
    return tuple(loss.blocks) if offers(loss, Blocks) else ()


def split(x: Array, blocks: tuple[Block, ...]) -> list[Array]:
    """Views of x (dim,), one of each block's shape. Raises UsageError if the blocks do not make up x."""
    sizes = [prod(block.shape) for block in blocks]
    if x.shape != (sum(sizes),):
        raise UsageError(
            f"a vector of shape {x.shape} was given to a model of {sum(sizes)} parameters "
            f"({', '.join(f'{block.name} {block.shape}' for block in blocks)}): is it another model's?"
        )
    bounds = pairwise(accumulate(sizes, initial=0))
    return [x[lo:hi].reshape(block.shape) for (lo, hi), block in zip(bounds, blocks, strict=True)]


def chunks(rows: Array | None, total: int, size: int = CHUNK) -> Iterator[slice | Array]:
    """``rows``, or all of ``total``, in pieces of at most ``size``: slices, or views of ``rows``."""
    count = total if rows is None else len(rows)
    for lo in range(0, count, size):
        cut = slice(lo, min(lo + size, count))
        yield cut if rows is None else rows[cut]
