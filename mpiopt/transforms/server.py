"""Steps of a server over the mean of how far its clients came (g here), in no need of a correction for their start at 0.

    ServerAdam     m <- b1 m + (1 - b1) g;  s <- b2 s + (1 - b2) g^2;                    u <- m / (sqrt(s) + tau)
    ServerYogi     m as there;              s <- s - (1 - b2) g^2 sign(s - g^2);         the same

s is tau^2 at first, the least that the paper allows. Scale comes after them.
"""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from mpiopt.arrays import Array, namespace
from mpiopt.numerics.schedules import demand
from mpiopt.transforms.transform import Transform


class ServerMoments(NamedTuple):
    """Fading means of gradients and of their squares, (dim,) each."""

    m: Array
    s: Array


@dataclass(frozen=True)
class ServerAdam(Transform):
    """The mean over the root mean square, which no number of rounds corrects.

    Reddi, Charles, Zaheer, Garrett, Rush, Konecny, Kumar, McMahan, Adaptive federated optimization, ICLR 2021, arXiv
    2003.00295, algorithm 2. Raises UsageError unless 0 <= b1, b2 < 1, 0 < tau < infinity.
    """

    b1: float = 0.9
    b2: float = 0.99
    tau: float = 1e-3

    def __post_init__(self) -> None:
        for name, rate in {"b1": self.b1, "b2": self.b2}.items():
            demand(0 <= rate < 1, name, rate, "a number from 0 to below 1")
        demand(0 < self.tau < inf, "tau", self.tau, "a finite number above 0")

    def init(self, x: Array) -> ServerMoments:
        """m = 0, s = tau^2."""
        return ServerMoments(namespace(x).zeros_like(x), namespace(x).full_like(x, self.tau * self.tau))

    def __call__(self, u: Array, x: Array, state: ServerMoments, step: int) -> tuple[Array, ServerMoments]:
        """m / (sqrt(s) + tau)."""
        m, s, square = state.m, state.s, u * u
        m *= self.b1
        m += (1 - self.b1) * u
        self._learn(s, square)
        namespace(u).sqrt(s, out=u)
        u += self.tau
        return namespace(u).divide(m, u, out=u), state

    def _learn(self, s: Array, square: Array) -> None:
        """The next s, in place; spends ``square``."""
        square -= s
        square *= 1 - self.b2
        s += square


@dataclass(frozen=True)
class ServerYogi(ServerAdam):
    """The same with squares that grow and shrink by as much as the last one, and no more.

    Reddi and others, as there; after Zaheer, Reddi, Sachan, Kale, Kumar, Adaptive methods for nonconvex optimization, NeurIPS
    2018, algorithm 2.
    """

    def _learn(self, s: Array, square: Array) -> None:
        """s + (1 - b2) g^2 sign(g^2 - s)."""
        xp = namespace(s)
        square *= (1 - self.b2) * xp.sign(square - s)
        s += square
