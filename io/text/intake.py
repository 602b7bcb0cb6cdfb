"""What a reader of rows keeps count of while it fills a store of runs."""

import numpy as np

from mpiopt.io.dataset.labels import Tallied
from mpiopt.io.text.parsed_rows import Run, Store


class Intake:
    """Takes runs in. Not collective.

    limit : the least index of which entries are left out, None for none; they are counted in ``dropped``. least, greatest : of
    the indices so far (least is huge before the first), which readers keep. labels : counted; singles : whether float32
    holds every label exactly.
    """

    least: int
    greatest: int

    def __init__(self, store: Store, values: np.dtype, base: int, limit: int | None = None) -> None:
        self.store, self.values, self.base, self.limit = store, values, base, limit
        self.dropped = 0
        self.labels, self.singles = Tallied(), True
        self.rows, self.nnz = 0, 0

    def keep(self, run: Run) -> None:
        """Count the rows of a run, and hand them to the store."""
        if self.limit is not None and self.greatest >= self.limit:
            self.dropped += run.keep_below(self.limit)
        self.labels.add(run.y)
        with np.errstate(over="ignore"):
            self.singles &= bool((run.y.astype(np.float32) == run.y).all())
        self.nnz += len(run.data)
        self.rows += run.rows
        self.store.add(run)
