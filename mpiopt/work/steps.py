"""Local steps of a rule between two agreements.

Either the worker has a point of its own (as its method says) that it moves, and says where it is; or all workers start a
round from a common point, work on a copy, and say how far they came, as a gradient for an outer rule.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, pull
from mpiopt.engine.phase import Local, Tree, Work
from mpiopt.engine.placed import placed
from mpiopt.problems.optional import Seated
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.problems.protocols import Loss, offers
from mpiopt.sampling.pace import Pace, Period
from mpiopt.transforms.transform import State, Transform
from mpiopt.work.drift import Free
from mpiopt.work.log import Log, sampled


class Stepping(NamedTuple):
    """What a worker keeps between rounds of steps."""

    log: Log
    rule: State
    drift: Tree


class Looking(NamedTuple):
    """What a worker keeps that looks at samples alone."""

    log: Log


@dataclass(frozen=True)
class Steps(Work):
    """x <- x + rule(gradient over a sample + correction), so many times as ``pace`` says; scalars: the running loss,
    and those of the correction.

    reset : begin every round with the rule's first state. Workers that do not take part in a round make no step, and say 0.
    """

    rule: Transform
    pace: Pace = field(default_factory=Period)
    drift: Free = field(default_factory=Free)
    reset: bool = False

    def init(self, x: Array, site: Site) -> Stepping:
        """Before the first step."""
        return Stepping(Log.blank(), placed(self.rule, site.loss).init(x), self.drift.init(x, site))

    def __call__(self, at: Point, agreed: Message | None, state: Stepping, here: Local) -> tuple[Point, Message, Stepping]:
        """Not collective, but for the first call with `Tickets`."""
        log, inner, memory = state
        rule = placed(self.rule, here.site.loss)
        first, start = log.steps, at.x
        memory = self.drift.begin(start, agreed, memory, here)
        x = at.x if here.own else desk(here.site.loss, start)
        inner = rule.init(x) if self.reset else inner
        for _ in self.pace(here.site, here.round) if here.present else ():
            look = rule.look(x, inner)
            g, log = sampled(look, log, here)
            self.drift.bend(g, look, memory)
            inner = rule.move(g, x, inner, log.steps - 1)
            memory = self.drift.after(x, memory)
        if here.own:
            vector = self.drift.say(x, memory)
        else:
            vector, memory = self.drift.tell(start, x, range(first, log.steps), memory)
        scalars = np.array([log.loss, *self.drift.scalars(memory)])
        return at._replace(loss=log.loss), Message(vector, scalars), Stepping(log, inner, memory)

    def steps_in(self, round: int) -> float:  # noqa: A002 - the field's word
        """As many as the pace expects."""
        return float(self.pace.expected(round))


@dataclass(frozen=True)
class Minibatch(Work):
    """One gradient over a sample at the common point; scalars: the running loss."""

    def init(self, x: Array, site: Site) -> Looking:
        """Before the first sample."""
        return Looking(Log.blank())

    def __call__(self, at: Point, agreed: Message | None, state: Looking, here: Local) -> tuple[Point, Message, Looking]:
        """Not collective."""
        g, log = sampled(at.x, state.log, here)
        return at, Message(g, np.array([log.loss])), state._replace(log=log)


@dataclass(frozen=True)
class Pulled(Work):
    """x <- x + strength (agreed - x), then says where it is and its running loss: between two levels of agreement."""

    strength: float = 1.0

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
