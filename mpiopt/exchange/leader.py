"""Leader()      agreed = message of the worker with the lowest running loss          MINLOC of a number, one broadcast"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiopt.arrays import namespace
from mpiopt.engine.phase import Exchange, Joint, Tree
from mpiopt.engine.traffic import Shape, Traffic, broadcast
from mpiopt.problems.problem import Message


@dataclass(frozen=True)
class Leader(Exchange):
    """The point of the best worker, and who it is: scalars are its running loss and its number.

    The first scalar of a message is the running loss; NaN never leads, ties go to the lowest worker. Teng, Gao, Chalus,
    Choromanska, Goldfarb, Weller, Leader stochastic gradient descent, NeurIPS 2019.
    """

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[float], Tree]:
        """Collective."""
        world = here.team.world
        winner = world.best([float(message.scalars[0]) for message in messages], "leader")
        first = messages[0].vector
        joined = namespace(first).empty(first.size + 1, first.dtype)
        if winner in world.hosted:
            lead = messages[winner - world.hosted.start]
            joined[:-1], joined[-1] = lead.vector, lead.scalars[0]
        world.bcast(joined, world.host_of(winner), "leader")
        number = here.team.sites[0].worker - world.hosted.start + winner  # of all workers, where this is a group of them
        return Message(joined[:-1], np.array([float(joined[-1]), number])), [0.0] * len(messages), state

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`: each worker leads equally often."""
        world = here.team.world
        election = Traffic(1, nbytes=12)
        return election + broadcast((shape.dim + 1) * shape.dtype.itemsize, len(world.hosted) / world.workers)
