"""Means in 32 bits a number, for long vectors of doubles.

Narrowed()     messages rounded to float32: for directions, of which a search then finds how far to go
Changes()    what has changed since the last call, in whole numbers of a common unit: for gradients

Whole numbers add up without rounding, so that what was rounded off, which every worker keeps, is all that is missing: it is
said with the next change, and gradients are as exact as these become short. (Error feedback as in Richtarik, Sokolov,
Fatkhullin, EF21, 2021; sums of float32 would round where nobody knows.) On one worker, and of short vectors, both are `Mean`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp, isfinite, ldexp
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.engine.phase import Joint, PerWorker, Tree
from mpiopt.engine.traffic import Shape, Traffic, small_sum, vector_sum
from mpiopt.exchange.mean import Mean
from mpiopt.problems.problem import Message, mean

SHORT = 1500  # numbers up to which a message takes as long however few its bytes are
SMALL, LARGE = 1e-25, 1e30  # the largest entries that float32 holds with all that stands beside them
TINY = 1e-280  # changes whose unit would be no normal number
BITS = 30  # of the sum of all workers' numbers, the sign and one to spare left out


def narrow(size: int, dtype: np.dtype, here: Joint) -> bool:
    """Whether a vector, of which this rank has so many entries, travels in 32 bits."""
    return here.team.world.whole(size) > SHORT and dtype.itemsize == 8 and here.team.world.workers > 1 and here.clients.all


@dataclass(frozen=True)
class Narrowed(Mean):
    """The mean in float32, in doubles again; as it is where there are scalars, or where float32 does not hold the numbers."""

    parted: ClassVar[bool] = True

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[float], Tree]:
        """One allreduce of dim + 1 numbers of 4 bytes; what is agreed takes the place of the first message. Collective."""
        first, xp = messages[0], namespace(messages[0].vector)
        if not self._narrow(first.vector.size, first.scalars.size, first.vector.dtype, here):
            return super().__call__(messages, state, here)
        parts = []
        for site, message in zip(here.team.sites, messages, strict=True):
            part = xp.zeros(message.vector.size + 1, np.float32)
            if _held(message.vector):
                xp.multiply(message.vector, site.share, out=part[:-1], casting="same_kind")
            else:
                part[-1] = 1
            parts.append(part)
        agreed = here.team.world.sum(parts, "mean", out=parts[0])
        if float(agreed[-1]) > 0:
            return super().__call__(messages, state, here)
        first.vector[...] = agreed[:-1]
        return Message(first.vector, first.scalars), [0.0] * len(messages), state

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`."""
        if not self._narrow(*shape, here):
            return super().traffic(shape, here)
        return vector_sum(here.team.world, 4 * (shape.dim + 1))

    def _narrow(self, dim: int, scalars: int, dtype: np.dtype, here: Joint) -> bool:
        return not scalars and narrow(dim, dtype, here)


def _held(vector: Array) -> bool:
    largest = _peak(vector)
    return largest == 0 or SMALL < largest < LARGE


def _peak(vector: Array) -> float:
    """The largest size of an entry, 0 where there is none; not finite where one is not."""
    return 0.0 if not vector.size else max(float(vector.max()), -float(vector.min()))


class Said(NamedTuple):
    """What has been said so far.

    own : of each worker's share of its messages, (dim,). common : the sum of these over all workers, (dim,).
    """

    own: PerWorker
    common: Array


@dataclass(frozen=True)
class Changes(Mean):
    """The first messages as they are; then changes in units of about the largest over 2^30; scalars beside."""

    parted: ClassVar[bool] = True

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Message, list[float], Tree]:
        """A small sum, and one allreduce of dim whole numbers of 4 bytes. Collective."""
        vector, team = messages[0].vector, here.team
        if not narrow(vector.size, vector.dtype, here):
            return super().__call__(messages, state, here)
        if not state:
            return self._whole(messages, here)
        parts = [
            _less(site.share * each.vector, said) for site, each, said in zip(team.sites, messages, state.own, strict=True)
        ]
        scalars, peaks = self._few(messages, parts, here)
        unit = _unit(float(peaks.max()), team.world.workers)
        if not unit > 0:
            return self._whole(messages, here)
        whole = [_counted(part, unit, said) for part, said in zip(parts, state.own, strict=True)]
        del parts  # long vectors
        total = team.world.sum(whole, "mean", out=whole[0])
        common = total * unit
        common += state.common
        return Message(common, scalars), [0.0] * len(messages), Said(state.own, common)

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`; of all calls but the first."""
        if not narrow(shape.dim, shape.dtype, here):
            return super().traffic(shape, here)
        world = here.team.world
        return small_sum(world, shape.scalars + world.workers) + vector_sum(world, 4 * shape.dim)

    def _whole(self, messages: Sequence[Message], here: Joint) -> tuple[Message, list[float], Said]:
        agreed = mean(here.team, messages)
        own = PerWorker(site.share * message.vector for site, message in zip(here.team.sites, messages, strict=True))
        return agreed, [0.0] * len(messages), Said(own, agreed.vector)

    def _few(self, messages: Sequence[Message], parts: Sequence[Array], here: Joint) -> tuple[Array, Array]:
        """The mean of the scalars, and the largest entry of each worker's change, (workers,). Collective: one small sum."""
        world, few = here.team.world, messages[0].scalars.size
        told = []
        for site, message, part in zip(here.team.sites, messages, parts, strict=True):
            each = np.zeros(few + world.workers)
            each[:few], each[few + site.worker] = site.share * message.scalars, _peak(part)
            told.append(each)
        sums = world.total(told, "changes")
        return sums[:few], sums[few:]


def _less(vector: Array, said: Array) -> Array:
    vector -= said
    return vector


def _unit(largest: float, workers: int) -> float:
    """A power of two, of which all workers' changes together are not too many for 32 bits; 0 where there is none."""
    if not (isfinite(largest) and largest > TINY):
        return 0.0
    return ldexp(1.0, frexp(largest)[1] + (workers - 1).bit_length() - BITS)


def _counted(part: Array, unit: float, said: Array) -> Array:
    """A change in whole units, (dim,) int32, which from now on is ``said``; overwrites both."""
    xp = namespace(part)
    part /= unit
    xp.rint(part, out=part)
    counts = part.astype(np.int32)
    part *= unit
    said += part
    return counts
