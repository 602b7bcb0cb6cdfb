"""Agreements in fewer bytes.

Compressed(c)     agreed = sum_w share_w c(message_w)        one allreduce where c is linear, else one allgather of payloads
Vote()            agreed = sign of the sum of signs                                            one allreduce of bytes

Scalars travel beside, as they are. A vector that is not finite on one rank raises the same error on all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, NamedTuple
from zlib import crc32

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.world import World
from mpiopt.compress.compressor import Compressor, Payload, Stream
from mpiopt.engine.phase import Exchange, Joint, Tree
from mpiopt.engine.traffic import Shape, Traffic, small_sum, vector_sum
from mpiopt.errors import DataError, NumericalError
from mpiopt.problems.model import blocks_of
from mpiopt.problems.problem import Message, Team


class Agreeing(NamedTuple):
    """One agreement: what all ranks know of it."""

    compressor: Compressor
    streams: list[Stream]  # of all workers
    shares: Array  # of all workers in this agreement, (workers,): 0 for those that send nothing
    team: Team

    @property
    def own(self) -> slice:
        """The workers of this rank."""
        hosted = self.team.world.hosted
        return slice(hosted.start, hosted.stop)


class Shares(NamedTuple):
    """What every worker counts for, (workers,)."""

    of_all: Array


@dataclass(frozen=True)
class Compressed(Exchange):
    """The mean of what the workers' compressed messages decode to, weighted by their shares.

    What was not sent of a worker's message is the rest of its own. Payloads that cannot be added up are gathered and
    decoded one after the other into one vector, in worker order, so that all ranks agree to the last bit. Workers that do not
    take part in a round send nothing.
    """

    needs_all: ClassVar[bool] = False
    compressor: Compressor
    purpose: str = "compress"

    def init(self, x: Array, team: Team) -> Shares:
        """The shares of all workers. Collective.

        Raises UsageError for a dim that cannot be compressed, DataError where ranks compress differently.
        """
        with team.world.together("looking at the compressor"):
            compressor = fitted(self.compressor, team)
            form = crc32(f"{compressor} {compressor.nbytes(x.size, x.dtype)} {x.dtype}".encode())
        known = told_by_all(team, form)
        odd = np.flatnonzero(known[:, 1] != known[0, 1])
        if odd.size:
            rank = team.world.host_of(int(odd[0]))
            raise DataError(f"rank {rank} compresses otherwise than rank 0: give all ranks the same compressor and model")
        return Shares(known[:, 0].copy())

    def __call__(self, messages: Sequence[Message], state: Shares, here: Joint) -> tuple[Message, list[Array], Shares]:
        """Collective."""
        world, sites = here.team.world, here.team.sites
        first = sites[0].worker - world.hosted.start  # of the workers of this world, which may be a group of all
        streams = [
            Stream.of(sites[0].streams, self.purpose, here.round, first + worker, world.workers)._replace(worker=worker)
            for worker in range(world.workers)
        ]
        shares, total = present_shares(state.of_all, here)
        now = Agreeing(fitted(self.compressor, here.team), streams, shares, here.team)
        heard = [
            message if share else Message(np.zeros_like(message.vector), np.zeros_like(message.scalars))
            for message, share in zip(messages, shares[now.own], strict=True)
        ]
        payloads, finite = _encoded(now, heard)
        vector, scalars = (_added if now.compressor.linear else _gathered)(now, heard, payloads, finite)
        scalars = scalars if here.clients.all else np.append(scalars, total)
        return Message(vector, scalars), _left(now, messages, payloads), state

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`."""
        world, compressor = here.team.world, fitted(self.compressor, here.team)
        payload = compressor.nbytes(shape.dim, shape.dtype)
        if compressor.linear:
            return vector_sum(world, payload + shape._replace(dim=0).nbytes(1), payload)
        sent = (payload + 8 * (shape.scalars + 1)) * here.clients.chances(world.workers)
        return Traffic(world.pieces(sent), nbytes=float(sent[world.hosted.start : world.hosted.stop].sum()), payload=payload)

    def omega(self, dim: int, workers: int) -> float | None:
        """The compressor's."""
        return self.compressor.among(workers).omega(dim)


def fitted(compressor: Compressor, team: Team) -> Compressor:
    """A compressor for the workers and the blocks of a team. Raises UsageError if it was made for other workers."""
    return compressor.among(team.world.workers).on(blocks_of(team.sites[0].loss))


def told_by_all(team: Team, more: float = 0.0) -> Array:
    """What every worker counts for, and one more number of its rank, (workers, 2). Collective."""
    return np.concatenate(team.world.gather(np.array([[site.share, more] for site in team.sites]), "shares"))


def present_shares(shares: Array, here: Joint) -> tuple[Array, float]:
    """The shares of this round, (workers,), and what part of all they are. Raises DataError as `Mean`. Not collective."""
    if here.clients.all:
        return shares, 1.0
    shares = shares * here.present
    total = float(shares.sum())
    if not total > 0:
        raise DataError(f"none of the workers that take part in round {here.round} holds any rows: take more of them")
    return shares / total, total


def _encoded(now: Agreeing, heard: Sequence[Message]) -> tuple[list[Payload], bool]:
    """The payloads of this rank's workers, and whether all their vectors were finite; else those of zeros."""
    streams = now.streams[now.own]
    try:
        return [now.compressor.encode(m.vector, stream) for m, stream in zip(heard, streams, strict=True)], True
    except NumericalError:
        return [now.compressor.encode(np.zeros_like(m.vector), stream) for m, stream in zip(heard, streams, strict=True)], False


def _left(now: Agreeing, messages: Sequence[Message], payloads: Sequence[Payload]) -> list[Array]:
    """What was not sent: all of a message that was not heard."""
    each = zip(messages, payloads, now.streams[now.own], now.shares[now.own], strict=True)
    return [
        message.vector - now.compressor.decode(payload, message.vector, stream) if share else message.vector
        for message, payload, stream, share in each
    ]


def _added(now: Agreeing, heard: Sequence[Message], payloads: Sequence[Payload], finite: bool) -> tuple[Array, Array]:
    """One allreduce of payloads, each scaled by its share. Collective."""
    like = heard[0].vector
    parts = [
        np.concatenate([share * payload, share * message.scalars, [0.0 if finite else np.nan]]).astype(like.dtype)
        for share, message, payload in zip(now.shares[now.own].tolist(), heard, payloads, strict=True)
    ]
    total = now.team.world.sum(parts, "compressed", out=parts[0])
    payload, scalars = total[: payloads[0].size], total[payloads[0].size : -1].astype(np.float64)
    demand_finite(total[-1:])
    return now.compressor.decode(np.ascontiguousarray(payload), like, now.streams[now.own.start]), scalars


def _gathered(now: Agreeing, heard: Sequence[Message], payloads: Sequence[Payload], finite: bool) -> tuple[Array, Array]:
    """The payloads with their scalars, of all ranks in their order and of some at a time. Collective."""
    like, flag, cut = heard[0].vector, 1.0 if finite else np.nan, 8 * (heard[0].scalars.size + 1)
    mine = [
        part.view(np.uint8)
        for share, message, payload in zip(now.shares[now.own], heard, payloads, strict=True)
        if share
        for part in (payload, np.append(message.scalars, flag))
    ]
    workers, world = np.flatnonzero(now.shares).tolist(), now.team.world
    senders = np.bincount([world.host_of(worker) for worker in workers], minlength=world.size)
    whole = np.concatenate(mine) if mine else np.zeros(0, np.uint8)
    blocks = world.each(whole, "compressed", check=lambda lengths: _demand_equal(lengths, senders))
    rows = chain.from_iterable(block.reshape(count, -1) for block, count in zip(blocks, senders, strict=True) if count)
    vector, scalars = np.zeros_like(like), np.zeros(heard[0].scalars.size + 1)
    for worker, row in zip(workers, rows, strict=True):
        share = float(now.shares[worker])
        scalars += share * row[-cut:].copy().view(np.float64)
        now.compressor.add(np.ascontiguousarray(row[:-cut]), vector, now.streams[worker], share)
    demand_finite(scalars[-1:])
    return vector, scalars[:-1]


def _demand_equal(lengths: Array, senders: Array) -> None:
    """Raise DataError unless all ranks (ranks,) send as many bytes for each of their workers that send."""
    ranks = np.flatnonzero(senders)
    widths = lengths[ranks] / senders[ranks]
    for rank, width in zip(ranks, widths, strict=True):
        if width != widths[0]:
            raise DataError(
                f"rank {rank} sent {width:g} bytes for a worker where rank {ranks[0]} sent {widths[0]:g}: "
                "do all ranks compress alike?"
            )


def demand_finite(flags: Array) -> None:
    """Raise NumericalError unless the sum of all workers' flags is finite. Not collective."""
    if not np.isfinite(flags).all():
        raise NumericalError(
            "a vector that was to be compressed has entries that are not finite: the iteration has diverged; take a smaller "
            "step size"
        )


@dataclass(frozen=True)
class Vote(Exchange):
    """Majority vote: +1, 0 or -1 in every coordinate; every worker has one vote.

    Bernstein, Wang, Azizzadenesheli, Anandkumar, signSGD: compressed optimisation for non-convex problems, ICML 2018,
    algorithm 1. Nothing of a message is kept for later.
    """

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[float], Tree]:
        """One allreduce of one byte a coordinate, two from 128 workers on, and one of the scalars. Collective."""
        world, like = here.team.world, messages[0].vector
        parts = [
            np.append(site.share * m.scalars, 0.0 if np.isfinite(m.vector).all() else np.nan)
            for site, m in zip(here.team.sites, messages, strict=True)
        ]
        scalars = world.total(parts, "scalars")
        demand_finite(scalars[-1:])
        votes = world.sum([np.sign(m.vector).astype(_ballot(world)) for m in messages], "votes")
        return Message(np.sign(votes).astype(like.dtype), scalars[:-1]), [0.0] * len(messages), state

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`."""
        world = here.team.world
        payload = shape.dim * _ballot(world).itemsize
        return small_sum(world, shape.scalars + 1) + vector_sum(world, payload, payload)


def _ballot(world: World) -> np.dtype:
    """The type that the votes of all workers can be added up in."""
    return np.dtype(np.int8 if world.workers < 128 else np.int16)
