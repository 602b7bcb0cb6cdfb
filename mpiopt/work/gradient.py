"""Gradient: evaluate one worker's loss at the point; the value rides with the gradient."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.phase import Local, Tree
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.problems.protocols import Loss


@dataclass(frozen=True)
class Gradient:
    """message = (grad f_w(x), [f_w(x)]); the point keeps the gradient as its slope."""

    needs: ClassVar[type] = Loss

    def init(self, x: Array, site: Site) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, at: Point, agreed: Message | None, state: Tree, here: Local) -> tuple[Point, Message, Tree]:
        """One pass over the rows."""
        value, slope = here.site.loss.value_grad(at)
        return at._replace(slope=slope), Message(slope, np.array([value])), state
