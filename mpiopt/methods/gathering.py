"""Gathering: all rows are sent to worker 0 once, which finds where F is least; the others look after its steps.

    begin      all rows -> worker 0       what they are long, once
    round      ByCopy -> From(0)           PlaneSearch of the last step

A round ends near the minimum, and one or two are a solve: the search, records and the certificate are of rows as they are
shared out, so that nothing rests on what worker 0 alone has found, and no round needs a gradient. It is for rows that are
shorter than the vectors of the rounds that workers with so few of them would need; what parallel work there is, is given up.
The copy is no state: a run that goes on has it sent again. Where worker 0 ascends the dual, its variables go to whom the rows
belong when a round is recorded, and prove there how far F may yet fall.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Composed, Measured, Named, Run, measured
from mpiopt.engine.phase import Phase
from mpiopt.exchange.mean import From
from mpiopt.outer.plane_search import PlaneSearch
from mpiopt.problems.copied import copied, returned_to
from mpiopt.problems.dual_bound import above, dual_bound
from mpiopt.problems.problem import Point, Team, gradient
from mpiopt.problems.protocols import Columns
from mpiopt.work.by_copy import ByCopy
from mpiopt.work.corrected import refuse_rough
from mpiopt.work.local_solvers import Auto


@dataclass(frozen=True)
class Gathering(Named):
    """``solver`` finds the minimum on worker 0's copy.

    held : the team whose rows were copied last, and the copy where it is.
    """

    solver: Auto
    dvectors: int = 12
    held: list[tuple[Team[Any], Columns | None]] = field(default_factory=list, compare=False, repr=False)

    def aiming(self, gap: float) -> Self:
        """See `Aiming`."""
        return replace(self, solver=self.solver.aiming(gap))

    def method(self, copy: Columns | None = None) -> Composed:
        """With such a copy."""
        return Composed(None, (Phase(ByCopy(self.solver, copy), From(0)),), PlaneSearch(), name=self.name)

    def _made(self, team: Team[Any]) -> Composed:
        """Collective when first asked for of a team. Raises CapabilityError on every rank."""
        if not self.held or self.held[0][0] is not team:
            refuse_rough(team.penalty)
            self.held[:] = [(team, copied(team, self.name))]
        return self.method(self.held[0][1])

    def init(self, x: Array, team: Team[Any]) -> Run:
        """Copy the rows, and evaluate at x. Collective. Raises CapabilityError on every rank."""
        return self._made(team).init(x, team)

    def onward(self, run: Run, team: Team[Any]) -> Run:
        """See `Onward`. Collective. Raises CapabilityError on every rank."""
        return self._made(team).onward(run, team)

    def step(self, run: Run, team: Team[Any]) -> Run:
        """One round. Collective."""
        return self._made(team).step(run, team)

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """With the dual variables, where there are such. Collective: a vector round of recording, two with these."""
        found = measured(team, run.points[0].x, gradient(team, run.points))
        return found._replace(gap=min(found.gap, above(self.lower(run, team), found.objective)))

    def lower(self, run: Run, team: Team[Any]) -> float:
        """See `Bounding`. Collective: one vector round where there are dual variables, and what they are long."""
        duals = [state.alpha if state else np.empty(0) for state in run.states.works[0]]
        alphas = returned_to(team, duals[0])
        return -np.inf if alphas is None else dual_bound(team, alphas)

    def answer(self, run: Run, team: Team[Any]) -> Point:
        """The common point."""
        return run.points[0]
