"""Works of methods whose workers are nodes of a graph, each at a point of its own.

    Walk(rule)      x <- x + rule(gradient), said where that leads                          as CHOCO-SGD and D-PSGD are closed
    Mixed()         a correction of `Walk`: x <- heard + rule(gradient at x)                D-PSGD
    Tracking()      x <- heard x - y,  y <- heard y + the change of the gradient            DIGing

A worker's loss counts n times its share, so that the plain mean over the n nodes is the objective whatever rows they have.
Every gradient is multiplied by that, and by the step where the method finds one.
"""

from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.engine.phase import Local, Work
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.work.drift import Free
from mpiopt.work.log import Log, sampled
from mpiopt.work.steps import Stepping, Steps


class Stepped(Protocol):
    """A work that is told what its method has found."""

    def stepped(self, state: Any, found: Any, /) -> Any:
        """The state before the first round, for a step, or for all parameters."""


class Weight(NamedTuple):
    """What a worker's gradients are multiplied by, and where its next step is pulled (dim,)."""

    scale: float
    pull: Array | None = None


@dataclass(frozen=True)
class Weighed(Free):
    """The gradient, multiplied by what the worker counts for."""

    def init(self, x: Array, site: Site) -> Weight:
        """n times its share."""
        return Weight(site.world.workers * site.share)

    def bend(self, g: Array, x: Array, memory: Weight) -> None:
        """scale g."""
        g *= memory.scale


@dataclass(frozen=True)
class Mixed(Weighed):
    """x <- x + (heard - x) + the step, whose gradient is that at x."""

    def begin(self, x: Array, agreed: Message | None, memory: Weight, here: Local) -> Weight:
        """How far what was heard is away."""
        return memory._replace(pull=None if agreed is None else agreed.vector - x)

    def after(self, x: Array, memory: Weight) -> Weight:
        """The pull, with the first step."""
        if memory.pull is not None:
            x += memory.pull
        return memory._replace(pull=None)


@dataclass(frozen=True)
class Walk(Steps):
    """Steps of a node."""

    drift: Free = field(default_factory=Weighed)

    def stepped(self, state: Stepping, step: float) -> Stepping:
        """The state before the first round, for a step that the method has found."""
        return state._replace(drift=state.drift._replace(scale=step * state.drift.scale))


class Tracked(NamedTuple):
    """What one worker knows of the mean gradient."""

    log: Log
    scale: float
    slope: Array | None = None  # scale times its gradient at its point, (dim,)
    track: Array | None = None  # y, whose mean over the workers is that of their slopes, (dim,)


S = TypeVar("S", bound=Any)  # a NamedTuple that begins with a log and what gradients are multiplied by


@dataclass(frozen=True)
class Sloping(Work, Generic[S]):
    """A work that takes one gradient a round, times what the worker counts for and the step. kept : what it keeps."""

    kept: type[S]

    def init(self, x: Array, site: Site) -> S:
        """Before the first gradient."""
        return self.kept(Log.blank(), site.world.workers * site.share)

    def stepped(self, state: S, step: float) -> S:
        """See `Walk.stepped`."""
        return state._replace(scale=step * state.scale)

    def slope(self, x: Array, state: S, here: Local) -> tuple[Array, Log]:
        """The gradient at x (dim,), multiplied, and the log with it. Not collective."""
        slope, log = sampled(x, state.log, here)
        slope *= state.scale
        return slope, log


@dataclass(frozen=True)
class Tracking(Sloping[Tracked]):
    """Gradient tracking; says x and y, 2 dim numbers.

    Nedic, Olshevsky, Shi, Achieving geometric convergence for distributed optimization over time-varying graphs, 2017,
    algorithm 1 (DIGing), with the step inside of y.
    """

    kept: type[Tracked] = Tracked

    def __call__(self, at: Point, agreed: Message | None, state: Tracked, here: Local) -> tuple[Point, Message, Tracked]:
        """One gradient. Not collective."""
        x, d = at.x, at.x.size
        if agreed is not None:
            x[:] = agreed.vector[:d] - state.track
        slope, log = self.slope(x, state, here)
        if agreed is None or state.slope is None:
            track = slope.copy()
        else:
            track = agreed.vector[d:] + (slope - state.slope)
        message = Message(namespace(x).concatenate([x, track]), np.array([log.loss]))
        return at._replace(loss=log.loss), message, Tracked(log, state.scale, slope, track)
