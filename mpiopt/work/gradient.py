"""Gradient: evaluate one worker's loss at the point; the value rides with the gradient."""

from dataclasses import dataclass

import numpy as np

from mpiopt.engine.phase import Local, Tree, Work
from mpiopt.problems.problem import Message, Point


@dataclass(frozen=True)
class Gradient(Work):
    """message = (grad f_w(x), [f_w(x)]); the point keeps the gradient as its slope."""

    def __call__(self, at: Point, agreed: Message | None, state: Tree, here: Local) -> tuple[Point, Message, Tree]:
        """One pass over the rows."""
        value, slope = here.site.loss.value_grad(at)
        return at._replace(slope=slope), Message(slope, np.array([value])), state
