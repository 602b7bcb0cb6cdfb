"""Reducing: any method for smooth penalties, run in fewer coordinates where the problem has such (`problems.reduced`).

Points, states and messages are in the reduced coordinates; the answer is in the user's. What a run keeps belongs to the data
and the penalty alone, so that it can be gone on with on other ranks.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from mpiopt.arrays import Array
from mpiopt.engine.aim import aimed
from mpiopt.engine.method import HessianAtHand, Measured, Method, Named, Run, at_hand, kept, proved_above, whole
from mpiopt.engine.phase import PerWorker
from mpiopt.errors import DataError
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.reduced import Reduced, reduced


@dataclass(frozen=True)
class Reducing(Named):
    """``inner`` on the reduced team; as it is where there is none.

    held : the team that it was asked for last, and what was made of it, once.
    """

    inner: Any  # a Method with a name
    held: list[tuple[Team[Any], Reduced | None]] = field(default_factory=list, compare=False, repr=False)

    @property
    def dvectors(self) -> int:
        """Those of the method, and the way there and back."""
        return self.inner.dvectors + 2

    @property
    def method(self) -> Method:
        """The inner one by this one's name, which it refuses problems by."""
        return replace(self.inner, name=self.name)

    def small(self, team: Team[Any]) -> Reduced | None:
        """The problem in fewer coordinates, if it has such. Collective when first asked for of a team."""
        if not self.held or self.held[0][0] is not team:
            self.held[:] = [(team, reduced(team))]
        return self.held[0][1]

    def _team(self, team: Team[Any]) -> Team[Any]:
        small = self.small(team)
        return team if small is None else small.team

    def aiming(self, gap: float) -> "Reducing":
        """See `Aiming`."""
        return replace(self, inner=aimed(self.inner, gap))

    def init(self, x: Array, team: Team[Any]) -> Run:
        """Reduce, and the method's own. Collective. Raises CapabilityError on every rank."""
        small = self.small(team)
        return self.method.init(x, team) if small is None else self.method.init(small.inward(x), small.team)

    def step(self, run: Run, team: Team[Any]) -> Run:
        """The method's. Collective."""
        return self.method.step(run, self._team(team))

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """F and the length of its gradient are the same in both. Collective."""
        return self.method.measure(run, self._team(team))

    def answer(self, run: Run, team: Team[Any]) -> Point:
        """The user's coefficients."""
        small = self.small(team)
        if small is None:
            return self.method.answer(run, team)
        return Point(self._outward(self.method.answer(run, small.team).x, small))

    def _outward(self, x: Array, small: Reduced) -> Array:
        if x.shape != (small.team.dim,):  # of a run that was kept
            raise DataError(f"its point has {x.size:,} coordinates, and the problem is one in {small.team.dim:,}")
        return small.outward(x)

    def kept(self, run: Run, team: Team[Any]) -> Array | PerWorker:
        """See `Keeping`; parts are of the reduced point."""
        found = kept(self.method, run, self._team(team))
        return found if isinstance(found, PerWorker) else self.answer(run, team).x

    def whole(self, kept: Array | PerWorker, team: Team[Any]) -> Array:
        """See `Keeping`. Collective."""
        if not isinstance(kept, PerWorker):
            return kept
        small, x = self.small(team), whole(self.method, kept, self._team(team))
        return x if small is None else self._outward(x, small)

    def at_hand(self, run: Run, team: Team[Any]) -> HessianAtHand | None:
        """See `Inverting`; none in other coordinates. Collective when first asked for of a team."""
        return at_hand(self.inner, run, team) if self.small(team) is None else None

    def lower(self, run: Run, team: Team[Any]) -> float:
        """See `Bounding`; rows are the same in both, so that it is proved in the user's coordinates. Collective."""
        return proved_above(self.inner, run, team)
