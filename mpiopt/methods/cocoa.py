"""CoCoA+: distributed dual coordinate ascent whose updates are added.

    every worker: epochs of dual coordinate ascent on its own rows from u = w, each step exact for its row as if sigma' times
                  as many rows moved, sigma' = number of workers
    w <- w + sum over workers of A^T (change of y alpha) / (l2 W)

Ma, Smith, Jaggi, Jordan, Richtarik, Takac, Adding vs. averaging in distributed primal-dual optimization, ICML 2015, arXiv
1502.03508, algorithm 1 with gamma = 1. One vector round a step. w = w(alpha) throughout, so that F(w) - D(alpha) certifies
every step by a few numbers. Convergence is linear, quick to two or three digits and slow after them where l2 is small; more
epochs a round then help less and less, since every worker fits its own rows.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Measured, Named, Run, measured
from mpiopt.engine.phase import Joint, Local, PerRow, PerWorker
from mpiopt.errors import CapabilityError
from mpiopt.exchange.sum import Sum
from mpiopt.methods.entry import Entry
from mpiopt.methods.ranges import within
from mpiopt.problems.dual_bound import dual_bound
from mpiopt.problems.problem import Message, Point, Team, gradient, mean_scalars
from mpiopt.problems.protocols import Conjugate
from mpiopt.work.dual import DualAscent, gap


class DualVariables(NamedTuple):
    """alpha, one a row."""

    alpha: PerRow


@dataclass(frozen=True)
class Cocoa(Named):
    """Points carry no margins: the method never needs them, only its record does."""

    work: DualAscent
    dvectors: int = 7

    def init(self, x: Array, team: Team[Conjugate]) -> Run:
        """alpha for x, and w(alpha), which is x only where x is 0 or optimal. Collective: one vector round."""
        self.check(team, self.work)
        _check(team)
        alphas = PerRow(self.work.init(x, site) for site in team.sites)
        images = [Message(self.work.image(alpha, site), np.empty(0)) for alpha, site in zip(alphas, team.sites, strict=True)]
        w, _, _ = Sum()(images, (), Joint(team, 0))
        return Run(_at(w.vector, team), None, DualVariables(alphas))

    def step(self, run: Run, team: Team[Conjugate]) -> Run:
        """One round. Collective: one vector round."""
        done = [
            self.work(at, None, alpha, Local(site, run.round))
            for at, alpha, site in zip(run.points, run.states.alpha, team.sites, strict=True)
        ]
        change, _, _ = Sum()([message for _, message, _ in done], (), Joint(team, run.round))
        alphas = PerRow(alpha for _, _, alpha in done)
        return Run(_at(run.points[0].x + change.vector, team), None, DualVariables(alphas), run.round + 1)

    def measure(self, run: Run, team: Team[Conjugate]) -> Measured:
        """The certified gap is the smaller of duality gap and gradient bound. Collective: one vector round of recording."""
        points = PerWorker(site.loss.point(at.x) for site, at in zip(team.sites, run.points, strict=True))
        parts = [
            np.array([gap(site.loss, at.margins, alpha)])
            for site, at, alpha in zip(team.sites, points, run.states.alpha, strict=True)
        ]
        found = measured(team, points[0].x, gradient(team, points))
        return found._replace(gap=min(found.gap, float(mean_scalars(team, parts)[0])))

    def lower(self, run: Run, team: Team[Conjugate]) -> float:
        """See `Bounding`. Collective: one vector round."""
        return dual_bound(team, run.states.alpha)

    def answer(self, run: Run, team: Team[Conjugate]) -> Point:
        """w."""
        return run.points[0]


def _at(x: Array, team: Team) -> PerWorker:
    return PerWorker(Point(x) for _ in team.sites)


def _check(team: Team[Conjugate]) -> None:
    """Raises CapabilityError on every rank where the dual is not this one."""
    team.sites[0].loss.demand_descent("cocoa")
    if not team.penalty.smooth or not team.penalty.l2 > 0:
        raise CapabilityError(
            f"cocoa solves the dual of an l2 penalty, and the one given has l2 = {team.penalty.l2:g}"
            f"{'' if team.penalty.smooth else ' and a part that is not smooth'}: give `l2` above 0 alone, or use `method=fista`"
        )
    if team.penalty.free:
        raise CapabilityError(
            "cocoa has no unpenalised intercept: its dual would have a constraint that couples all rows; leave `intercept` "
            "out, add a constant feature to the data, or use `method=spcg`"
        )


def cocoa(epochs: int = 1) -> Cocoa:
    """CoCoA+: local dual coordinate ascent, the changes added.

    epochs : passes over its own rows that a worker makes in a round.
    """
    within(1, epochs=epochs)
    return Cocoa(DualAscent(epochs))


ENTRIES = (
    Entry(
        cocoa,
        "Ma, Smith, Jaggi, Jordan, Richtarik, Takac, Adding vs. averaging in distributed primal-dual optimization, 2015",
        "l2 above 0",
    ),
)
