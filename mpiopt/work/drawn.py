"""DrawnRows: a gradient over rows that are drawn anew in every round, by a law of `sampling.laws`."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from mpiopt.engine.phase import Local, Work
from mpiopt.problems.optional import Graded
from mpiopt.problems.problem import Message, Point, Site
from mpiopt.problems.protocols import Curvature, offers
from mpiopt.sampling.laws import Draws, Law, Nice
from mpiopt.sampling.plans import SamplingPlan
from mpiopt.work.log import slope

SOME = 64  # rows


@dataclass(frozen=True)
class DrawnRows(Work):
    """The gradient of loss and penalty over a draw, weighted so that its mean is that over all rows; scalars: its value.

    plan : None for `SOME` rows, or all where there are fewer, every set of so many as likely.
    """

    needs: ClassVar[type] = Curvature
    plan: SamplingPlan | None = None
    _laws: dict[int, tuple[Any, Law]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def law(self, site: Site[Any]) -> Law:
        """That of a worker's rows, made when it is first asked for."""
        loss = site.loss
        if self._laws.get(site.worker, (None,))[0] is not loss:
            each = loss.row_lipschitz if offers(loss, Graded) else None
            law = Nice(loss.rows, min(SOME, loss.rows)) if self.plan is None else self.plan.law(loss.rows, each)
            self._laws[site.worker] = loss, law
        return self._laws[site.worker][1]

    def __call__(self, at: Point, agreed: Message | None, state: tuple, here: Local[Any]) -> tuple[Point, Message, tuple]:
        """Not collective."""
        site = here.site
        value, g, _ = slope(at.x, site, Draws(self.law(site), site.streams, site.worker)(here.round))
        return at, Message(g, np.array([value])), state
