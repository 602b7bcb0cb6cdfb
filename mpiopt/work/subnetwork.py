"""Local steps of a worker on its part of a network."""

from dataclasses import dataclass, replace

import numpy as np

from mpiopt.arrays import namespace
from mpiopt.engine.phase import Local, Work
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.problems.subnetworks import hidden, part
from mpiopt.sampling.neurons import neurons
from mpiopt.work.steps import Stepping, Steps, desk


@dataclass(frozen=True)
class OnPart(Work):
    """``steps`` on the network of this worker's neurons of the round, whose x is then put back into its own point.

    The partition is another in every round, so the steps have to begin anew each time. Without hidden layers the steps are on
    the whole.
    """

    steps: Steps

    def init(self, x: np.ndarray, site: Site) -> Stepping:
        """Before the first step. Raises UsageError for layers too narrow to be divided."""
        neurons(hidden(site.loss), site.world.workers, site.streams, 0)
        return self.steps.init(x[:0], site)

    def __call__(self, at: Point, agreed: object, state: Stepping, here: Local) -> tuple[Point, Message, Stepping]:
        """Not collective; moves the worker's own point."""
        site, workers = here.site, here.site.world.workers
        if not here.present:
            return at, Message(at.x, np.array([state.log.loss])), state
        own = neurons(hidden(site.loss), workers, site.streams, here.round)[site.worker]
        loss, places, returned = part(site.loss, own, workers)
        own_places = namespace(at.x).asarray(places)
        y = desk(loss, at.x[own_places])
        moved, message, state = self.steps(Point(y), None, state, here._replace(site=replace(site, loss=loss)))
        at.x[own_places] = moved.x
        returned()
        return at._replace(loss=moved.loss), Message(at.x, message.scalars), state

    def steps_in(self, round: int) -> float:  # noqa: A002 - the field's word
        """As many as the steps."""
        return self.steps.steps_in(round)
