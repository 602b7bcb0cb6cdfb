"""A bounded penalty that makes a loss nonconvex: f_w(x) + lambda sum_j x_j^2 / (1 + x_j^2).

With the logistic loss it is the usual nonconvex test problem of classification: small weights feel a ridge of curvature
2 lambda, large ones are left alone. It is no `Penalty`, since those are convex and have a prox; a wrapper of any smooth
loss serves every method that looks at gradients, minibatches of rows included.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.problems.buffers import Buffers
from mpiopt.problems.model import Block, Model, ScoreSums
from mpiopt.problems.problem import Point
from mpiopt.problems.protocols import Curvature, offers
from mpiopt.problems.wrapped import Wrapped

TWICE = ("hessian", "diagonal")
BESIDE = ("restore", "settled", "around", "reseed", "flawed")


@dataclass(frozen=True)
class Curved(Wrapped):
    """``loss`` and the penalty, the same on every worker. What it offers beyond value and gradient is what the loss offers.

    strength : lambda. free : trailing coordinates that are left alone. Raises UsageError for a negative lambda.
    """

    loss: Model
    strength: float
    free: int = 0

    def __post_init__(self) -> None:
        if not (self.strength >= 0 and np.isfinite(self.strength)):
            raise UsageError(f"lambda is {self.strength:g}: give a finite number that is not negative")

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Those of the loss."""
        return self.loss.blocks

    @property
    def buffers(self) -> Buffers:
        """Those of the loss."""
        return self.loss.buffers

    @property
    def form(self) -> str:
        """See `Model.form`."""
        return f"{self.loss.form} {self.strength} {self.free}"

    def __getattr__(self, name: str) -> Any:
        """What training may ask of the loss besides, where the loss offers it."""
        if name in BESIDE:
            return getattr(self.loss, name)
        if name in TWICE and offers(self.loss, Curvature):
            return partial(getattr(self, f"_{name}"), self.loss)
        raise AttributeError(f"{type(self).__name__} has no {name}")

    def point(self, x: Array) -> Point:
        """x with what the loss keeps beside it."""
        return self.loss.point(x)

    def penalty(self, x: Array) -> float:
        """lambda sum_j x_j^2 / (1 + x_j^2)."""
        squares = self._bent(x) ** 2
        return self.strength * float((squares / (1 + squares)).sum())

    def value_grad(self, at: Point, rows: Array | None = None) -> tuple[float, Array]:
        """See `Model.value_grad`; the penalty is whole for any number of rows. Its slope is 2 lambda x / (1 + x^2)^2."""
        value, gradient = self.loss.value_grad(at, rows)
        x = self._bent(at.x)
        gradient[: x.size] += 2 * self.strength * x / (1 + x * x) ** 2
        return value + self.penalty(at.x), gradient

    def _hessian(self, loss: Curvature, at: Point) -> Callable[[Array], Array]:
        """The map v -> H v."""
        inner, curvature = loss.hessian(at), self._curvature(at.x)

        def product(v: Array) -> Array:
            out = inner(v)
            out[: curvature.size] += curvature * v[: curvature.size]
            return out

        return product

    def _diagonal(self, loss: Curvature, at: Point) -> Array:
        """The diagonal of the Hessian, (dim,); it may be negative."""
        out, curvature = loss.diagonal(at), self._curvature(at.x)
        out[: curvature.size] += curvature
        return out

    def initial(self, stream: np.random.Generator) -> Array:
        """The start of the loss."""
        return self.loss.initial(stream)

    def evaluate(self, x: Array, rows: Array | None = None) -> ScoreSums:
        """The score of the loss."""
        return self.loss.evaluate(x, rows)

    def _curvature(self, x: Array) -> Array:
        """2 lambda (1 - 3 x^2) / (1 + x^2)^3."""
        squares = self._bent(x) ** 2
        return 2 * self.strength * (1 - 3 * squares) / (1 + squares) ** 3

    def _bent(self, x: Array) -> Array:
        return x[: x.size - self.free]
