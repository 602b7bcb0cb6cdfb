"""Methods of games: compositions without an opening whose works ask for operators, and whose step theory finds."""

from dataclasses import dataclass, field
from math import sqrt
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Composed, Measured, Run
from mpiopt.engine.phase import PerWorker, Tree
from mpiopt.errors import UsageError
from mpiopt.outer.advance import Advanced
from mpiopt.problems.problem import Message, Point, Team, mean
from mpiopt.work.field import Paced


@dataclass(frozen=True)
class Playing(Composed):
    """Phases and an outer step. gamma : the step; None for 1 / (reach L), L the largest Lipschitz constant of a row."""

    gamma: float | None = field(default=None, kw_only=True)
    reach: float = field(default=2.0, kw_only=True)

    def init(self, x: Array, team: Team[Any]) -> Run:
        """At x, the same on every rank, or the nearest point that the penalty allows. Collective.

        Raises in one sentence on every rank where the losses are no operators, and where no step can be found.
        """
        states = self._states(x, team)
        step = self.length(team)
        works = tuple(PerWorker(_told(state, step) for state in each) for each in states.works)
        at = Point(team.penalty.prox(x, 0.0))
        states = states._replace(works=works, outer=_told(states.outer, step))
        return Run(PerWorker(at for _ in team.sites), None, states)

    def length(self, team: Team[Any]) -> float:
        """The step, the same on every rank. Collective. Raises UsageError where it is not above 0, or cannot be found."""
        steepest = float(team.world.extremes(np.array([max(site.loss.lipschitz for site in team.sites)]), "lipschitz")[1][0])
        step = 1 / (self.reach * steepest) if self.gamma is None and 0 < steepest < np.inf else self.gamma
        if step is None or not 0 < step < np.inf:
            raise UsageError(f"the step of {self.name} is {step}: give a finite gamma above 0")
        return step

    def steps_in(self, round: int) -> float:  # noqa: A002 - the field's word
        """Steps that a worker is expected to make in a round."""
        return self.phases[0].work.steps_in(round)

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """The natural residual in the place of objective and gradient, by a pass over all rows. Collective."""
        size = length(team, residual(team, run.points[0].x, field_of(team, run.points[0].x)))
        return Measured(size, size, float("inf"))


def field_of(team: Team[Any], z: Array) -> Array:
    """F(z), (dim,), from all rows. Collective: one vector round."""
    parts = [Message(site.loss.field(site.loss.point(z)), np.zeros(0)) for site in team.sites]
    return mean(team, parts, name="field").vector


def residual(team: Team[Any], z: Array, f: Array) -> Array:
    """z - prox(z - F(z)), (dim,): F(z) where there is no penalty, 0 at a solution alone. Not collective."""
    return z - team.penalty.prox(z - f, 1.0)


def length(team: Team[Any], v: Array) -> float:
    """|v| of a vector (dim,) that all ranks hold, agreed. Collective: one small sum."""
    return sqrt(team.world.dots([(v, v)], "residual")[0])


def _told(state: Tree, step: float) -> Tree:
    return state._replace(step=step) if isinstance(state, Paced | Advanced) else state
