"""What a reader of rows keeps count of while it fills a store of runs."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from mpiopt.comm.world import World
from mpiopt.io.dataset.labels import Tallied
from mpiopt.io.dataset.recipe import Recipe
from mpiopt.io.text.asked import RowRequest
from mpiopt.io.text.parsed_rows import MemoryRun, RunStore
from mpiopt.io.text.parts import Part


class Intake(ABC):
    """Takes runs in. Nothing but `settle` is collective.

    dropped : entries left out, of features that a training set does not have. least, greatest : of the indices so far (least
    is huge before the first), which readers keep. labels : counted; singles : whether float32 holds every label exactly.
    recipe, names : of what is no svmlight text, once all is settled; ids : the numbers that columns had in text, where only
    those that occur are columns.
    """

    recipe: Recipe | None = None
    names: tuple[str, ...] | None = None
    ids: np.ndarray | None = None

    def __init__(self, store: RunStore, asked: RowRequest) -> None:
        self.store, self.values, self.base, self.limit = store, asked.values, asked.base, asked.limit
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
        self.count(run.y)
        self.nnz += len(run.data)
        self.rows += run.rows
        self.store.add(run)

    def count(self, y: np.ndarray) -> None:
        """Count labels (rows,)."""
        self.labels.add(y)
        with np.errstate(over="ignore"):
            self.singles &= bool((y.astype(np.float32) == y).all())

    def settle(self, world: World) -> None:  # noqa: B027
        """Once all ranks have read all their parts, agree on what follows from the whole: numbers of themselves need nothing.

        Collective. Raises DataError on every rank.
        """
