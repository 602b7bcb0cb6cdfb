"""Exchanges that send differences from what both sides know already.

Shifted(inner, alpha)     m = inner(message_w - h_w);  agreed = h + m;  h_w <- h_w + alpha (what was sent)
Refreshed(inner, p)       the same with alpha = 0, and h_w <- message_w whole with probability p
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.staging import returned
from mpiopt.engine.phase import Exchange, Joint, PerWorker, Tree
from mpiopt.engine.traffic import Shape, Traffic, vector_sum
from mpiopt.errors import UsageError
from mpiopt.exchange.around import Around
from mpiopt.problems.problem import Message, Site, Team, mean

Shift = Callable[[Site, Array], Array]  # a worker's site and x -> its first shift (dim,)


class Shifts(NamedTuple):
    """Shifts, 0 or (dim,), and how they are renewed; the state within."""

    rate: float  # the part of what was sent that is learnt, or the probability of a refresh
    own: PerWorker  # h_w
    common: Array | float | None  # their mean; None before the first agreement, where that sets it
    inner: Tree


@dataclass(frozen=True)
class Shifted(Around):
    """Learnt or fixed shifts.

    alpha : 0 for fixed shifts (DCGD-SHIFT, DCGD-STAR with first = the gradient at the optimum), 1 for EF21, None for DIANA's
    1 / (1 + omega) of the compressor within.
    first : the shifts at the start, None for 0, or "message": the first messages whole, which takes one vector round.
    Shulgin, Richtarik, Shifted compression framework, UAI 2022, algorithm 1; Richtarik, Sokolov, Fatkhullin, EF21, 2021.
    """

    needs_all: ClassVar[bool] = True
    inner: Exchange
    alpha: float | None = None
    first: Shift | Literal["message"] | None = None

    def __post_init__(self) -> None:
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise UsageError(f"alpha, the rate at which shifts are learnt, is {self.alpha}: give a number from 0 to 1")

    def init(self, x: Array, team: Team) -> Shifts:
        """The first shifts. Collective."""
        inner = self.inner.init(x, team)
        alpha = refreshing(self.inner, x.size, team.world.workers) if self.alpha is None else self.alpha
        if self.first is None:
            return Shifts(alpha, PerWorker(0.0 for _ in team.sites), 0.0, inner)
        if self.first == "message":
            return Shifts(alpha, PerWorker(None for _ in team.sites), None, inner)
        own = PerWorker(returned(self.first(site, x), x) for site in team.sites)
        return Shifts(alpha, own, mean(team, [Message(h, np.zeros(0)) for h in own], name="shifts").vector, inner)

    def __call__(
        self, messages: Sequence[Message], state: Shifts, here: Joint
    ) -> tuple[Message, Sequence[Array | float], Shifts]:
        """Collective."""
        alpha, common = state.rate, state.common
        if common is None:
            agreed = mean(here.team, messages, name="first messages")
            own = PerWorker(message.vector.copy() for message in messages)
            return agreed, [0.0] * len(messages), state._replace(own=own, common=agreed.vector.copy())
        apart = [m._replace(vector=m.vector - h) for m, h in zip(messages, state.own, strict=True)]
        moved, residual, inner = self.inner(apart, state.inner, here)
        own = PerWorker(h + alpha * (m.vector - rest) for h, m, rest in zip(state.own, apart, residual, strict=True))
        agreed = moved._replace(vector=common + moved.vector)
        return agreed, residual, Shifts(alpha, own, common + alpha * moved.vector, inner)


@dataclass(frozen=True)
class Refreshed(Around):
    """Shifts that are renewed as a whole when a coin that all workers share says so.

    probability : None for 1 / (1 + omega) of the compressor within.
    previous : MARINA: the shift is always the last message, and the agreement builds on the last one. Without it:
    Rand-DIANA, whose shifts wait for the coin, and begin at 0. Shulgin, Richtarik 2022, section 3.3; Gorbunov, Burlachenko,
    Li, Richtarik, MARINA, ICML 2021, algorithm 1.
    """

    needs_all: ClassVar[bool] = True
    inner: Exchange
    probability: float | None = None
    previous: bool = False

    def __post_init__(self) -> None:
        if self.probability is not None and not 0 < self.probability <= 1:
            raise UsageError(f"the probability of a refresh is {self.probability}: give a number above 0, at most 1")

    def init(self, x: Array, team: Team) -> Shifts:
        """Shifts of 0; of MARINA none before the first agreement. Collective where that of ``inner`` is."""
        probability = self._probability(x.size, team)
        own = PerWorker(0.0 for _ in team.sites)
        return Shifts(probability, own, None if self.previous else 0.0, self.inner.init(x, team))

    def __call__(
        self, messages: Sequence[Message], state: Shifts, here: Joint
    ) -> tuple[Message, Sequence[Array | float], Shifts]:
        """Collective."""
        own, common = state.own, state.common
        heads = here.team.sites[0].streams("refresh", here.round).random() < state.rate
        if self.previous and (common is None or heads):
            agreed, own = self._renewed(messages, here)
            return agreed, [0.0] * len(messages), state._replace(own=own, common=agreed.vector.copy())
        apart = [m._replace(vector=m.vector - h) for m, h in zip(messages, own, strict=True)]
        moved, residual, inner = self.inner(apart, state.inner, here)
        agreed = moved._replace(vector=common + moved.vector)
        if self.previous:
            own, common = PerWorker(message.vector.copy() for message in messages), agreed.vector.copy()
        elif heads:
            renewed, own = self._renewed(messages, here)
            common = renewed.vector
        return agreed, residual, Shifts(state.rate, own, common, inner)

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`: whole messages in place of compressed ones (MARINA) or beside them, as often as the coin says."""
        heads = self._probability(shape.dim, here.team)
        inner = self.inner.traffic(shape, here).times(1 - heads if self.previous else 1.0)
        return vector_sum(here.team.world, shape.nbytes()).times(heads) + inner

    def _probability(self, dim: int, team: Team) -> float:
        return refreshing(self.inner, dim, team.world.workers) if self.probability is None else self.probability

    def _renewed(self, messages: Sequence[Message], here: Joint) -> tuple[Message, PerWorker]:
        """The mean of the whole messages, one vector round, and the messages to be kept. Collective."""
        return mean(here.team, messages, name="refresh"), PerWorker(message.vector.copy() for message in messages)


def refreshing(inner: Exchange, dim: int, workers: int) -> float:
    """1 / (1 + omega) of an exchange, for vectors (dim,). Raises UsageError where there is no omega."""
    omega = inner.omega(dim, workers)
    if omega is None:
        raise UsageError(f"{inner} has no variance constant to learn shifts by: give alpha or the probability yourself")
    return 1 / (1 + omega)
