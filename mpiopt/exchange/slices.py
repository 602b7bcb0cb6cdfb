"""Messages of which a known part is sent, and what is learnt of them with an anchor.

Slices(law)              agreed = sum_w share_w S_w message_w, S_w a random mask that all ranks know      one gather
Anchored(inner, coin)    heads: agreed = mean of whole messages, the anchor;  tails: agreed = anchor + inner(messages)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.comm.staging import brought, returned
from mpiopt.compress.masks import Mask, shown, times
from mpiopt.engine.phase import Exchange, Joint, Tree
from mpiopt.engine.traffic import Shape, Traffic, vector_sum
from mpiopt.errors import DataError
from mpiopt.exchange.around import Around
from mpiopt.exchange.compressed import Shares, present_shares, told_by_all
from mpiopt.problems.problem import Message, Team, mean
from mpiopt.sampling.coin import Coin


@dataclass(frozen=True)
class Slices(Exchange):
    """The mean of S_w message_w: every worker sends the entries that its mask shows, without their places.

    All ranks have the point afterwards, so that what a server would hand out, S_w (x - v), is what they have gathered: one
    message of k of d numbers a round and worker. Workers that do not take part in a round send nothing.
    """

    needs_all: ClassVar[bool] = False
    law: Mask

    def init(self, x: Array, team: Team) -> Shares:
        """The shares of all workers. Collective. Raises UsageError for a dim that the mask cannot divide."""
        with team.world.together("looking at the sketch"):
            times(self.law, x, team.world.workers)
        return Shares(told_by_all(team)[:, 0].copy())

    def __call__(self, messages: Sequence[Message], state: Shares, here: Joint) -> tuple[Message, list[float], Shares]:
        """One gather of entries and scalars. Collective. Raises DataError where ranks send other numbers than they should."""
        shares, total = present_shares(state.of_all, here)
        like, few, world = messages[0].vector, messages[0].scalars.size, here.team.world
        vector, scalars, gain = namespace(like).zeros_like(like), np.zeros(few), times(self.law, like, world.workers)
        places = {worker: self._places(worker, like, here) for worker in np.flatnonzero(shares).tolist()}
        told = [
            np.concatenate([message.scalars.astype(like.dtype), brought(message.vector[places[worker]])])
            for worker, message in zip(world.hosted, messages, strict=True)
            if worker in places
        ]
        mine = np.concatenate(told) if told else np.zeros(0, like.dtype)
        for (worker, at), numbers in zip(places.items(), _heard(mine, places, few, here), strict=True):
            share = shares[worker]
            scalars += share * numbers[:few].astype(np.float64)
            vector[at] += like.dtype.type(share) * gain * returned(numbers[few:], like)
        agreed = Message(vector, scalars if here.clients.all else np.append(scalars, total))
        return agreed, [0.0] * len(messages), state

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`; what masks show in the mean."""
        world = here.team.world
        entries = shape.dim / self.law.among(world.workers).gain(shape.dim)
        sent = (entries + shape.scalars) * shape.dtype.itemsize * here.clients.chances(world.workers)
        mine = float(sent[world.hosted.start : world.hosted.stop].sum())
        return Traffic(world.pieces(sent), nbytes=mine, payload=round(entries * shape.dtype.itemsize))

    def _places(self, worker: int, like: Array, here: Joint) -> Array:
        return shown(self.law, like, here.team.sites[0].streams, here.round, worker, here.team.world.workers)


def _heard(mine: np.ndarray, places: dict[int, Array], few: int, here: Joint) -> Iterator[np.ndarray]:
    """The numbers of every worker that sends some, in worker order. Collective."""
    world, lengths = here.team.world, {worker: few + at.size for worker, at in places.items()}
    wanted = np.zeros(world.size, np.int64)
    for worker, length in lengths.items():
        wanted[world.host_of(worker)] += length

    def check(found: np.ndarray) -> None:
        odd = np.flatnonzero(found != wanted)
        if odd.size:
            rank = int(odd[0])
            raise DataError(f"rank {rank} sent {found[rank]} numbers where {wanted[rank]} were due: do all ranks sketch alike?")

    sizes = iter(lengths.values())
    for block in world.each(mine, "slices", check=check):
        while block.size:
            size = next(sizes)
            yield block[:size]
            block = block[size:]


class Anchor(NamedTuple):
    """The mean of the whole messages of the last heads, (dim,), None before; the state within."""

    vector: Array | None
    inner: Tree


@dataclass(frozen=True)
class Anchored(Around):
    """Whole messages where the coin shows heads, and else what changed since then, through ``inner``.

    A work that tosses the same coin says its whole gradient where it shows heads, and else the difference of two gradients
    under one mask. Kovalev, Horvath, Richtarik, Don't jump through hoops and remove those loops, ALT 2020, algorithm 1.
    """

    needs_all: ClassVar[bool] = True
    inner: Exchange
    coin: Coin

    def init(self, x: Array, team: Team) -> Anchor:
        """No anchor. Collective where that of ``inner`` is."""
        return Anchor(None, self.inner.init(x, team))

    def __call__(
        self, messages: Sequence[Message], state: Anchor, here: Joint
    ) -> tuple[Message, Sequence[Array | float], Anchor]:
        """Collective."""
        if state.vector is None or self.coin(here.team.sites[0].streams, here.round):
            agreed = mean(here.team, messages, name="anchor")
            return agreed, [0.0] * len(messages), state._replace(vector=agreed.vector.copy())
        moved, residual, inner = self.inner(messages, state.inner, here)
        return moved._replace(vector=state.vector + moved.vector), residual, state._replace(inner=inner)

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`; as often as the coin says."""
        heads = self.coin.probability
        return vector_sum(here.team.world, shape.nbytes()).times(heads) + self.inner.traffic(shape, here).times(1 - heads)
