"""Memories around an exchange that does not send all.

ErrorFeedback(inner)     what was not sent is added to the next message
TwoWay(inner, c)         what was agreed is compressed again, with a memory of its own

Where messages are gradients, ``rate`` is the step size that they will be multiplied by.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mpiopt.arrays import Array
from mpiopt.compress.compressor import Compressor, Stream
from mpiopt.engine.phase import Agreed, Exchange, Joint, PerWorker, Tree, each
from mpiopt.exchange.around import Around
from mpiopt.exchange.compressed import fitted
from mpiopt.numerics.schedules import Constant, Schedule, demand
from mpiopt.problems.problem import Message, Team

ONE = Constant(1.0)


class Unsent(NamedTuple):
    """What was not sent so far, (dim,) or the number 0: of every worker, or of what all agreed on; the state within."""

    memory: Any
    inner: Tree


@dataclass(frozen=True)
class ErrorFeedback(Around):
    """e_w <- message_w + decay e_w - what was sent of it.

    decay : 1 for the papers' own; below 1 what waits is forgotten in time, as a momentum is. rate : messages are scaled by it,
    and agreements scaled back, so that the memory is in units of steps where the step size changes; where it is 0 nothing is
    agreed on that could move a point, and the memory stays. Seide et al. 2014; Karimireddy, Rebjock, Stich, Jaggi, Error
    feedback fixes SignSGD, ICML 2019, algorithm 2; Stich, Cordonnier, Jaggi, Sparsified SGD with memory, 2018.
    """

    inner: Exchange
    rate: Schedule = ONE
    decay: float = 1.0

    def __post_init__(self) -> None:
        demand(0 <= self.decay <= 1, "the decay of what was not sent", self.decay, "a number from 0 to 1")

    def init(self, x: Array, team: Team) -> Unsent:
        """e_w = 0 of every worker. Collective where that of ``inner`` is."""
        return Unsent(PerWorker(0.0 for _ in team.sites), self.inner.init(x, team))

    def __call__(
        self, messages: Sequence[Message], state: Unsent, here: Joint
    ) -> tuple[Agreed, Sequence[Array | float], Unsent]:
        """Collective."""
        rate = self.rate(here.round)
        kept = state.memory if self.decay == 1 else [self.decay * e for e in state.memory]
        wanted = [m._replace(vector=rate * m.vector + e) for m, e in zip(messages, kept, strict=True)]
        agreed, residual, inner = self.inner(wanted, state.inner, here)
        if agreed is not None:
            agreed = each(agreed, lambda message: message._replace(vector=unscaled(message.vector, rate)))
        return agreed, [0.0] * len(messages), Unsent(PerWorker(residual) if rate else state.memory, inner)


@dataclass(frozen=True)
class TwoWay(Around):
    """The agreement compressed once more, with error feedback: as a server would send it back.

    All ranks hold the same memory and compress alike, so that nobody has to be the server. rate : as of `ErrorFeedback`.
    Zheng, Huang, Kwok, Communication-efficient distributed blockwise momentum SGD with error-feedback, NeurIPS 2019,
    algorithm 1.
    """

    inner: Exchange
    compressor: Compressor
    rate: Schedule = ONE

    def init(self, x: Array, team: Team) -> Unsent:
        """No memory. Collective where that of ``inner`` is."""
        return Unsent(0.0, self.inner.init(x, team))

    def __call__(
        self, messages: Sequence[Message], state: Unsent, here: Joint
    ) -> tuple[Agreed, Sequence[Array | float], Unsent]:
        """Collective."""
        agreed, residual, inner = self.inner(messages, state.inner, here)
        if agreed is None:
            return None, residual, state._replace(inner=inner)
        rate = self.rate(here.round)
        wanted = rate * agreed.vector + state.memory
        stream, compressor = Stream.of(here.team.sites[0].streams, "two-way", here.round), fitted(self.compressor, here.team)
        vector = compressor.decode(compressor.encode(wanted, stream), wanted, stream)
        wanted -= vector
        return agreed._replace(vector=unscaled(vector, rate)), residual, Unsent(wanted if rate else state.memory, inner)


def unscaled(vector: Array, rate: float) -> Array:
    """A vector over ``rate``; 0 where that is."""
    return vector if rate == 1 else vector / rate if rate else 0 * vector
