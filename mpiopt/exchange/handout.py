"""Parts of networks from those who trained them to those who are to train them next.

HandOut()     what all train: its mean;  what a worker will train next: from whoever trained it last     one sum, one alltoall
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.staging import brought, returned
from mpiopt.engine.phase import Exchange, Joint, PerWorker
from mpiopt.engine.traffic import Shape, Traffic
from mpiopt.exchange.mean import Mean
from mpiopt.problems.problem import Message, Team
from mpiopt.problems.subnetworks import Division, divided, hidden
from mpiopt.sampling.neurons import neurons

NOBODY = -1


class Holders(NamedTuple):
    """Who trained each coordinate last, (dim,) int32; NOBODY where all workers have the same."""

    last: np.ndarray


@dataclass(frozen=True)
class HandOut(Exchange):
    """Every worker hears the coordinates of its next part, each from the worker that trained it last, and no others.

    Those that all train are the mean over the workers of the round. A worker that sits a round out keeps what it holds until
    somebody else is to train it. Nobody holds the whole network: `assembled` makes it, for examinations and at the end. Yuan,
    Wolfe, Dun, Tang, Kyrillidis, Jermaine, Distributed learning of fully connected neural networks using independent subnet
    training, VLDB 2022, section 4, without a server.
    """

    needs_all: ClassVar[bool] = False

    def init(self, x: Array, team: Team) -> Holders:
        """All hold all."""
        return Holders(np.full(x.size, NOBODY, np.int32))

    def __call__(self, messages: Sequence[Message], state: Holders, here: Joint) -> tuple[PerWorker, list[float], Holders]:
        """One sum and, of networks with hidden layers, one alltoall. Collective."""
        team = here.team
        now, then = division(team, here.round), division(team, here.round + 1)
        vectors = [brought(message.vector).copy() for message in messages]
        shared = [Message(vector[now.common], message.scalars) for vector, message in zip(vectors, messages, strict=True)]
        agreed, _, _ = Mean()(shared, (), here)
        last = state.last.copy()
        for worker, own in enumerate(now.own):
            if here.present[worker]:
                last[own] = worker
        for vector in vectors:
            vector[now.common] = agreed.vector
        if not now.common.all():
            _hand_out(vectors, last, then.own, here._replace(round=here.round + 1))
        like = messages[0].vector
        heard = PerWorker(Message(returned(vector, like), agreed.scalars) for vector in vectors)
        return heard, [0.0] * len(messages), Holders(last)

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`; of parts what changes hands in the mean, all workers taking part."""
        world, now = here.team.world, division(here.team, here.round)
        common, workers = int(now.common.sum()), world.workers
        whole = Mean().traffic(shape._replace(dim=common), here)
        if common == shape.dim:
            return whole
        away = 1 - len(world.hosted) / workers  # of what a worker holds, the share that goes to other ranks
        sent = sum(len(now.own[w]) for w in world.hosted) * away * shape.dtype.itemsize
        return whole + Traffic(1, nbytes=sent)


def division(team: Team, round: int) -> Division:  # noqa: A002 - the field's word
    """Which coordinates are whose in a round; every rank finds the same. Not collective."""
    site = team.sites[0]
    return divided(site.loss, neurons(hidden(site.loss), team.world.workers, site.streams, round))


def _hand_out(vectors: Sequence[Array], last: np.ndarray, wanted: Sequence[np.ndarray], then: Joint) -> None:
    """Fill in what the workers of the next round are to train, in place. Collective: one alltoall."""
    world, present = then.team.world, then.present
    taken = [own if present[worker] else own[:0] for worker, own in enumerate(wanted)]
    first = world.hosted.start
    host = np.array([world.host_of(worker) for worker in range(world.workers)])

    def pieces(source: int, target: int) -> list[tuple[int, int, np.ndarray]]:
        """What goes from rank to rank: from which worker to which, and the places."""
        return [
            (giver, taker, own[last[own] == giver])
            for taker, own in enumerate(taken)
            for giver in range(world.workers)
            if giver != taker and host[giver] == source and host[taker] == target
        ]

    for giver, taker, at in pieces(world.rank, world.rank):
        vectors[taker - first][at] = vectors[giver - first][at]
    ranks = [rank for rank in range(world.size)]
    sent = [
        np.concatenate([vectors[giver - first][at] for giver, _, at in pieces(world.rank, rank)] or [vectors[0][:0]])
        if rank != world.rank
        else vectors[0][:0]
        for rank in ranks
    ]
    for rank, numbers in zip(ranks, world.alltoall(sent, "handed out"), strict=True):
        for _, taker, at in pieces(rank, world.rank) if rank != world.rank else ():
            vectors[taker - first][at], numbers = numbers[: at.size], numbers[at.size :]


def assembled(points: Sequence[Array], state: Holders, team: Team) -> Array:
    """The whole x (dim,) from those who hold its parts. Collective: one vector round."""
    parts = []
    for worker, x in zip(team.world.hosted, points, strict=True):
        part, held = np.zeros(x.size, x.dtype), (state.last == worker) | ((state.last == NOBODY) & (worker == 0))
        part[held] = brought(x)[held]
        parts.append(returned(part, x))
    return team.world.sum(parts, "assembled")
