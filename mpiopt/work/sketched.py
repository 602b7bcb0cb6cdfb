"""Gradients of a loss seen through random masks: f(v + S (x - v)), whose mean over S is what is minimised.

SketchedGradient(law)          grad f at v + S (x - v)                                              MAST
SketchedDifference(law, coin)  the same less that at an anchor, under one mask; whole at heads      L-SVRDSG

The mask is applied once more on the way to the others (`mpiopt.exchange.slices`), which makes it S^T grad f(v + S (x - v)),
the unbiased gradient of that mean. Demidovich, Malinovsky, Shulgin, Richtarik, MAST: model-agnostic sparsified training,
ICLR 2025, algorithms 1 and 2.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.compress.masks import Mask, Parts, shown, times
from mpiopt.engine.phase import Local, Work
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.sampling.coin import Coin
from mpiopt.work.log import Log, sampled, slope


class Sketching(NamedTuple):
    """What a worker keeps that looks through masks."""

    log: Log
    shift: Array | float  # v


class Anchoring(NamedTuple):
    """What it keeps that also has an anchor."""

    log: Log
    shift: Array | float
    anchor: Array  # w, (dim,)


@dataclass(frozen=True)
class SketchedGradient(Work):
    """The gradient over a sample at v + S (x - v); scalars: the running loss.

    start : v is where the run starts (a trained point), else 0.
    """

    law: Mask
    start: bool = False

    def init(self, x: Array, site: Site) -> Sketching:
        """Before the first sample."""
        return Sketching(Log.blank(), _shift(x, self.start))

    def __call__(self, at: Point, agreed: Message | None, state: Sketching, here: Local) -> tuple[Point, Message, Sketching]:
        """Not collective."""
        y = sketched(at.x, state.shift, _places(self.law, at.x, here), times(self.law, at.x, here.site.world.workers))
        g, log = sampled(y, state.log, here)
        return at, Message(g, np.array([log.loss])), state._replace(log=log)


@dataclass(frozen=True)
class SketchedDifference(Work):
    """grad f(v + S (x - v)) - grad f(v + S (w - v)) over one sample; where the coin shows heads w becomes x, and the message is
    the mean over all parts and rows of S grad f(v + S (w - v)).
    """

    law: Parts
    coin: Coin
    start: bool = False

    def init(self, x: Array, site: Site) -> Anchoring:
        """Anchored at x, which the first heads put right."""
        return Anchoring(Log.blank(), _shift(x, self.start), x.copy())

    def __call__(self, at: Point, agreed: Message | None, state: Anchoring, here: Local) -> tuple[Point, Message, Anchoring]:
        """Not collective."""
        x, gain = at.x, times(self.law, at.x, here.site.world.workers)
        places = _places(self.law, x, here)
        g, log = sampled(sketched(x, state.shift, places, gain), state.log, here)
        if self.coin(here.site.streams, here.round):
            state = state._replace(anchor=x.copy())
            g = self._whole(state, gain, here)
        else:
            g -= slope(sketched(state.anchor, state.shift, places, gain), here.site, here.site.sample(state.log.steps))[1]
        return at, Message(g, np.array([log.loss])), state._replace(log=log)

    def _whole(self, state: Anchoring, gain: float, here: Local) -> Array:
        """The gradient of the mean over all parts of this worker's loss, at the anchor."""
        w, g = state.anchor, namespace(state.anchor).zeros_like(state.anchor)
        for part in self.law.family(w.size):
            places = namespace(w).asarray(part)
            g[places] = slope(sketched(w, state.shift, places, gain), here.site, None)[1][places]  # gain / parts is 1
        return g


def sketched(x: Array, shift: Array | float, places: Array, gain: float) -> Array:
    """v + S (x - v), (dim,), a new array."""
    y = namespace(x).zeros_like(x) + shift
    y[places] += gain * (x[places] - y[places])
    return y


def _shift(x: Array, start: bool) -> Array | float:
    return x.copy() if start else 0.0


def _places(law: Mask, x: Array, here: Local) -> Array:
    return shown(law, x, here.site.streams, here.round, here.site.worker, here.site.world.workers)
