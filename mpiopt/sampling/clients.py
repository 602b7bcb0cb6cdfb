"""Who takes part in a round: all workers, a few drawn anew each time, or all but those that have died."""

from dataclasses import dataclass

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.numerics.streams import Streams


@dataclass(frozen=True)
class Clients:
    """The workers of a round, the same on every rank without a message.

    count : so many of the living, drawn without replacement from the shared stream; None for all of them. dead : workers
    that neither compute nor count from round ``since`` on. After McMahan, Moore, Ramage, Hampson, Aguera y Arcas,
    Communication-efficient learning of deep networks from decentralized data, AISTATS 2017, algorithm 1.
    """

    count: int | None = None
    dead: tuple[int, ...] = ()
    since: int = 0

    @property
    def all(self) -> bool:
        """Whether everybody always takes part."""
        return self.count is None and not self.dead

    def __call__(self, workers: int, streams: Streams, round: int) -> np.ndarray:  # noqa: A002 - the field's word
        """Which of the workers take part, (workers,) bool. Raises UsageError where there are too few, or not those."""
        present = np.ones(workers, bool)
        strange = [worker for worker in self.dead if not 0 <= worker < workers]
        if strange:
            raise UsageError(f"worker {strange[0]} cannot be dead: there are workers 0 to {workers - 1}")
        if round >= self.since:
            present[list(self.dead)] = False
        living = np.flatnonzero(present)
        wanted = len(living) if self.count is None else self.count
        if not 1 <= wanted <= len(living):
            raise UsageError(
                f"{wanted} of {len(living)} living workers were asked to take part: give a number from 1 to {len(living)}"
            )
        if wanted < len(living):
            present[:] = False
            present[streams("clients", round).choice(living, wanted, replace=False)] = True
        return present

    def chances(self, workers: int) -> np.ndarray:
        """How likely each of the workers is to take part once the dead are, (workers,)."""
        living = np.ones(workers)
        living[list(self.dead)] = 0.0
        return living if self.count is None else living * (self.count / living.sum())


EVERYONE = Clients()
