"""Push: steps of nodes of a directed graph, who divide what they have among those that hear them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.engine.phase import Local, Work
from mpiopt.engine.placed import placed
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.transforms.transform import State, Transform
from mpiopt.work.log import Log, sampled


class Pushed(NamedTuple):
    """What a node has: x (dim,), of which its point is x over the mass."""

    log: Log
    scale: float
    rule: State
    x: Array
    mass: float = 1.0


@dataclass(frozen=True)
class Push(Work):
    """x <- heard x, w <- heard w; z = x / w is its point; x <- x + rule(gradient at z). Says x and w, dim + 1 numbers.

    Assran, Loizou, Ballas, Rabbat, Stochastic gradient push for distributed deep learning, ICML 2019, algorithm 1.
    """

    rule: Transform

    def init(self, x: Array, site: Site) -> Pushed:
        """All mass is 1."""
        return Pushed(Log.blank(), site.world.workers * site.share, placed(self.rule, site.loss).init(x), x.copy())

    def stepped(self, state: Pushed, step: float) -> Pushed:
        """See `Walk.stepped`."""
        return state._replace(scale=step * state.scale)

    def __call__(self, at: Point, agreed: Message | None, state: Pushed, here: Local) -> tuple[Point, Message, Pushed]:
        """One gradient. Not collective."""
        x, mass = state.x, state.mass
        if agreed is not None:
            x, mass = agreed.vector[:-1].copy(), float(agreed.vector[-1])
            at.x[:] = x / mass
        rule = placed(self.rule, here.site.loss)
        g, log = sampled(rule.look(at.x, state.rule), state.log, here)
        g *= state.scale
        inner = rule.move(g, x, state.rule, log.steps - 1)
        said = namespace(x).empty(x.size + 1, x.dtype)
        said[:-1], said[-1] = x, mass
        return at._replace(loss=log.loss), Message(said, np.array([log.loss])), Pushed(log, state.scale, inner, x, mass)
