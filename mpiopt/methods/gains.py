"""The numbers of SPAG: its weights, and the rules that find the product M = L G of its step equation.

Fixed       M = L: what the experiments of Hendrikx et al. 2020 use
Doubling    G <- max(1, G/2) after an accepted trial, 2 G after a rejected one: algorithm 1
Adaptive    M <- 0.9 M after an accepted trial, else to what the observed D_F(x', y) asks for. The proof of theorem 1
            needs no more than D_F(x', y) <= alpha^2 M [...], so that neither L nor G has to be known.
"""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from mpiopt.arrays import Array

ROUNDING = 1e-9  # relative: with sigma = 0 the test holds with equality on quadratics


class Weights(NamedTuple):
    """The weights of one trial, B scaled to 1; ``ratio`` is A'/B'."""

    alpha: float
    beta: float
    eta: float
    ratio: float

    @property
    def towards_v(self) -> tuple[float, float]:
        """What x and v weigh in y."""
        scale = 1 / (1 - self.alpha * self.beta)
        return scale * (1 - self.alpha), scale * self.alpha * (1 - self.beta)


def weigh(ratio: float, gain: float, sigma: float) -> Weights:
    """a from (M - sigma) a^2 - (1 + r sigma) a - r = 0, r = A/B, and what follows; sigma is kept below M."""
    sigma = min(sigma, 0.999 * gain)
    b = 1 + ratio * sigma
    a = (b + sqrt(b * b + 4 * (gain - sigma) * ratio)) / (2 * (gain - sigma))
    scale = 1 + a * sigma
    return Weights(float(a / (ratio + a)), float(a * sigma / scale), float(a / scale), float((ratio + a) / scale))


def warmed(rounds: int, gain: float, sigma: float) -> float:
    """A/B after so many rounds of the recurrence alone, from A = 0."""
    ratio = 0.0
    for _ in range(rounds):
        ratio = weigh(ratio, gain, sigma).ratio
    return ratio


class Gain(Protocol):
    """How M is found."""

    @property
    def tests(self) -> bool:
        """Whether the server computes its test."""

    @property
    def needs_whole(self) -> bool:
        """Whether D_F is wanted."""

    @property
    def first(self) -> float:
        """M of the first trial."""

    def judge(self, gain: float, whole: float, server: Array) -> tuple[bool, float]:
        """Whether the trial at M = ``gain`` holds, and M of the next.

        whole : D_F(x', y). server : [D_phi(x', y), alpha^2 ((1 - beta) D_phi(v', v) + beta D_phi(v', y))].
        """


@dataclass(frozen=True)
class Fixed:
    """M = L, every trial accepted."""

    first: float = 1.0
    tests: ClassVar[bool] = False
    needs_whole: ClassVar[bool] = False

    def judge(self, gain: float, whole: float, server: Array) -> tuple[bool, float]:
        """Always."""
        return True, gain


@dataclass(frozen=True)
class Doubling:
    """The line search of algorithm 1, with G = M / L."""

    first: float = 1.0
    tests: ClassVar[bool] = True
    needs_whole: ClassVar[bool] = False

    def judge(self, gain: float, whole: float, server: Array) -> tuple[bool, float]:
        """D_phi(x', y) <= alpha^2 G [...]."""
        divergence, room = server
        if divergence <= (1 + ROUNDING) * gain / self.first * room:
            return True, max(self.first, gain / 2)
        return False, 2 * gain


@dataclass(frozen=True)
class Adaptive:
    """M by the observed D_F."""

    first: float = 1.0
    tests: ClassVar[bool] = True
    needs_whole: ClassVar[bool] = True

    def judge(self, gain: float, whole: float, server: Array) -> tuple[bool, float]:
        """D_F(x', y) <= alpha^2 M [...]."""
        room = server[1]
        if whole <= (1 + ROUNDING) * gain * room:
            return True, 0.9 * gain
        return False, float(np.clip(1.05 * whole / room if room > 0 else np.inf, 1.3 * gain, 4 * gain))
