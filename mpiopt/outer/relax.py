"""Outer steps that take the agreed direction as it is.

    Add()              x <- x + p
    HeavyBall(beta)    x <- x + p + beta (x - last x)

Polyak, Some methods of speeding up the convergence of iteration methods, 1964, for the second.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from mpiopt.arrays import Array
from mpiopt.engine.phase import Joint, Outer, PerWorker, Tree
from mpiopt.problems.problem import Message, Point, Team
from mpiopt.problems.protocols import Margins


@dataclass(frozen=True)
class Add(Outer):
    """x + p, with margins computed afresh: one pass over the rows."""

    needs: ClassVar[type] = Margins

    def __call__(self, agreed: Message, points: PerWorker, state: Tree, here: Joint[Margins]) -> tuple[PerWorker, Tree]:
        """Not collective."""
        return moved(here.team, points, points[0].x + agreed.vector), state


class Rolling(NamedTuple):
    """The last x (dim,), None at the start, and what its step counts for in the next."""

    x: Array | None
    beta: float


@dataclass(frozen=True)
class HeavyBall(Outer):
    """x + p + beta (x - last x).

    momentum : the team -> beta in [0, 1); asked once, at the start, and may be collective.
    """

    needs: ClassVar[type] = Margins
    momentum: Callable[[Team[Any]], float]

    def init(self, x: Array, team: Team[Margins]) -> Rolling:
        """No last x. Collective where ``momentum`` is."""
        return Rolling(None, self.momentum(team))

    def __call__(self, agreed: Message, points: PerWorker, state: Rolling, here: Joint[Margins]) -> tuple[PerWorker, Rolling]:
        """Not collective."""
        x = points[0].x
        step = agreed.vector if state.x is None else agreed.vector + state.beta * (x - state.x)
        return moved(here.team, points, x + step), state._replace(x=x)


def moved(team: Team[Margins], points: PerWorker, x: Array) -> PerWorker:
    """The points of all hosted workers at x (dim,), their margins written over the old ones. Not collective."""
    return PerWorker(Point(x, site.loss.margins(x, out=at.margins)) for site, at in zip(team.sites, points, strict=True))
