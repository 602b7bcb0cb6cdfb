"""The outer step of games: z <- prox(z - step F + momentum (z - last z))."""

from dataclasses import dataclass
from typing import NamedTuple

from mpiopt.arrays import Array
from mpiopt.engine.phase import Joint, Outer, PerWorker
from mpiopt.problems.problem import Message, Point, Team


class Advanced(NamedTuple):
    """The step, 0 before the method has found it, and the last z (dim,), None where none is needed or known."""

    step: float = 0.0
    last: Array | None = None


@dataclass(frozen=True)
class Advance(Outer):
    """A step along what was agreed. momentum : below 0 in games, where it damps the rotation."""

    momentum: float = 0.0

    def init(self, x: Array, team: Team) -> Advanced:
        """No step yet."""
        return Advanced()

    def __call__(self, agreed: Message, points: PerWorker, state: Advanced, here: Joint) -> tuple[PerWorker, Advanced]:
        """Not collective."""
        z = points[0].x
        to = z - state.step * agreed.vector
        if self.momentum:
            if state.last is not None:
                to += self.momentum * (z - state.last)
            state = state._replace(last=z)
        at = Point(here.team.penalty.prox(to, state.step))
        return PerWorker(at for _ in points), state
