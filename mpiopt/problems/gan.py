"""A small generative adversarial network as a game: a generator of points in the plane against who tells them from real ones.

    f(x, y) = mean log D_y(real_i) + log(1 - D_y(G_x(noise_i))),      minimised over x, maximised over y

Both are perceptrons with tanh, D's output through a logistic function. Goodfellow, Pouget-Abadie, Mirza, Xu, Warde-Farley,
Ozair, Courville, Bengio, Generative adversarial nets, NIPS 2014. No such F is monotone, nor is its Lipschitz constant known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf, sqrt
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.problems.operators import Rowed
from mpiopt.problems.problem import Point

MODES = 8  # of the mixture, on the unit circle
Layers = list[Array]  # (out, in + 1) each, the biases last


@dataclass(frozen=True, eq=False)
class Adversaries(Rowed):
    """The operator of rows (real_i, noise_i); real : (rows, 2), noise : (rows, k). hidden : widths of both networks."""

    real: Array
    noise: Array
    hidden: tuple[int, ...]
    lipschitz: ClassVar[float] = inf

    @property
    def rows(self) -> int:  # type: ignore[override]
        """Rows of this worker."""
        return len(self.real)

    @property
    def generator(self) -> tuple[int, ...]:
        """Widths of the generator's layers."""
        return self.noise.shape[1], *self.hidden, self.real.shape[1]

    @property
    def judge(self) -> tuple[int, ...]:
        """Widths of the other's."""
        return self.real.shape[1], *self.hidden, 1

    @property
    def first(self) -> int:
        """The generator's parameters."""
        return count(self.generator)

    @property
    def dim(self) -> int:
        """Those of both."""
        return count(self.generator) + count(self.judge)

    def field(self, at: Point, rows: Array | None = None) -> Array:
        """See `Operator.field`."""
        real, noise = (self.real, self.noise) if rows is None else (self.real[rows], self.noise[rows])
        made, judged = layers(at.x[: self.first], self.generator), layers(at.x[self.first :], self.judge)
        points = outputs(made, noise)
        false, true = outputs(judged, points[-1]), outputs(judged, real)
        n = max(len(real), 1)
        against, back = slopes(judged, false, -_logistic(false[-1]) / n)
        along, _ = slopes(judged, true, (1 - _logistic(true[-1])) / n)
        return np.concatenate([slopes(made, points, back)[0], -(against + along)])

    def part(self, lo: int, hi: int) -> "Adversaries":
        """The rows lo <= i < hi, views."""
        return Adversaries(self.real[lo:hi], self.noise[lo:hi], self.hidden)

    def generated(self, x: Array, noise: Array) -> Array:
        """Points of the generator of x (dim,) from noise (n, k): (n, 2)."""
        return outputs(layers(x[: self.first], self.generator), noise)[-1]


def mixture(stream: np.random.Generator, samples: int, spread: float) -> Array:
    """Points (samples, 2) about `MODES` places of the unit circle."""
    return centres()[stream.integers(MODES, size=samples)] + spread * stream.standard_normal((samples, 2))


def centres() -> Array:
    """The places, (MODES, 2)."""
    turns = 2 * np.pi * np.arange(MODES) / MODES
    return np.stack([np.cos(turns), np.sin(turns)], axis=1)


def begun(stream: np.random.Generator, widths: Sequence[int]) -> Array:
    """Normal weights over the root of the inputs, biases 0; (count,)."""
    each = [np.pad(stream.standard_normal((o, i)) / sqrt(i), ((0, 0), (0, 1))) for i, o in pairwise(widths)]
    return np.concatenate([one.ravel() for one in each])


def count(widths: Sequence[int]) -> int:
    """Parameters of a perceptron."""
    return sum((i + 1) * o for i, o in pairwise(widths))


def layers(x: Array, widths: Sequence[int]) -> Layers:
    """Views of x (count,) by layer."""
    ends = np.cumsum([0] + [(i + 1) * o for i, o in pairwise(widths)])
    return [x[ends[k] : ends[k + 1]].reshape(o, -1) for k, o in enumerate(widths[1:])]


def outputs(found: Layers, x: Array) -> list[Array]:
    """What goes into every layer, and what comes out of the last; x (n, in)."""
    through = [x]
    for k, layer in enumerate(found, 1):
        x = x @ layer[:, :-1].T + layer[:, -1]
        x = x if k == len(found) else np.tanh(x)
        through.append(x)
    return through


def slopes(found: Layers, through: list[Array], slope: Array) -> tuple[Array, Array]:
    """The gradients by the parameters (count,) and by the inputs (n, in), from that by the outputs (n, out)."""
    each: list[Array] = []
    for k in reversed(range(len(found))):
        if k < len(found) - 1:
            slope = slope * (1 - through[k + 1] ** 2)
        each.insert(0, np.column_stack([slope.T @ through[k], slope.sum(axis=0)]).ravel())
        slope = slope @ found[k][:, :-1]
    return np.concatenate(each), slope


def _logistic(m: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(m, -700, 700)))
