"""Sum()      agreed = sum_w message_w          one allreduce; for dual methods, whose messages add up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mpiopt.arrays import Array
from mpiopt.engine.phase import Joint, Tree
from mpiopt.problems.problem import Message, Team, mean
from mpiopt.problems.protocols import Loss


@dataclass(frozen=True)
class Sum:
    """The sum of the workers' messages."""

    needs: ClassVar[type] = Loss

    def init(self, x: Array, team: Team) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[float], Tree]:
        """One allreduce of dim + k numbers. Collective."""
        return mean(here.team, messages, shares=[1.0] * len(messages), name="sum"), [0.0] * len(messages), state
