"""When to end a solve by rows that it does not see."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mpiopt.engine.stop import Reason, Record, Stop
from mpiopt.words import counted


@dataclass(frozen=True)
class PatientStop(Stop):
    """As `Stop`; and where the loss of held-out rows has been no lower in ``patience`` rounds than it was before.

    losses : by round, as they become known, which is after the rules have looked at a round. A run that goes on from a
    checkpoint, with the losses that were noted, ends in the same round as one that never stopped.
    """

    patience: int = 1
    losses: list[float] = field(default_factory=list)

    def _holding(self, history: Sequence[Record]) -> Iterator[tuple[Reason, str]]:
        yield from super()._holding(history)
        known = self.losses[: history[-1].round]
        before, lately = known[: -self.patience], known[-self.patience :]
        if before and not min(lately) < min(before):
            least = min(before)
            yield Reason.HELD_OUT, f"{counted(self.patience, 'round')} above {least:.6g}, that of round {known.index(least)}"
