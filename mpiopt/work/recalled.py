"""Works of nodes that remember one vector of the step before, so that unlike losses leave no bias.

    Extra()      x <- x + heard x - s - rest,   rest = (x + heard x) / 2 - s of before       says x
    Doubled()    says 2 x - s - (last x - last s), and goes to what is heard of that         D^2

s is the gradient times the step. Both are exact at points where all nodes are alike and their gradients add up to 0.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.phase import Local
from mpiopt.problems.problem import Message, Point
from mpiopt.work.log import Log
from mpiopt.work.node import Sloping


class Recalled(NamedTuple):
    """What one worker remembers."""

    log: Log
    scale: float
    rest: Array | None = None  # of the step before, (dim,)


@dataclass(frozen=True)
class Extra(Sloping[Recalled]):
    """Shi, Ling, Wu, Yin, EXTRA: an exact first-order algorithm for decentralized consensus optimization, 2015, algorithm 1,
    with (I + W) / 2 as its second matrix."""

    kept: type[Recalled] = Recalled

    def __call__(self, at: Point, agreed: Message | None, state: Recalled, here: Local) -> tuple[Point, Message, Recalled]:
        """One gradient. Not collective."""
        x, slope, log = at.x, *self.slope(at.x, state, here)
        heard = x.copy() if agreed is None else agreed.vector  # all are alike at first
        rest = (x + heard) / 2 - slope
        x[:] = heard - slope if state.rest is None else x + heard - slope - state.rest
        return at._replace(loss=log.loss), Message(x, np.array([log.loss])), state._replace(log=log, rest=rest)


@dataclass(frozen=True)
class Doubled(Sloping[Recalled]):
    """Tang, Lian, Yan, Zhang, Liu, D2: decentralized training over decentralized data, ICML 2018, algorithm 1."""

    kept: type[Recalled] = Recalled

    def __call__(self, at: Point, agreed: Message | None, state: Recalled, here: Local) -> tuple[Point, Message, Recalled]:
        """One gradient. Not collective."""
        x = at.x
        if agreed is not None:
            x[:] = agreed.vector
        slope, log = self.slope(x, state, here)
        rest = x - slope
        said = rest if state.rest is None else rest + (x - state.rest)
        return at._replace(loss=log.loss), Message(said, np.array([log.loss])), state._replace(log=log, rest=rest)
