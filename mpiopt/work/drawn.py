"""DrawnRows, SizedRows: a gradient over rows that are drawn anew in every round, by a law of `sampling.laws`."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array
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
        return at, drawn(at, here.site, self.law(here.site), here.round), state


class Sized(NamedTuple):
    """How many rows a worker draws, 0 before the method has found that."""

    size: int = 0


@dataclass(frozen=True)
class SizedRows(Work):
    """As `DrawnRows`, of so many rows as its method has put into the state, every set of them as likely."""

    needs: ClassVar[type] = Curvature

    def init(self, x: Array, site: Site[Any]) -> Sized:
        """Nothing found yet."""
        return Sized()

    def __call__(self, at: Point, agreed: Message | None, state: Sized, here: Local[Any]) -> tuple[Point, Message, Sized]:
        """Not collective."""
        site = here.site
        law = Nice(site.loss.rows, min(state.size, site.loss.rows))
        return at, drawn(at, site, law, here.round), state


def drawn(at: Point, site: Site[Any], law: Law, step: int) -> Message:
    """The gradient over the draw of a step; scalars: its value. Not collective."""
    value, g, _ = slope(at.x, site, Draws(law, site.streams, site.worker)(step))
    return Message(g, np.array([value]))
