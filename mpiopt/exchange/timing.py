"""When workers agree, and which of them.

Every(k, inner)         inner in every k-th round, nothing agreed in the others
Grouped(n, inner)       inner within each of n groups of neighbouring workers, or within each node
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.phase import Agreed, Exchange, Joint, PerWorker, Tree
from mpiopt.engine.traffic import Shape, Traffic
from mpiopt.errors import UsageError
from mpiopt.exchange.around import Around
from mpiopt.problems.problem import Message, Team
from mpiopt.words import counted


@dataclass(frozen=True)
class Every(Around):
    """``inner`` after every ``rounds`` rounds. Raises UsageError unless rounds >= 1."""

    rounds: int
    inner: Exchange

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError(f"an agreement every {counted(self.rounds, 'round')} is not possible: give at least 1")

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Agreed, Sequence[Array | float], Tree]:
        """Collective in the rounds in which ``inner`` is called."""
        if (here.round + 1) % self.rounds:
            return None, [message.vector for message in messages], state
        return self.inner(messages, state, here)

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`."""
        return self.inner.traffic(shape, here).times(1 / self.rounds)


class Parted(NamedTuple):
    """Every worker's share of its group, and the state within."""

    shares: PerWorker
    inner: Tree


@dataclass(frozen=True)
class Grouped(Around):
    """``inner`` within each group: ``groups`` of them, of neighbouring ranks, or the ranks of each node where None.

    What is agreed differs from group to group. Raises UsageError where there are more groups than ranks.
    """

    needs_all: ClassVar[bool] = True
    inner: Exchange
    groups: int | None = None

    def init(self, x: Array, team: Team) -> Parted:
        """The shares, and the state of ``inner``. Collective."""
        part = team.world.group(self.groups)
        total = float(part.total([np.array([site.share]) for site in team.sites])[0]) or 1.0  # a group may hold no rows
        shares = PerWorker(site.share / total for site in team.sites)
        return Parted(shares, self.inner.init(x, self._team(team, shares)))

    def __call__(
        self, messages: Sequence[Message], state: Parted, here: Joint
    ) -> tuple[Message, Sequence[Array | float], Parted]:
        """Collective within the group."""
        agreed, residual, inner = self.inner(messages, state.inner, here._replace(team=self._team(here.team, state.shares)))
        return agreed, residual, state._replace(inner=inner)

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`."""
        return self.inner.traffic(shape, here._replace(team=self._team(here.team, [site.share for site in here.team.sites])))

    def _team(self, team: Team, shares: Sequence[float]) -> Team:
        """The team of this rank's group."""
        part = team.world.group(self.groups)
        sites = [replace(site, world=part, share=share) for site, share in zip(team.sites, shares, strict=True)]
        return Team(tuple(sites), team.rows, team.weight)
