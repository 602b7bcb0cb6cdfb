"""LowRank(p)     agreed = P Q^T of the mean, matrix by matrix: two allreduces (PowerSGD)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.comm.staging import returned
from mpiopt.compress.lowrank import FactorPlan, PowerSgd
from mpiopt.engine.phase import Exchange, Joint
from mpiopt.engine.traffic import Shape, Traffic, vector_sum
from mpiopt.errors import NumericalError
from mpiopt.exchange.compressed import demand_finite
from mpiopt.problems.problem import Message, Team, mean
from mpiopt.problems.protocols import Blocks


class Factors(NamedTuple):
    """Q of every matrix, one after the other, the same on all ranks."""

    right: Array


@dataclass(frozen=True)
class LowRank(Exchange):
    """The mean by low-rank factors of every matrix of the model, warm-started. What was not sent is the message less that.

    Vogels, Karimireddy, Jaggi, PowerSGD, NeurIPS 2019, algorithms 1 and 2. Needs a model with ``blocks``.
    """

    needs: ClassVar[type] = Blocks
    power: PowerSgd

    def _plan(self, team: Team[Blocks]) -> FactorPlan:
        return self.power.on(team.sites[0].loss.blocks)

    def init(self, x: Array, team: Team[Blocks]) -> Factors:
        """Normal numbers, the same on all ranks. Collective. Raises UsageError for a model without matrices to compress."""
        start = self._plan(team).start(x.dtype, team.sites[0].streams("powersgd"))
        return Factors(returned(team.world.bcast(start), x))  # the tails of normal numbers go through logarithms

    def __call__(
        self, messages: Sequence[Message], state: Factors, here: Joint[Blocks]
    ) -> tuple[Message, list[Array], Factors]:
        """Two allreduces. Collective."""
        team, plan = here.team, self._plan(here.team)
        left, scalars = _mean_left(plan, messages, state.right, team)
        plan.orthogonalise(left)
        parts = [site.share * plan.right(m.vector, left) for site, m in zip(team.sites, messages, strict=True)]
        right = team.world.sum([part.astype(left.dtype, copy=False) for part in parts], "right factors")
        agreed = plan.decode(left, right)
        return Message(agreed, scalars), [m.vector - agreed for m in messages], Factors(right)

    def traffic(self, shape: Shape, here: Joint[Blocks]) -> Traffic:
        """See `Exchange`."""
        world, plan = here.team.world, self._plan(here.team)
        left, right = shape._replace(dim=plan.left_size).nbytes(1), plan.right_size * shape.dtype.itemsize
        payload = plan.nbytes(shape.dtype)
        return vector_sum(world, left, payload) + vector_sum(world, right, payload)


def _mean_left(plan: FactorPlan, messages: Sequence[Message], right: Array, team: Team[Blocks]) -> tuple[Array, Array]:
    """The mean of M Q, and of the scalars. Collective. Raises NumericalError on every rank."""
    parts = []
    for message in messages:
        try:
            left, flag = plan.left(message.vector, right), 0.0
        except NumericalError:
            left, flag = namespace(right).zeros(plan.left_size, right.dtype), np.nan
        parts.append(Message(left, np.append(message.scalars, flag)))
    total = mean(team, parts, name="left factors")
    demand_finite(total.scalars[-1:])
    return total.vector, total.scalars[:-1].astype(np.float64)
