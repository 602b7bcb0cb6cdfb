"""Features that go by whatever numbers the text has, hashes of 64 bits say: those that occur become columns, in their order."""

import numpy as np

from mpiopt.comm.world import World
from mpiopt.errors import UsageError
from mpiopt.io.dataset.index import WIDEST
from mpiopt.io.text.parsed_rows import MemoryRun, RunStore

NONE = np.empty(0, np.uint64)


class Compaction:
    """ids : (n,) uint64 ascending, the numbers in the text that have become columns 0, 1, ... once all is settled.

    known : those of a training set, beside which others are left out; None to take all that occur. The numbers of each run are
    kept until then, 8 bytes for each that is different.
    """

    def __init__(self, known: np.ndarray | None) -> None:
        self.ids = NONE if known is None else known
        self._known, self._runs = known is not None, list[np.ndarray]()

    def narrow(self, run: MemoryRun) -> int:
        """Put columns in place of the numbers of a run, or until all is settled places among its own; both are in their order.

        Returns how many entries of unknown features were left out.
        """
        if not self._known:
            own, places = np.unique(run.indices, return_inverse=True)
            self._runs.append(own)
            run.indices = places.astype(np.int32)
            return 0
        places = np.searchsorted(self.ids, run.indices).astype(np.int32)
        places[self.ids.take(places, mode="clip") != run.indices] = len(self.ids)
        run.indices = places
        return run.keep_below(len(self.ids))

    def called(self, place: int) -> int:
        """The number of a feature of the run that was narrowed last."""
        return int((self.ids if self._known else self._runs[-1])[place])

    def settle(self, world: World, store: RunStore) -> None:
        """Agree on what occurs, and have every run go by it. Collective. Raises UsageError on every rank."""
        if self._known:
            return
        own = _union(self._runs)
        self.ids = _union(world.alltoall([own] * world.size, "numbers of features"))
        if len(self.ids) > WIDEST:
            raise UsageError(f"there are {len(self.ids):,} different features, and at most {WIDEST:,} are possible")
        runs = iter(self._runs)

        def placed(run: MemoryRun) -> None:
            run.indices = np.searchsorted(self.ids, next(runs)).astype(np.int32)[run.indices]

        with world.together("numbering features"):
            store.change(placed)
        self._runs.clear()


def _union(parts: list[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate([NONE, *parts]))
