"""Hessian: one worker's matrix of second derivatives, as a message; for few features."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array, beside, namespace
from mpiopt.engine.phase import Local, Tree, Work
from mpiopt.problems.problem import Message, Point
from mpiopt.problems.protocols import Columns, Curvature, offers


@dataclass(frozen=True)
class Hessian(Work):
    """message = the upper triangle of H_w(x), row by row, (dim (dim + 1) / 2,); the point keeps the agreed gradient.

    most : coordinates that x may have.
    """

    needs: ClassVar[type] = Curvature
    most: int = 4000

    def __call__(self, at: Point, agreed: Message, state: Tree, here: Local[Curvature]) -> tuple[Point, Message, Tree]:
        """One pass over the rows, each with all pairs of its entries."""
        return at._replace(gradient=agreed.vector), Message(triangle(here.site.loss, at), np.empty(0)), state


def triangle(loss: Curvature, at: Point) -> Array:
    """The upper triangle of a loss's Hessian, row by row; from ``dim`` products where it does not offer its own."""
    if offers(loss, Columns):
        return loss.triangle(at)
    product, xp = loss.hessian(at), namespace(at.x)
    rows = []
    for j in range(loss.dim):
        unit = beside(at.x, loss.dim, 0)
        unit[j] = 1
        rows.append(product(unit)[j:])
    return xp.concatenate(rows)
