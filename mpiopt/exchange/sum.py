"""Sum()      agreed = sum_w message_w          one allreduce; for dual methods, whose messages add up."""

from collections.abc import Sequence
from dataclasses import dataclass

from mpiopt.engine.phase import Exchange, Joint, Tree
from mpiopt.engine.traffic import Shape, Traffic, vector_sum
from mpiopt.problems.problem import Message, mean


@dataclass(frozen=True)
class Sum(Exchange):
    """The sum of the workers' messages."""

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[float], Tree]:
        """One allreduce of dim + k numbers. Collective."""
        return mean(here.team, messages, shares=[1.0] * len(messages), name="sum"), [0.0] * len(messages), state

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`."""
        return vector_sum(here.team.world, shape.nbytes())
