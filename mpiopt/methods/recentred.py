"""Trials of local models that are pulled towards a centre: the loop of `methods.stabilised`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Measured, Named, Run, measured
from mpiopt.engine.phase import Joint, Local, PerWorker
from mpiopt.exchange.mean import From
from mpiopt.methods.strides import Rule
from mpiopt.problems.problem import Message, Point, Team, gradient, mean, mean_scalars
from mpiopt.problems.protocols import Margins
from mpiopt.work.corrected import Corrected


class Recentred(NamedTuple):
    """What is kept beside x."""

    v: Array  # (dim,)
    ratio: float
    mu: float  # of the next trial
    works: PerWorker  # of the local models
    heard: Message | None  # the gradient at the centre of a rejected trial, where the next one has the same
    taken: bool  # whether the last trial was


class End(NamedTuple):
    """Where a trial leads to."""

    points: PerWorker  # at z
    slope: Array  # G, (dim,)
    agreed: Message | None  # the gradient of f at z, and f, where known
    taken: bool


@dataclass(frozen=True)
class Stabilised(Named):
    """Trials of any of the three kinds.

    work : the local models; a server's alone, or everybody's. search : for mu, from which it begins. times : how often the mu
    that is found from the rows is wanted.
    """

    work: Corrected
    rule: Rule
    search: bool = False
    times: float = 1.0
    dvectors: int = 17

    def init(self, x: Array, team: Team[Margins]) -> Run:
        """x and v = x. Collective. Raises CapabilityError or UsageError on every rank."""
        self.check(team, self.work)
        mu = self.work.pull(team) * (self.times if self.work.mu is None else 1.0)
        works = replace(self.work, mu=mu).begin(x, team)
        self.rule(0.0, mu, team.penalty.l2)
        return Run(PerWorker(site.loss.point(x) for site in team.sites), None, Recentred(x, 0.0, mu, works, None, True))

    def step(self, run: Run, team: Team[Margins]) -> Run:
        """One trial: three vector rounds, four where all search. Collective."""
        points, _, state, k = run
        moves = self.rule(state.ratio, state.mu, team.penalty.l2)
        x = points[0].x
        y = state.v if moves.centre == 1 else x + moves.centre * (state.v - x)
        middle = PerWorker(site.loss.point(y) for site in team.sites)
        heard = gradient(team, middle) if state.heard is None else state.heard
        done = [
            self.work(at, heard, kept and kept._replace(mu=state.mu), Local(site, k))
            for at, kept, site in zip(middle, state.works, team.sites, strict=True)
        ]
        steps, works = [message for _, message, _ in done], PerWorker(kept for *_, kept in done)
        end = (self._served if self.work.server else self._averaged)(y, steps, state.mu, Joint(team, k))
        if not end.taken:
            again = heard if moves.centre == 1 else None
            return Run(points, run.agreed, state._replace(mu=2 * state.mu, works=works, heard=again, taken=False), k + 1)
        z = end.points[0].x
        v = state.v + moves.pull * (z - state.v)
        v -= moves.step * end.slope
        mu = state.mu / 2 if self.search else state.mu
        return Run(end.points, end.agreed, Recentred(v, moves.ratio, mu, works, None, True), k + 1)

    def _served(self, y: Array, steps: Sequence[Message], mu: float, here: Joint[Margins]) -> End:
        """Collective: a broadcast and an allreduce."""
        team = here.team
        told, _, _ = From(0)(steps, (), here)
        points = PerWorker(site.loss.point(y + told.vector) for site in team.sites)
        agreed = gradient(team, points)
        slope = agreed.vector + team.penalty.grad(points[0].x)
        taken = True
        if self.search:
            promised, square = team.world.dots([(slope, -told.vector), (slope, slope)])
            taken = _enough(promised, square, mu)
        return End(points, slope, agreed, taken)

    def _averaged(self, y: Array, steps: Sequence[Message], mu: float, here: Joint[Margins]) -> End:
        """Collective: two allreduces, three where it searches."""
        team, penalty = here.team, here.team.penalty
        own = [y + step.vector for step in steps]
        slopes = [site.loss.value_grad(site.loss.point(z))[1] for site, z in zip(team.sites, own, strict=True)]
        moved = mean(team, steps).vector
        slope = mean(team, [Message(each, np.empty(0)) for each in slopes]).vector
        points = PerWorker(site.loss.point(y + moved) for site in team.sites)
        z = points[0].x
        slope += penalty.grad(z)
        if not self.search:
            return End(points, slope, None, True)
        found = [site.loss.value_grad(at) for site, at in zip(team.sites, points, strict=True)]
        agreed = mean(team, [Message(there, np.array([value])) for value, there in found])
        parts = [
            np.array([-(each - there + penalty.grad(mine - z)) @ step.vector])
            for each, (_, there), mine, step in zip(slopes, found, own, steps, strict=True)
        ]
        pairs = [(agreed.vector + penalty.grad(z), -moved), (slope, slope)]
        apart, along, square = mean_scalars(team, parts, "search", pairs).tolist()
        return End(points, slope, agreed, _enough(apart + along, square, mu))

    def measure(self, run: Run, team: Team[Margins]) -> Measured:
        """Of x; where its gradient is not known, one vector round of recording. Collective."""
        agreed = gradient(team, run.points) if run.agreed is None else run.agreed
        return measured(team, run.points[0].x, agreed)._replace(fresh=run.states.taken)

    def answer(self, run: Run, team: Team[Margins]) -> Point:
        """x, not v."""
        return run.points[0]


def _enough(promised: float, square: float, mu: float) -> bool:
    """The test of the line search; without a pull there is nothing to search for."""
    return not mu > 0 or promised >= square / (2 * mu)
