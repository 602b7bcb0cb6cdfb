"""Steps of matrices whose singular values are all about 1.

    NesterovMean     m <- b m + (1 - b) g;  u <- (1 - b) g + b m
    NewtonSchulz     u <- sqrt(max(1, rows / columns)) (the iteration)(u)
    Muon             both, Decay and Scale for every matrix; another rule for the rest

Jordan, Jin, Boza, You, Cecista, Newhouse, Bernstein, Muon: an optimizer for hidden layers in neural networks, 2024, as in the
authors' code (KellerJordan/Muon, muon.py), in the type of x rather than in bfloat16.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod, sqrt

import numpy as np

from mpiopt.arrays import Array, Shaped, namespace
from mpiopt.kernels.replicated import length, product
from mpiopt.numerics.schedules import demand
from mpiopt.transforms.lion import FadingMean
from mpiopt.transforms.side_by_side import Choosing
from mpiopt.transforms.transform import Transform, chain

QUINTIC = (3.4445, -4.7750, 2.0315)  # the authors' coefficients, of largest slope at 0
# what the authors leave to AdamW beside vectors: embeddings and the output, by the usual names and those of our own gpt
OUTSIDE = ("*emb*", "*wte*", "*wpe*", "*head*", "*tokens*", "*places*")


@dataclass(frozen=True)
class NesterovMean(Transform):
    """A fading mean of gradients, the last one counted twice. Raises UsageError unless 0 <= b < 1."""

    b: float = 0.95

    def __post_init__(self) -> None:
        demand(0 <= self.b < 1, "gamma", self.b, "a number from 0 to below 1")

    def init(self, x: Array) -> FadingMean:
        """m = 0."""
        return FadingMean(namespace(x).zeros_like(x))

    def __call__(self, u: Array, x: Array, state: FadingMean, step: int) -> tuple[Array, FadingMean]:
        """Four passes."""
        m = state.m
        u *= 1 - self.b
        m *= self.b
        m += u
        u += self.b * m
        return u, state


@dataclass(frozen=True)
class NewtonSchulz(Transform):
    """u, a matrix of ``rows`` rows, with its singular values brought near 1 (to between 0.7 and 1.2) by ``steps`` steps.

    replicated : whether all ranks make this step and have to find the same bits on unlike CPUs, where BLAS does not.
    """

    rows: int
    steps: int = 5
    replicated: bool = False

    def __call__(self, u: Array, x: Array, state: tuple[()], step: int) -> tuple[Array, tuple[()]]:
        """15 products of matrices."""
        m = u.reshape(self.rows, -1)
        wide = m.shape[0] <= m.shape[1]
        y = (m if wide else m.T) / u.dtype.type(length(u) + 1e-7)
        times: Callable[[Array, Array], Array] = (
            product if self.replicated and isinstance(u, np.ndarray) else namespace(u).matmul
        )
        a, b, c = (u.dtype.type(value) for value in QUINTIC)
        for _ in range(self.steps):
            gram = times(y, y.T)
            y = a * y + times(b * gram + c * times(gram, gram), y)
        gain = sqrt(max(1.0, m.shape[0] / m.shape[1]))
        m[:] = (y if wide else y.T) * u.dtype.type(gain)
        return u, state


@dataclass(frozen=True)
class Muon(Choosing):
    """For each hidden matrix the mean, made orthogonal, then ``tail``; ``rest`` for vectors, embeddings and outputs.

    A block of more than two axes is a matrix of its first axis against the others. What is hidden is told by the name.
    """

    tail: Transform
    gamma: float = 0.95
    steps: int = 5

    def __post_init__(self) -> None:
        demand(self.steps >= 1, "steps", self.steps, "at least 1")
        NesterovMean(self.gamma)

    def pick(self, block: Shaped, replicated: bool) -> Transform:
        """See the class."""
        rows, columns = (*block.shape[:1], prod(block.shape[1:])) if len(block.shape) > 1 else (1, 1)
        if min(rows, columns) < 2 or any(fnmatchcase(block.name.lower(), pattern) for pattern in OUTSIDE):
            return self.rest
        return chain(NesterovMean(self.gamma), NewtonSchulz(rows, self.steps, replicated), self.tail)
