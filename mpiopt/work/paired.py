"""Local steps between agreements with one other worker alone, and a slow point with momentum that they lead."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.engine.phase import Local, Tree
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.transforms.transform import State
from mpiopt.work.log import Log
from mpiopt.work.node import Walk
from mpiopt.work.steps import Stepping


class Paired(NamedTuple):
    """What a worker keeps."""

    log: Log
    rule: State
    drift: Tree
    slow: Array  # phi, (dim,)
    speed: Array  # delta, (dim,)


@dataclass(frozen=True)
class PairedSteps(Walk):
    """phi <- phi + delta, delta <- momentum delta + rate mean went - pull (phi - mean phi), means over those that are heard.

    Then steps from phi; says phi and how far they went, 2 dim numbers. Kolehmainen, Blagoev, Donaghy, Ersoy, Nies, NoLoCo:
    no-all-reduce low communication training method for large models, 2025, section 3, with the mean over two workers.
    """

    momentum: float = 0.5
    rate: float = 0.7
    pull: float = 1.0

    def init(self, x: Array, site: Site) -> Paired:  # type: ignore[override]
        """phi where all begin, at rest."""
        return Paired(*super().init(x, site), x.copy(), namespace(x).zeros_like(x))

    def __call__(  # type: ignore[override]
        self, at: Point, agreed: Message | None, state: Paired, here: Local
    ) -> tuple[Point, Message, Paired]:
        """Not collective."""
        slow, speed, d = state.slow, state.speed, at.x.size
        if agreed is not None:
            speed = self.momentum * speed + self.rate * agreed.vector[d:] - self.pull * (slow - agreed.vector[:d])
            slow = slow + speed
            at.x[:] = slow
        at, _, after = super().__call__(at, None, Stepping(*state[:3]), here)
        said = namespace(slow).concatenate([slow, at.x - slow])
        return at, Message(said, np.array([after.log.loss])), Paired(*after, slow, speed)
