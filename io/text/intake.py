"""What a reader of rows keeps count of while it fills a store of runs."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from mpiopt.io.dataset.labels import Tallied
from mpiopt.io.text.parsed_rows import MemoryRun, RunStore
from mpiopt.io.text.parts import Part


class Intake(ABC):
    """Takes runs in. Not collective.

    limit : the least index of which entries are left out, None for none; they are counted in ``dropped``. least, greatest : of
    the indices so far (least is huge before the first), which readers keep. labels : counted; singles : whether float32
    holds every label exactly.
    """

    def __init__(self, store: RunStore, values: np.dtype, base: int, limit: int | None = None) -> None:
        self.store, self.values, self.base, self.limit = store, values, base, limit
        self.dropped = 0
        self.labels, self.singles = Tallied(), True
        self.rows, self.nnz = 0, 0

    @property
    @abstractmethod
    def least(self) -> int:
        """The least index so far."""

    @property
    @abstractmethod
    def greatest(self) -> int:
        """The greatest index so far."""

    @abstractmethod
    def read(self, part: Part, each: Callable[[int], bool]) -> list[int]:
        """Read a part; ``each(bytes)`` is told of every block and ends the reading by False.

        Returns the rows of each run that this made. Raises DataError naming the file and the place.
        """

    def keep(self, run: MemoryRun) -> None:
        """Count the rows of a run, and hand them to the store."""
        if self.limit is not None and self.greatest >= self.limit:
            self.dropped += run.keep_below(self.limit)
        self.labels.add(run.y)
        with np.errstate(over="ignore"):
            self.singles &= bool((run.y.astype(np.float32) == run.y).all())
        self.nnz += len(run.data)
        self.rows += run.rows
        self.store.add(run)
