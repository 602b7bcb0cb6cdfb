"""What the index says about all rows, counted while they pass."""

import numpy as np

from mpiopt.comm.world import World
from mpiopt.io.dataset.index import stride_for, strides

_LONG = 1 << 16  # rows of at least so many nonzeros count as that long for the median


class NonzeroCounts:
    """Nonzeros by stretches of rows and lengths of rows, gathered block by block in any order and on any rank."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.spans = np.zeros(strides(rows), np.int64)
        self.histogram = np.zeros(_LONG + 1, np.int64)
        self.least, self.greatest = np.iinfo(np.int64).max, 0

    def add(self, at: np.ndarray | int, lengths: np.ndarray) -> None:
        """Count rows that will stand at rows ``at`` : (n,), or from row ``at`` on, with ``lengths`` : (n,) nonzeros."""
        if not len(lengths):
            return
        span = (at if isinstance(at, np.ndarray) else at + np.arange(len(lengths))) // stride_for(self.rows)
        first = int(span.min())
        counts = np.bincount(span - first, weights=lengths)  # exact: sums of integers below 2^53
        self.spans[first : first + len(counts)] += counts.astype(np.int64)
        by_length = np.bincount(np.minimum(lengths, _LONG))
        self.histogram[: len(by_length)] += by_length
        self.least, self.greatest = min(self.least, int(lengths.min())), max(self.greatest, int(lengths.max()))

    def merge(self, world: World) -> None:
        """Add up what all ranks have counted. Collective."""
        self.spans, self.histogram = world.total([self.spans]), world.total([self.histogram])
        ends = world.tell_all((self.least, self.greatest))
        self.least, self.greatest = min(end[0] for end in ends), max(end[1] for end in ends)

    @property
    def prefix(self) -> np.ndarray:
        """Nonzeros before every stride-th row and, at the end, of all rows."""
        return np.concatenate(([0], np.cumsum(self.spans)))

    @property
    def lengths(self) -> tuple[int, float, int]:
        """Least, median and greatest row length."""
        upto = np.cumsum(self.histogram)
        middle = [int(np.searchsorted(upto, k, side="right")) for k in ((self.rows - 1) // 2, self.rows // 2)]
        return self.least, sum(middle) / 2, self.greatest
