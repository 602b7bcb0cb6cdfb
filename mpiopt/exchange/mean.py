"""Plain agreements.

Mean()      agreed = sum_w share_w message_w          one allreduce
From(w)     agreed = message of worker w              one broadcast
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiopt.arrays import Array
from mpiopt.phase import Joint, Tree
from mpiopt.problems.problem import Message, Team, mean


@dataclass(frozen=True)
class Mean:
    """The mean of the workers' messages, weighted by their sample weights."""

    def init(self, x: Array, team: Team) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[float], Tree]:
        """One allreduce of dim + k numbers. Collective."""
        return mean(here.team, messages), [0.0] * len(messages), state


@dataclass(frozen=True)
class From:
    """The message of one worker."""

    worker: int = 0

    def init(self, x: Array, team: Team) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[float], Tree]:
        """One broadcast of dim + k numbers. Collective."""
        world, first = here.team.world, messages[0]
        joined = np.empty(first.vector.size + first.scalars.size)
        if self.worker in world.hosted:
            joined[:] = np.concatenate(messages[self.worker - world.hosted.start])
        world.bcast(joined, world.host_of(self.worker))
        return Message(joined[: first.vector.size], joined[first.vector.size :]), [0.0] * len(messages), state
