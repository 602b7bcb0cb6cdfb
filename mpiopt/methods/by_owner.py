"""ByOwner: a composed method whose ranks have parts of the coordinates, and add up through owners (`problems.parted`).

Its blocks see a problem in this rank's own coordinates; what they keep differs from worker to worker. The answer is put
together when somebody asks for it. Where parts cannot be, or send no less, it is the composition as it is; and a run that was
kept in parts goes on from its point where these are others now, on another number of ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Composed, Measured, Run
from mpiopt.engine.phase import PerWorker
from mpiopt.errors import CapabilityError
from mpiopt.problems.parted import ColumnHolders, OwnedPart, PartedProblem, can_part, holders, joined
from mpiopt.problems.problem import Point, Team

AUTO, ALWAYS, NEVER = "auto", "always", "never"


class InPart(NamedTuple):
    """What one worker keeps: what the blocks do; places (n,) int32 of its coordinates among all, and which of them it owns."""

    states: Any
    places: Array
    begin: int
    end: int


class PartedRun(NamedTuple):
    """The states of a run in parts. dim : all coordinates; most : of these, what a worker has at most."""

    dim: int
    most: int
    own: PerWorker


@dataclass(frozen=True)
class ByOwner(Composed):
    """The composition, in parts where that sends less.

    parts : auto, always or never. held : the team that it was asked for last, whether it was `able`, and who has its columns,
    once.
    """

    parts: str = field(default=AUTO, kw_only=True)
    held: list[tuple[Team[Any], bool, ColumnHolders | None]] = field(
        default_factory=list, compare=False, repr=False, kw_only=True
    )

    @property
    def able(self) -> bool:
        """Whether its exchanges take parts, and nobody has said never."""
        return self.parts != NEVER and all(phase.exchange.parted for phase in self.walked)

    def parting(self, team: Team[Any]) -> bool:
        """See `Parting`. Collective."""
        return self._holders(team) is not None

    def _holders(self, team: Team[Any]) -> ColumnHolders | None:
        """Collective when first asked for of a team. Raises CapabilityError on every rank."""
        if not self.held or self.held[0][0] is not team or self.held[0][1] != self.able:
            if self.parts == ALWAYS and not (self.able and can_part(team)):
                raise CapabilityError(
                    f"{self.name} has parts of the coordinates on several ranks of one worker each, sparse rows of one margin "
                    "on CPUs, l2 alike for all features or no penalty, no compressor, and sums that may depend on the ranks "
                    "(not `deterministic`): leave `parts=always` out"
                )
            self.held[:] = [(team, self.able, holders(team, self.parts == ALWAYS) if self.able else None)]
        return self.held[0][2]

    def _parted(self, team: Team[Any]) -> PartedProblem | None:
        """Collective when first asked for of a team."""
        found = self._holders(team)
        return None if found is None else found.problem

    def init(self, x: Array, team: Team[Any]) -> Run:
        """See `Composed`. Collective. Raises CapabilityError on every rank."""
        part = self._parted(team)
        return super().init(x, team) if part is None else _wrapped(super().init(x[part.places], part.team), part)

    def step(self, run: Run, team: Team[Any]) -> Run:
        """See `Composed`. Collective."""
        if not isinstance(run.states, PartedRun):
            return super().step(run, team)
        part = self._parted(team)
        if part is None or not _fits(run, part, team):
            return self.step(self.init(self.answer(run, team).x, team)._replace(round=run.round), team)
        return _wrapped(super().step(_inner(run), part.team), part)

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """See `Composed`. Collective: one small sum."""
        part = self._parted(team) if isinstance(run.states, PartedRun) else None
        return super().measure(run, team) if part is None else super().measure(_inner(run), part.team)

    def kept(self, run: Run, team: Team[Any]) -> Array | PerWorker:
        """See `Keeping`."""
        if not isinstance(run.states, PartedRun):
            return super().answer(run, team).x
        return _owned(run, [at.x for at in run.points])

    def whole(self, kept: Array | PerWorker, team: Team[Any]) -> Array:
        """See `Keeping`. Collective where it is in parts: one vector round."""
        return joined(kept, team) if isinstance(kept, PerWorker) else kept

    def answer(self, run: Run, team: Team[Any]) -> Point:
        """The common point. Collective where it is in parts: one vector round."""
        return Point(self.whole(self.kept(run, team), team)) if isinstance(run.states, PartedRun) else super().answer(run, team)

    def leaving(self, run: Run, team: Team[Any]) -> Run:
        """See `Parting`. Collective where it is in parts: two vector rounds."""
        if not isinstance(run.states, PartedRun):
            return run
        x, (at,), (agreed,) = self.answer(run, team).x, run.points, run.agreed
        slope = joined(_owned(run, [agreed.vector]), team)
        return run._replace(points=PerWorker([Point(x, at.margins)]), agreed=agreed._replace(vector=slope), states=())


def _owned(run: Run, vectors: Sequence[Array]) -> PerWorker:
    """What the hosted workers own of vectors of which they have parts."""
    cuts = [(mine.places, slice(mine.begin, mine.end)) for mine in run.states.own]
    return PerWorker(OwnedPart(places[cut], vector[cut]) for (places, cut), vector in zip(cuts, vectors, strict=True))


def _inner(run: Run) -> Run:
    """The composition's own run, of a rank with one worker."""
    return run._replace(agreed=run.agreed[0], states=run.states.own[0].states)


def _wrapped(run: Run, part: PartedProblem) -> Run:
    (own,) = part.team.world.slices(part.places.size)
    mine = InPart(run.states, part.places, own.start, own.stop)
    return run._replace(agreed=PerWorker([run.agreed]), states=PartedRun(part.dim, part.most, PerWorker([mine])))


def _fits(run: Run, part: PartedProblem, team: Team[Any]) -> bool:
    """Whether a run has these parts, on every rank. Collective, a small sum, where it comes from a file."""
    (mine,), (at,) = run.states.own, run.points
    if mine.places is part.places:
        return True
    alike = np.array_equal(mine.places, part.places) and at.x.shape == part.places.shape
    with team.world.tally.paused():
        return float(team.world.total([np.array([float(not alike)])], "parts")[0]) == 0


def parts_of(run: Run | None) -> PartedRun | None:
    """The parts that a run of a method with forms is in, if it is in such."""
    states = getattr(getattr(run, "states", None), "states", None)
    return states if isinstance(states, PartedRun) else None
