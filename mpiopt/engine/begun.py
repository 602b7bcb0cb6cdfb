"""Begun: one round of one composition, which finds a start, then rounds of another."""

from dataclasses import dataclass, replace
from typing import Any

from mpiopt.arrays import Array
from mpiopt.engine.method import Composed, Measured, Named, Run
from mpiopt.engine.phase import Exchange, Outer, Work
from mpiopt.problems.problem import Point, Team


@dataclass(frozen=True)
class Begun(Named):
    """The first round is of ``first``, all others are of ``then``; both have the same opening, so that no gradient is lost."""

    first: Composed
    then: Composed

    @property
    def dvectors(self) -> int:
        """That of the one with more."""
        return max(self.first.dvectors, self.then.dvectors)

    @property
    def blocks(self) -> tuple[Work | Exchange | Outer, ...]:
        """Those of both."""
        return (*self.first.blocks, *self.then.blocks)

    def init(self, x: Array, team: Team[Any]) -> Run:
        """Evaluate at x. Collective. Raises CapabilityError on every rank, for what either refuses."""
        self.check(team, *self.blocks)
        begun = replace(self.first, name=self.name).init(x, team)
        replace(self.then, name=self.name).onward(begun, team)
        return begun

    def step(self, run: Run, team: Team[Any]) -> Run:
        """One round. Collective."""
        if run.round:
            return self.then.step(run, team)
        return self.then.onward(self.first.step(run, team), team)

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """From the gradient at hand. Collective: one small sum."""
        return self.then.measure(run, team)

    def answer(self, run: Run, team: Team[Any]) -> Point:
        """The common point."""
        return run.points[0]
