"""Ways to hear neighbours more than once, or by differences.

Repeated(inner, times)       heard_i = that of what was heard before                    so many times the messages
Remembered(inner, gain)      heard_i = message_i + gain sum_j W_ij (h_j - h_i),         h_i <- h_i + c(message_i - h_i)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mpiopt.arrays import Array, namespace
from mpiopt.engine.phase import Joint, PerWorker, Tree
from mpiopt.engine.traffic import Shape, Traffic
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.exchange.around import Around
from mpiopt.exchange.neighbours import Neighbours
from mpiopt.graphs.mixing import Spectrum
from mpiopt.problems.problem import Message, Team

PART = 0.7  # of the contraction constant


@dataclass(frozen=True)
class Repeated(Around):
    """``inner`` of what was heard, ``times`` over: with I - W / lambda_max, the consensus of many steps. What comes in round k
    of ``inner`` is its k-th of all. Raises UsageError unless times >= 1."""

    inner: Neighbours
    times: int

    def __post_init__(self) -> None:
        if self.times < 1:
            raise UsageError(f"neighbours cannot hear each other {self.times} times in a round: give at least 1")

    def spectrum(self, dim: int, workers: int) -> Spectrum:
        """See `Exchange`: bounds for a product of ``times`` matrices W."""
        found, times = self.inner.spectrum(dim, workers), self.times
        if times == 1:
            return found
        return Spectrum(1 - found.second**times, 1 + max(found.lambda_max - 1, 0.0) ** times, found.second**times)

    def __call__(
        self, messages: Sequence[Message], state: Tree, here: Joint
    ) -> tuple[Sequence[Message], list[Array | float], Tree]:
        """Collective among neighbouring ranks."""
        for k in range(here.round * self.times, (here.round + 1) * self.times):
            messages, _, state = self.inner(messages, state, here._replace(round=k))
        return messages, [0.0] * len(messages), state

    def traffic(self, shape: Shape, here: Joint) -> Traffic:
        """See `Exchange`."""
        return self.inner.traffic(shape, here).times(self.times)


class Known(NamedTuple):
    """What neighbours know of each other."""

    gain: float
    said: PerWorker  # h_i, what others know of each worker, (dim,)
    heard: PerWorker  # sum_j W_ij h_j, (dim,)
    inner: Tree


@dataclass(frozen=True)
class Remembered(Around):
    """CHOCO: neighbours send how far they are from what the others know of them, in few bytes, and remember it.

    The mean of the messages is the mean of what is heard, whatever is lost on the way. inner : `Neighbours` on one graph
    throughout. gain : how far a worker goes; small for compressors that send little. Koloskova, Stich, Jaggi, Decentralized
    stochastic optimization and gossip algorithms with compressed communication, ICML 2019, algorithm 1; of what neighbours
    are known to be only the sum is remembered. None for `PART` of the contraction constant, near which compressors that draw
    coordinates at random become unstable in experiments; the paper's own constant is thousands of times smaller.
    """

    inner: Neighbours
    gain: float | None = None

    def init(self, x: Array, team: Team) -> Known:
        """Nothing is known. Collective. Raises CapabilityError where graphs change, or no gain is given or known."""
        self.inner.topology.demand_fixed()
        said, heard = (PerWorker(namespace(x).zeros_like(x) for _ in team.sites) for _ in range(2))
        return Known(self._gain(x.size, team.world.workers), said, heard, self.inner.init(x, team))

    def _gain(self, dim: int, workers: int) -> float:
        if self.gain is not None:
            return self.gain
        compressor = self.inner.compressor
        delta = 1.0 if compressor is None else compressor.among(workers).delta(dim)
        if delta is None:
            raise CapabilityError(
                f"{compressor} is no contraction, from which the gain would follow: take one that is, such "
                "as topk or shrunk:qsgd:bits=4, or give the gain"
            )
        return PART * delta

    def spectrum(self, dim: int, workers: int) -> Spectrum:
        """See `Exchange`."""
        found, gain = self.inner.spectrum(dim, workers), self._gain(dim, workers)
        return Spectrum(gain * found.lambda_min, gain * found.lambda_max, max(abs(1 - gain * v) for v in found[:2]))

    def __call__(self, messages: Sequence[Message], state: Known, here: Joint) -> tuple[PerWorker, list[float], Known]:
        """Collective among neighbouring ranks."""
        apart = [m._replace(vector=m.vector - h) for m, h in zip(messages, state.said, strict=True)]
        news, residual, inner = self.inner(apart, state.inner, here)
        said = PerWorker(h + m.vector - rest for h, m, rest in zip(state.said, apart, residual, strict=True))
        heard = PerWorker(s + m.vector for s, m in zip(state.heard, news, strict=True))
        moved = (m._replace(vector=m.vector + state.gain * (s - h)) for m, s, h in zip(messages, heard, said, strict=True))
        return PerWorker(moved), [0.0] * len(messages), state._replace(said=said, heard=heard, inner=inner)
