"""Agreements in fewer bytes.

Compressed(c)     agreed = sum_w share_w c(message_w)        one allreduce where c is linear, else one allgather of payloads
LowRank(p)        agreed = P Q^T of the mean, matrix by matrix                                 two allreduces (PowerSGD)
Vote()            agreed = sign of the sum of signs                                            one allreduce of bytes

Scalars travel beside, as they are. A vector that is not finite on one rank raises the same error on all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from mpiopt.arrays import Array
from mpiopt.compress.compressor import Compressor, Stream
from mpiopt.compress.lowrank import Plan, PowerSgd
from mpiopt.errors import NumericalError
from mpiopt.phase import Joint, Tree
from mpiopt.problems.problem import Message, Team


@dataclass(frozen=True)
class Compressed:
    """The mean of what the workers' compressed messages decode to, weighted by their shares.

    What was not sent of a worker's message is the rest of its own. Payloads that cannot be added up are gathered and
    decoded one after the other into one vector, in worker order, so that all ranks agree to the last bit.
    """

    compressor: Compressor
    purpose: str = "compress"

    def init(self, x: Array, team: Team) -> Tree:
        """The shares of all workers, (workers,). Collective. Raises UsageError for a dim that cannot be compressed."""
        self.compressor.among(team.world.workers).nbytes(x.size, x.dtype)
        return np.concatenate(team.world.gather(np.array([site.share for site in team.sites]), "shares"))

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[Array], Tree]:
        """Collective."""
        world, sites = here.team.world, here.team.sites
        compressor = self.compressor.among(world.workers)
        streams = [
            Stream.of(sites[0].streams, self.purpose, here.round, worker, world.workers) for worker in range(world.workers)
        ]
        own = streams[sites[0].worker :][: len(sites)]
        payloads, finite = _encoded(compressor, messages, own)
        together = _added if compressor.linear else _gathered
        vector, scalars = together(compressor, messages, payloads, finite, streams, state, here.team)
        residual = [
            message.vector - compressor.decode(payload, message.vector, stream)
            for message, payload, stream in zip(messages, payloads, own, strict=True)
        ]
        return Message(vector, scalars), residual, state


def _encoded(compressor: Compressor, messages: Sequence[Message], streams: Sequence[Stream]) -> tuple[list[Array], bool]:
    """The payloads of this rank's workers, and whether all their vectors were finite; else those of zeros."""
    try:
        return [compressor.encode(m.vector, stream) for m, stream in zip(messages, streams, strict=True)], True
    except NumericalError:
        return [compressor.encode(np.zeros_like(m.vector), s) for m, s in zip(messages, streams, strict=True)], False


def _added(
    compressor: Compressor, messages: Sequence[Message], payloads: list[Array], finite: bool, streams: list[Stream],
    shares: Array, team: Team,
) -> tuple[Array, Array]:  # fmt: skip
    """One allreduce of payloads, each scaled by its share. Collective."""
    like = messages[0].vector
    parts = [
        np.concatenate([site.share * payload, site.share * message.scalars, [0.0 if finite else np.nan]]).astype(like.dtype)
        for site, message, payload in zip(team.sites, messages, payloads, strict=True)
    ]
    total = team.world.sum(parts, "compressed", out=parts[0])
    payload, scalars = total[: payloads[0].size], total[payloads[0].size : -1].astype(np.float64)
    _demand_finite(total[-1:])
    return compressor.decode(np.ascontiguousarray(payload), like, streams[team.sites[0].worker]), scalars


def _gathered(
    compressor: Compressor, messages: Sequence[Message], payloads: list[Array], finite: bool, streams: list[Stream],
    shares: Array, team: Team,
) -> tuple[Array, Array]:  # fmt: skip
    """One allgather of all payloads with their scalars. Collective."""
    like, beside = messages[0].vector, [np.append(m.scalars, 1.0 if finite else np.nan) for m in messages]
    mine = np.concatenate(
        [part for p, s in zip(payloads, beside, strict=True) for part in (p.view(np.uint8), s.view(np.uint8))]
    )
    blocks = team.world.gather(mine.reshape(len(messages), -1), "compressed")
    cut = 8 * beside[0].size
    vector, scalars = np.zeros_like(like), np.zeros(beside[0].size)
    rows = list(chain.from_iterable(blocks))
    for row, share in zip(rows, shares, strict=True):
        scalars += share * row[-cut:].copy().view(np.float64)
    _demand_finite(scalars)
    for row, share, stream in zip(rows, shares, streams, strict=True):
        compressor.add(np.ascontiguousarray(row[:-cut]), vector, stream, float(share))
    return vector, scalars[:-1]


def _demand_finite(flags: Array) -> None:
    if not np.isfinite(flags).all():
        raise NumericalError(
            "a vector that was to be compressed has entries that are not finite: the iteration has diverged; take a smaller "
            "step size, or add error feedback"
        )


@dataclass(frozen=True)
class LowRank:
    """The mean by low-rank factors of every matrix of the model, warm-started. What was not sent is the message less that.

    Vogels, Karimireddy, Jaggi, PowerSGD, NeurIPS 2019, algorithms 1 and 2. Needs a model with ``blocks``.
    """

    power: PowerSgd

    def _plan(self, team: Team) -> Plan:
        return self.power.on(team.sites[0].loss.blocks)

    def init(self, x: Array, team: Team) -> Tree:
        """Q of every matrix, the same on all ranks. Raises UsageError for a model without matrices to compress."""
        return self._plan(team).start(x.dtype, team.sites[0].streams("powersgd"))

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[Array], Tree]:
        """Two allreduces. Collective."""
        team, plan = here.team, self._plan(here.team)
        left, scalars = _mean_left(plan, messages, state, team)
        plan.orthogonalise(left)
        parts = [site.share * plan.right(np.nan_to_num(m.vector), left) for site, m in zip(team.sites, messages, strict=True)]
        right = team.world.sum([part.astype(left.dtype, copy=False) for part in parts], "right factors")
        agreed = plan.decode(left, right)
        return Message(agreed, scalars), [m.vector - agreed for m in messages], right


def _mean_left(plan: Plan, messages: Sequence[Message], right: Array, team: Team) -> tuple[Array, Array]:
    """The mean of M Q, and of the scalars. Collective. Raises NumericalError on every rank."""
    parts = []
    for site, message in zip(team.sites, messages, strict=True):
        try:
            left, flag = plan.left(message.vector, right), 0.0
        except NumericalError:
            left, flag = np.zeros(plan.left_size, right.dtype), np.nan
        parts.append(np.concatenate([site.share * left, site.share * message.scalars, [flag]]).astype(right.dtype))
    total = team.world.sum(parts, "left factors", out=parts[0])
    _demand_finite(total[-1:])
    return np.ascontiguousarray(total[: plan.left_size]), total[plan.left_size : -1].astype(np.float64)


@dataclass(frozen=True)
class Vote:
    """Majority vote: +1, 0 or -1 in every coordinate; every worker has one vote.

    Bernstein, Wang, Azizzadenesheli, Anandkumar, signSGD: compressed optimisation for non-convex problems, ICML 2018,
    algorithm 1. Nothing of a message is kept for later.
    """

    def init(self, x: Array, team: Team) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[float], Tree]:
        """One allreduce of one byte a coordinate, two from 128 workers on, and one of the scalars. Collective."""
        world, like = here.team.world, messages[0].vector
        kind = np.int8 if world.workers < 128 else np.int16
        parts = [np.append(site.share * m.scalars, 0.0 if np.isfinite(m.vector).all() else np.nan)
                 for site, m in zip(here.team.sites, messages, strict=True)]  # fmt: skip
        scalars = world.total(parts, "scalars")
        _demand_finite(scalars)
        votes = world.sum([np.sign(m.vector).astype(kind) for m in messages], "votes")
        return Message(np.sign(votes).astype(like.dtype), scalars[:-1]), [0.0] * len(messages), state
