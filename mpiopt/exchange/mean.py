"""Plain agreements.

Mean()      agreed = sum_w share_w message_w          one allreduce
From(w)     agreed = message of worker w              one broadcast
Alone()     agreed is nothing                         no message
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.arrays import namespace, on_host
from mpiopt.engine.phase import Exchange, Joint, Tree
from mpiopt.engine.traffic import Shape, Traffic, broadcast, small_sum, vector_sum
from mpiopt.errors import DataError
from mpiopt.problems.problem import Message, mean


@dataclass(frozen=True)
class Mean(Exchange):
    """The mean of the messages of the workers that take part, weighted by their sample weights.

    Where not always all do, their share of all sample weights is one more scalar at the end of what is agreed.
    """

    needs_all: ClassVar[bool] = False

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[float], Tree]:
        """One allreduce of dim + k numbers, one more where not all take part. Collective.

        Raises DataError on every rank where those that take part hold no rows.
        """
        if here.clients.all:
            return mean(here.team, messages), [0.0] * len(messages), state
        shares, total = self._shares(here)
        heard = [
            message if share else message._replace(scalars=np.zeros_like(message.scalars))
            for message, share in zip(messages, shares, strict=True)
        ]
        agreed = mean(here.team, heard, [share / total for share in shares])
        return agreed._replace(scalars=np.append(agreed.scalars, total)), [0.0] * len(messages), state

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`."""
        whole = vector_sum(here.team.world, shape.nbytes())
        return whole if here.clients.all else whole + small_sum(here.team.world, 1)

    def _shares(self, here: Joint) -> tuple[list[float], float]:
        """The shares of the workers of this rank that take part, 0 for the others, and the sum of all. Collective."""
        present = here.present
        shares = [site.share if present[site.worker] else 0.0 for site in here.team.sites]
        total = float(here.team.world.total([np.array([share]) for share in shares], "shares")[0])
        if not total > 0:
            raise DataError(f"none of the workers that take part in round {here.round} holds any rows: take more of them")
        return shares, total


@dataclass(frozen=True)
class Alone(Exchange):
    """Every worker goes on by itself."""

    needs_all: ClassVar[bool] = False

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[None, list[float], Tree]:
        """Not collective."""
        return None, [0.0] * len(messages), state

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """Nothing."""
        return Traffic()


@dataclass(frozen=True)
class From(Exchange):
    """The message of one worker."""

    worker: int = 0

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[float], Tree]:
        """One broadcast of dim + k numbers, for which the others wait asleep: cores that share a memory, or their watts, are
        the slower the more of them are awake. Collective."""
        world, first = here.team.world, messages[0]
        xp, size = namespace(first.vector), first.vector.size
        joined = xp.empty(size + first.scalars.size)
        if self.worker in world.hosted:
            vector, scalars = messages[self.worker - world.hosted.start]
            joined[:size] = vector
            joined[size:] = xp.asarray(scalars)
        world.rest()
        world.bcast(joined, world.host_of(self.worker))
        return Message(joined[:size], on_host(joined[size:])), [0.0] * len(messages), state

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`."""
        return broadcast(8 * (shape.dim + shape.scalars), float(self.worker in here.team.world.hosted))
