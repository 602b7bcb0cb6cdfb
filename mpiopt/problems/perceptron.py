"""Multilayer perceptrons: h_l = s(W_l^T h_(l-1) + b_l) from a row h_0, the last layer without s, and a loss on its outputs.

x is W_1 (inputs, outputs), b_1 (outputs,), W_2, b_2, ... one after the other. One code for the CPU and for a GPU: the
arrays decide. The rows go through in chunks, all products by BLAS, gradients written where they belong in the flat vector.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, Protocol

import numpy as np

from mpiopt.arrays import Array, is_array, namespace
from mpiopt.errors import UsageError
from mpiopt.problems.buffers import Buffers
from mpiopt.problems.examples import Flat
from mpiopt.problems.heads import CrossEntropy, Head
from mpiopt.problems.model import CHUNK, WIDE, Block, ScoreSums, chunks, split
from mpiopt.problems.optional import Subnetwork
from mpiopt.problems.problem import Point


class Activation(Protocol):
    """s, and the spread of the weights of a layer that ends in it."""

    def apply(self, z: Array) -> None:
        """z becomes s(z)."""

    def pull(self, d: Array, h: Array) -> None:
        """d becomes d s'(z), from h = s(z)."""

    def spread(self, inputs: int, outputs: int) -> float:
        """Standard deviation of the weights at the start."""


class Relu:
    """max(z, 0), whose slope at 0 is 0."""

    def apply(self, z: Array) -> None:
        """See `Activation.apply`."""
        namespace(z).maximum(z, 0, out=z)

    def pull(self, d: Array, h: Array) -> None:
        """See `Activation.pull`."""
        d *= h > 0

    def spread(self, inputs: int, outputs: int) -> float:
        """He, Zhang, Ren, Sun, Delving deep into rectifiers, ICCV 2015, eq. 10."""
        return (2 / inputs) ** 0.5


class Tanh:
    """tanh z."""

    def apply(self, z: Array) -> None:
        """See `Activation.apply`."""
        namespace(z).tanh(z, out=z)

    def pull(self, d: Array, h: Array) -> None:
        """See `Activation.pull`."""
        d *= 1 - h * h

    def spread(self, inputs: int, outputs: int) -> float:
        """Glorot, Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010, eq. 12."""
        return (2 / (inputs + outputs)) ** 0.5


@dataclass(frozen=True)
class Amplified:
    """An activation times a number: of a layer of which some neurons stand for all.

    Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, Dropout, JMLR 2014, section 10 (inverted).
    """

    activation: Activation
    gain: float

    def apply(self, z: Array) -> None:
        """See `Activation.apply`."""
        self.activation.apply(z)
        z *= z.dtype.type(self.gain)

    def pull(self, d: Array, h: Array) -> None:
        """See `Activation.pull`."""
        self.activation.pull(d, h / h.dtype.type(self.gain))
        d *= d.dtype.type(self.gain)

    def spread(self, inputs: int, outputs: int) -> float:
        """See `Activation.spread`."""
        return self.activation.spread(inputs, outputs)


@dataclass(frozen=True, eq=False)
class Perceptron:
    """One worker's rows seen by a perceptron; a `Model`.

    widths : (features, hidden ..., outputs). Raises UsageError for widths that fit neither each other nor the rows,
    DataError for answers that do not fit the outputs. Sparse rows need the CPU.
    """

    data: Flat
    widths: tuple[int, ...]
    activation: Activation = field(default_factory=Relu)
    head: Head = field(default_factory=CrossEntropy)
    buffers: ClassVar[Buffers] = {}

    def __post_init__(self) -> None:
        if len(self.widths) < 2 or min(self.widths) < 1:
            raise UsageError(f"a perceptron of widths {self.widths} cannot be made: give features, hidden widths, outputs")
        if self.widths[0] != self.data.features:
            raise UsageError(
                f"a perceptron of widths {self.widths} was given rows of {self.data.features} features: its first width "
                f"must be {self.data.features}"
            )
        self.head.check(self.data.y, self.widths[-1])

    @property
    def rows(self) -> int:
        """Rows of this worker."""
        return self.data.rows

    @property
    def weight(self) -> float:
        """Every row weighs 1."""
        return float(self.rows)

    @property
    def form(self) -> str:
        """See `Model.form`."""
        return f"{self.widths} {self.activation} {self.head}"

    def flawed(self) -> int | None:
        """See `Model.flawed`."""
        return self.data.flawed()

    @property
    def dim(self) -> int:
        """Weights and biases."""
        return sum((inputs + 1) * outputs for inputs, outputs in pairwise(self.widths))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """weights1, bias1, weights2, ..."""
        return tuple(
            block
            for layer, (inputs, outputs) in enumerate(pairwise(self.widths), 1)
            for block in (Block(f"weights{layer}", (inputs, outputs)), Block(f"bias{layer}", (outputs,)))
        )

    @property
    def hidden(self) -> tuple[int, ...]:
        """See `Divisible.hidden`."""
        return self.widths[1:-1]

    def part(self, kept: Sequence[np.ndarray], gain: float) -> Subnetwork:
        """See `Divisible.part`."""
        ends = [np.arange(self.widths[0]), *kept, np.arange(self.widths[-1])]
        places, at = [], 0
        for (below, above), (inputs, outputs) in zip(pairwise(ends), pairwise(self.widths), strict=True):
            places.append((at + below[:, None] * outputs + above).ravel())
            places.append(at + inputs * outputs + above)
            at += (inputs + 1) * outputs
        smaller = replace(self, widths=tuple(map(len, ends)), activation=Amplified(self.activation, gain))
        return Subnetwork(smaller, np.concatenate(places), lambda: None)

    def point(self, x: Array) -> Point:
        """x (dim,) alone."""
        return Point(x)

    @np.errstate(over="ignore", invalid="ignore")
    def value_grad(self, at: Point, rows: Array | None = None) -> tuple[float, Array]:
        """See `Model.value_grad`."""
        xp, layers = namespace(at.x), split(at.x, self.blocks)
        count = self.rows if rows is None else len(rows)
        value: float | Array = 0.0
        gradient = None
        for inputs, y in self._batches(rows, at.x):
            part = xp.empty_like(at.x)
            value += self._chunk(layers, inputs, y, count, split(part, self.blocks))
            gradient = part if gradient is None else xp.add(gradient, part, out=gradient)
        return float(value) / max(count, 1), xp.zeros_like(at.x) if gradient is None else gradient

    def _batches(self, rows: Array | None, x: Array) -> Iterator[tuple[Array, Array]]:
        """Rows and answers where x is and of its type, chunk by chunk."""
        for cut in chunks(rows, self.rows, CHUNK if isinstance(x, np.ndarray) else WIDE):
            yield self.data.flat(cut, x.dtype)

    def _chunk(self, layers: Sequence[Array], inputs: Array, y: Array, count: int, slopes: Sequence[Array]) -> float | Array:
        """Sum of losses of a chunk; fills ``slopes``, one for each block, with its part of the mean over ``count`` rows."""
        h = [inputs, *self._forward(layers, inputs)]
        value = self.head.value_slopes(h[-1], y)
        d = h.pop()
        d /= count
        for weights, into, bias in zip(layers[-2::-2], slopes[-2::-2], slopes[::-2], strict=True):
            below = h.pop()
            _product(below.T, d, into)
            d.sum(axis=0, out=bias)
            if h:
                d = d @ weights.T
                self.activation.pull(d, below)
        return value

    def _forward(self, layers: Sequence[Array], inputs: Array) -> list[Array]:
        """h_1 to h_L, each (b, width)."""
        out = [inputs]
        for weights, bias in zip(layers[::2], layers[1::2], strict=True):
            if len(out) > 1:
                self.activation.apply(out[-1])
            z = out[-1] @ weights
            z += bias
            out.append(z)
        return out[1:]

    def initial(self, stream: np.random.Generator) -> Array:
        """Normal weights as the activation asks, Glorot's in the last layer, no biases; 0 without hidden layers. float32."""
        x = np.zeros(self.dim, np.float32)
        hidden = len(self.widths) - 2
        for layer, weights in enumerate(split(x, self.blocks)[::2] if hidden else ()):
            spread = (self.activation if layer < hidden else Tanh()).spread(*weights.shape)
            weights[:] = spread * stream.standard_normal(weights.shape)
        return x

    @np.errstate(over="ignore", invalid="ignore")
    def evaluate(self, x: Array, rows: Array | None = None) -> ScoreSums:
        """See `Model.evaluate`."""
        layers = split(x, self.blocks)
        return ScoreSums.total(self._marks(layers, *batch) for batch in self._batches(rows, x))

    @np.errstate(over="ignore", invalid="ignore")
    def outputs(self, x: Array, rows: Array) -> Array:
        """What rows (b, *shape) of any kind give at x (dim,), (b, outputs)."""
        return self._forward(split(x, self.blocks), rows.reshape(len(rows), -1).astype(x.dtype, copy=False))[-1]

    def _marks(self, layers: Sequence[Array], inputs: Array, y: Array) -> tuple[float | Array, int | Array, int]:
        """Sum of losses, right answers and rows of a chunk."""
        z = self._forward(layers, inputs)[-1]
        correct = self.head.correct(z, y)
        return self.head.value_slopes(z, y), correct, len(y)


def _product(a: Array, b: Array, out: Array) -> None:
    """out = a b, from a dense or sparse a."""
    if is_array(a):
        namespace(b).matmul(a, b, out=out)
    else:
        out[:] = a @ b
