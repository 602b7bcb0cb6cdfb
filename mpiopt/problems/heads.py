"""What becomes of a model's outputs z : (b, outputs) and the answers y of b rows: losses, slopes, right or wrong.

CrossEntropy   log sum_c exp(z_c) - z_y,   slopes softmax(z) - e_y;    y : (b,) class numbers
Squares        |z - y|^2 / 2,              slopes z - y;               y : (b, outputs), or (b,) for one output
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.errors import DataError


class Head(Protocol):
    """The loss of one row, for many at once. Not collective."""

    def check(self, y: Array, outputs: int) -> None:
        """Raises DataError unless y can be answers to a model of so many outputs."""

    def value_slopes(self, z: Array, y: Array) -> float | Array:
        """Sum of losses, in double precision; z becomes the derivatives. On a GPU an array without axes, still to come."""

    def correct(self, z: Array, y: Array) -> int | Array:
        """Rows answered rightly, all answers of a row being right; on a GPU an array without axes."""


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of the classes under the softmax of the outputs; right is the largest output."""

    def check(self, y: Array, outputs: int) -> None:
        """Class numbers 0 to outputs - 1."""
        if y.ndim != 1 or y.dtype.kind not in "iu":
            raise DataError(f"answers of type {y.dtype} and shape {y.shape} are no class numbers: give one integer a row")
        if y.size and not 0 <= int(y.min()) <= int(y.max()) < outputs:
            raise DataError(
                f"the rows have class numbers {int(y.min())} to {int(y.max())}, but a model of {outputs} outputs takes 0 to "
                f"{outputs - 1}: give it one output for each class"
            )

    def value_slopes(self, z: Array, y: Array) -> float | Array:
        """See `Head.value_slopes`; no exponent is positive, so that nothing overflows."""
        xp = namespace(z)
        z -= z.max(axis=1, keepdims=True)
        answers = (xp.arange(len(y)), y)
        right = z[answers]
        xp.exp(z, out=z)
        total = z.sum(axis=1, keepdims=True)
        z /= total
        z[answers] -= 1
        return xp.log(total).sum(dtype=np.float64) - right.sum(dtype=np.float64)

    def correct(self, z: Array, y: Array) -> int | Array:
        """See `Head.correct`."""
        return (z.argmax(axis=1) == y).reshape(len(y), -1).all(axis=1).sum()


@dataclass(frozen=True)
class Squares:
    """Half the squared distance; right is a row with no output further than 1/2 away."""

    def check(self, y: Array, outputs: int) -> None:
        """Numbers, one for each output."""
        if y.shape[1:] != (outputs,) and not (y.ndim == outputs == 1):
            raise DataError(f"answers of shape {y.shape} do not fit a model of {outputs} outputs: give one number for each")

    def value_slopes(self, z: Array, y: Array) -> float | Array:
        """See `Head.value_slopes`."""
        z -= y.reshape(z.shape)
        flat = z.reshape(-1).astype(np.float64, copy=False)
        return 0.5 * (flat @ flat)

    def correct(self, z: Array, y: Array) -> int | Array:
        """See `Head.correct`."""
        return (abs(z - y.reshape(z.shape)) < 0.5).reshape(len(y), -1).all(axis=1).sum()
