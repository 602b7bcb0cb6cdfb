"""Local steps of a rule between two agreements.

Either the worker has a point of its own that it moves (``own``), and says where it is; or all workers start a round from
a common point, work on a copy, and say how far they came, as a gradient for an outer rule.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array, pull
from mpiopt.engine.phase import Local, Tree
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.problems.protocols import Loss, Seated, offers
from mpiopt.sampling.clients import EVERYONE, Clients
from mpiopt.sampling.pace import Pace, Period
from mpiopt.transforms.transform import Transform
from mpiopt.work.drift import Free
from mpiopt.work.log import Log, sampled


@dataclass(frozen=True)
class Steps:
    """x <- x + rule(gradient over a sample + correction), so many times as ``pace`` says; scalars: the running loss.

    own : whether a worker keeps its point from round to round. reset : begin every round with the rule's first state.
    clients : the others of a round make no step, and their message is 0.
    """

    needs: ClassVar[type] = Loss
    rule: Transform
    pace: Pace = field(default_factory=Period)
    drift: Free = field(default_factory=Free)
    own: bool = False
    reset: bool = False
    clients: Clients = EVERYONE

    def init(self, x: Array, site: Site) -> Tree:
        """(log, the rule's state, the correction's memory)."""
        return Log.blank(), self.rule.init(x), self.drift.init(x, site)

    def __call__(self, at: Point, agreed: Message | None, state: Tree, here: Local) -> tuple[Point, Message, Tree]:
        """Not collective, but for the first call with `Tickets`."""
        log, inner, memory = state
        first, start = log.steps, at.x
        memory = self.drift.begin(start, agreed, memory, here)
        x = at.x if self.own else desk(here.site.loss, start)
        inner = self.rule.init(x) if self.reset else inner
        for _ in self.pace(here.site, here.round) if self._present(here) else ():
            look = self.rule.look(x, inner)
            g, log = sampled(look, log, here)
            self.drift.bend(g, look, memory)
            inner = self.rule.move(g, x, inner, log.steps - 1)
            memory = self.drift.after(x, memory)
        vector = x
        if not self.own:
            vector, memory = self.drift.tell(start, x, range(first, log.steps), memory)
        return at._replace(loss=log.loss), Message(vector, np.array([log.loss])), (log, inner, memory)

    def _present(self, here: Local) -> bool:
        site = here.site
        return self.clients.all or bool(self.clients(site.world.workers, site.streams, here.round)[site.worker])


@dataclass(frozen=True)
class Minibatch:
    """One gradient over a sample at the common point; scalars: the running loss."""

    needs: ClassVar[type] = Loss

    def init(self, x: Array, site: Site) -> Tree:
        """(log,)."""
        return (Log.blank(),)

    def __call__(self, at: Point, agreed: Message | None, state: Tree, here: Local) -> tuple[Point, Message, Tree]:
        """Not collective."""
        g, log = sampled(at.x, state[0], here)
        return at, Message(g, np.array([log.loss])), (log,)


@dataclass(frozen=True)
class Pulled:
    """x <- x + strength (agreed - x), then says where it is and its running loss: between two levels of agreement."""

    needs: ClassVar[type] = Loss
    strength: float = 1.0

    def init(self, x: Array, site: Site) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, at: Point, agreed: Message | None, state: Tree, here: Local) -> tuple[Point, Message, Tree]:
        """Not collective."""
        if agreed is not None:
            pull(at.x, agreed.vector, self.strength)
        return at, Message(at.x, np.array([at.loss])), state


def desk(loss: Loss, start: Array) -> Array:
    """Where a worker moves a copy of ``start``: the model's own memory, or a new array."""
    if not offers(loss, Seated):
        return start.copy()
    loss.x[:] = start
    return loss.x
