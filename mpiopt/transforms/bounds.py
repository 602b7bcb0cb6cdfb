"""What keeps points and steps small: weight decay, clipping, and the prox of a penalty."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isinf

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.kernels.replicated import length
from mpiopt.numerics.schedules import Schedule, demand
from mpiopt.transforms.transform import State, Transform


@dataclass(frozen=True)
class Decay(Transform):
    """u <- u + rate x. First in a chain it is the gradient of (rate/2)|x|^2; between a rule and its Scale it is decoupled.

    x is the point that moves, also where a rule looks ahead. Loshchilov and Hutter, Decoupled weight decay regularization,
    ICLR 2019, arXiv 1711.05101, algorithms 1 and 2. Raises UsageError unless 0 <= rate < infinity.
    """

    rate: float

    def __post_init__(self) -> None:
        demand(0 <= self.rate < inf, "the rate of decay", self.rate, "a finite number of at least 0")

    def __call__(self, u: Array, x: Array, state: State, step: int) -> tuple[Array, State]:
        """Two passes."""
        u += self.rate * x
        return u, state


@dataclass(frozen=True)
class ClipNorm(Transform):
    """u shortened to Euclidean length ``limit`` where it is longer.

    Pascanu, Mikolov, Bengio, On the difficulty of training recurrent neural networks, ICML 2013, algorithm 1. Raises
    UsageError unless 0 < limit < infinity. Vectors that are not finite do not become so.
    """

    limit: float

    def __post_init__(self) -> None:
        demand(0 < self.limit < inf, "the longest step", self.limit, "a finite number above 0")

    def __call__(self, u: Array, x: Array, state: State, step: int) -> tuple[Array, State]:
        """One pass, and one more where u is too long."""
        with np.errstate(over="ignore"):
            size = length(u)
        if isinf(size):  # the squares overflowed, or u did
            u /= abs(u).max()
            size = length(u)
            u *= self.limit / size
        elif size > self.limit:
            u *= self.limit / size
        return u, state


@dataclass(frozen=True)
class Prox(Transform):
    """u <- prox(x + u, schedule(step)) - x, last in a chain: the forward-backward step.

    prox : (z, step) -> argmin_x penalty(x) + |x - z|^2 / (2 step), as a Penalty has it; schedule : that of the Scale before.
    Beck and Teboulle, A fast iterative shrinkage-thresholding algorithm, 2009, eq. 2.3. Zeros of the prox arrive as zeros.
    """

    prox: Callable[[Array, float], Array]
    schedule: Schedule

    def __call__(self, u: Array, x: Array, state: State, step: int) -> tuple[Array, State]:
        """Two passes and a prox."""
        u += x
        return namespace(u).subtract(self.prox(u, self.schedule(step)), x, out=u), state
