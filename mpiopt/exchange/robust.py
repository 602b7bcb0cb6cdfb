"""Agreements that a few faulty workers cannot lead away.

MiddleOf(rule)      agreed = the middle of all workers' messages, one vote a worker          one alltoall, one gather
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.comm.blocks import even
from mpiopt.comm.staging import brought, returned
from mpiopt.engine.phase import Exchange, Joint
from mpiopt.engine.traffic import Shape, Traffic, small_sum
from mpiopt.numerics.robust import Clipped, Middle
from mpiopt.problems.problem import Message, Team


class Centre(NamedTuple):
    """What was agreed last, (dim,), 0 at first."""

    vector: Array


@dataclass(frozen=True)
class MiddleOf(Exchange):
    """The middle of the workers' messages by a rule of `numerics.robust`, every worker with one vote; scalars: their median.

    Every rank finds the middle of one stretch of coordinates of all workers, so that none holds all vectors. What is no
    number counts as 0: a faulty worker may say anything.
    """

    rule: Middle

    def init(self, x: Array, team: Team) -> Centre:
        """0."""
        return Centre(namespace(x).zeros_like(x))

    def __call__(self, messages: Sequence[Message], state: Centre, here: Joint) -> tuple[Message, list[float], Centre]:
        """Collective."""
        world, like = here.team.world, messages[0].vector
        own = np.array([brought(message.vector) for message in messages])
        bounds = even(like.size, world.size)
        stretches = [slice(int(lo), int(hi)) for lo, hi in pairwise(bounds)]
        mine = stretches[world.rank]
        heard = world.alltoall([np.nan_to_num(own[:, cut], posinf=0, neginf=0).ravel() for cut in stretches], "votes")
        rows = np.concatenate([part.reshape(-1, mine.stop - mine.start) for part in heard])

        def lengths(squares: np.ndarray) -> np.ndarray:
            return np.sqrt(world.total([squares, *[np.zeros_like(squares)] * (len(world.hosted) - 1)], "lengths"))

        part = self.rule(rows, brought(state.vector)[mine], lengths)
        vector = returned(np.concatenate(world.gather(part, "middle")), like)
        scalars = np.concatenate(world.gather(np.array([message.scalars for message in messages]), "scalars"))
        return Message(vector, np.median(scalars, axis=0)), [0.0] * len(messages), Centre(vector.copy())

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`."""
        world = here.team.world
        bounds = even(shape.dim, world.size)
        mine = int(bounds[world.rank + 1] - bounds[world.rank])
        hosted = len(world.hosted)
        sent = hosted * shape.dim * shape.dtype.itemsize + mine * shape.dtype.itemsize + 8 * hosted * shape.scalars
        sums = small_sum(world, world.workers).times(self.rule.times) if isinstance(self.rule, Clipped) else Traffic()
        return Traffic(3, nbytes=sent) + sums
