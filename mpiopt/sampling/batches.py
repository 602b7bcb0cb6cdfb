"""Which rows each step of a worker looks at: seeded shuffles without replacement, epoch after epoch, from the step's number.

Ownership is in the arguments. Sharded: ``rows`` are the worker's own, ``worker`` its number. Shared, each its own order:
``rows`` are all, ``worker`` its number. Shared, one order in which the workers take turns: ``rows`` are all, ``worker``
stays -1 and ``part`` is (worker, workers), so that a step of all workers together is one large batch without repetition.
"""

from dataclasses import dataclass, field

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.numerics.streams import Streams
from mpiopt.words import counted


@dataclass(frozen=True)
class Batches:
    """The minibatches of one worker: ``batches(step)`` are row numbers, the same on any rank and after any restart.

    rows : how many there are to draw from. size : rows of a batch. streams, worker : what the order follows from; equal
    workers have equal orders, -1 being no worker's in particular. keep : end an epoch with the rows that fill no batch,
    instead of leaving them out of it. part : (k, n) for the k-th of n equal parts of batches of n * size rows; of the
    kept last rows a part may have fewer, or none. Raises UsageError for a batch of no rows or of more than there are.
    """

    rows: int
    size: int
    streams: Streams
    worker: int = -1
    keep: bool = False
    part: tuple[int, int] = (0, 1)
    _order: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UsageError(f"a batch of {counted(self.size, 'row')} cannot be drawn: it needs at least one")
        if self.whole > self.rows:
            each, most = f" for each of {self.part[1]} workers" if self.part[1] > 1 else "", self.rows // self.part[1]
            raise UsageError(
                f"a batch of {counted(self.size, 'row')}{each} is larger than the {counted(self.rows, 'row')} to draw from: "
                + (f"take at most {most}" if most else "start fewer workers, or give at least a row for each")
            )

    @property
    def whole(self) -> int:
        """Rows that a step takes from the order, all parts together."""
        return self.size * self.part[1]

    @property
    def per_epoch(self) -> int:
        """Steps of one pass over the rows."""
        return -(-self.rows // self.whole) if self.keep else self.rows // self.whole

    def epoch(self, step: int) -> float:
        """Passes over the rows done before ``step``; 2.5 is the middle of the third."""
        return step / self.per_epoch

    def __call__(self, step: int) -> np.ndarray:
        """The rows of ``step``, counted from 0: (size,) int64, fewer at the end of an epoch that keeps its last rows."""
        epoch, number = divmod(step, self.per_epoch)
        (k, parts), lo = self.part, number * self.whole
        count = min(self.whole, self.rows - lo)
        return self._shuffled(epoch)[lo + k * count // parts : lo + (k + 1) * count // parts]

    def _shuffled(self, epoch: int) -> np.ndarray:
        """The order of an epoch, kept until another is asked for."""
        if epoch not in self._order:
            self._order.clear()
            self._order[epoch] = self.streams("batches", epoch, self.worker).permutation(self.rows)
        return self._order[epoch]


@dataclass(frozen=True)
class Chunks:
    """The minibatch of a worker that holds several chunks of rows, one after the other: one batch of each, joined.

    parts : the batches of each chunk and the number of its first row. Where these are of equal size, the mean gradient over
    the joined batch is the mean of the chunks' own.
    """

    parts: tuple[tuple[Batches, int], ...]

    def __call__(self, step: int) -> np.ndarray:
        """The rows of ``step``, counted from 0, int64."""
        return np.concatenate([batches(step) + first for batches, first in self.parts])


def redundant(rows: int, workers: int, redundancy: int, worker: int, size: int, streams: Streams) -> Chunks:
    """The minibatches of a worker that holds ``redundancy`` chunks of all rows: its own and those of the next, in a circle.

    rows : of all chunks together, as many as there are workers, even, the larger first. size : rows of a step from each
    chunk. With one chunk they are `Batches` of the worker; every holder of a chunk has an order of its own. Haddadpour,
    Kamani, Mahdavi, Cadambe, Trading redundancy for communication, ICML 2019. Raises UsageError for more chunks than there
    are, none, and for batches that are larger than a chunk.
    """
    if not 1 <= redundancy <= workers:
        raise UsageError(
            f"a redundancy of {redundancy} is not possible with {counted(workers, 'worker')}: give 1 to {workers} chunks each"
        )
    parts, first = [], 0
    for k in range(redundancy):
        chunk = (worker + k) % workers
        length = rows // workers + (chunk < rows % workers)
        parts.append((Batches(length, size, streams, worker + k * workers), first))
        first += length
    return Chunks(tuple(parts))
