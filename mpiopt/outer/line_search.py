"""Line searches on cached margins, and the refusal of penalties with a kink that they have in common.

    search        the exact minimiser along a direction                               two to five small sums
    Backtracking  the first of x + p, x + p/4, x + p/16, ... that decreases enough    one small sum, as a rule

Margins change by sums, so that a search costs one product A p however many points it tries.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.phase import Joint, Outer, PerWorker, Tree
from mpiopt.errors import CapabilityError
from mpiopt.outer.plane_search import REFRESH, minimise
from mpiopt.problems.problem import Message, Point, Team, mean_scalars
from mpiopt.problems.protocols import Margins, Penalty

ENOUGH = 0.1  # of the decrease that the slope promises
CANDIDATES = tuple(4.0**-k for k in range(10))


def refuse_kinks(penalty: Penalty) -> None:
    """Raise CapabilityError, naming what to use, where the penalty is not smooth. Not collective."""
    if not penalty.smooth:
        raise CapabilityError(
            "this method follows the gradient of the objective, which has none at the kinks of an l1 penalty or at the "
            "walls of a box: use `method=fista`"
        )


@dataclass(frozen=True)
class SmoothOnly(Outer):
    """Another outer step, for smooth penalties alone."""

    outer: Outer

    @property
    def needs(self) -> type:
        """What ``outer`` does."""
        return self.outer.needs

    @property
    def own(self) -> bool:
        """As ``outer`` is."""
        return self.outer.own

    def init(self, x: Array, team: Team) -> Tree:
        """The other's state. Raises CapabilityError on every rank."""
        refuse_kinks(team.penalty)
        return self.outer.init(x, team)

    def __call__(self, agreed: Message, points: PerWorker, state: Tree, here: Joint) -> tuple[PerWorker, Tree]:
        """The other's step. Collective where that is."""
        return self.outer(agreed, points, state, here)

    def answer(self, points: PerWorker, state: Tree) -> Point:
        """The other's."""
        return self.outer.answer(points, state)

    def step_size(self, round: int) -> float:  # noqa: A002 - the field's word
        """The other's."""
        return self.outer.step_size(round)


def search(team: Team[Margins], points: PerWorker, direction: Array, round: int) -> PerWorker:  # noqa: A002 - the field's word
    """The workers' points at the minimiser of F along ``direction`` (dim,). Collective: a few small sums."""
    rows = [site.loss.margins(direction)[None, :] for site in team.sites]
    c = float(minimise(team, points, [direction], rows)[0])
    return along(team, points, direction, [row[0] for row in rows], c, round)


def along(
    team: Team[Margins],
    points: PerWorker,
    direction: Array,
    rows: Sequence[Array],
    c: float,
    round: int,  # noqa: A002
) -> PerWorker:
    """The workers' points at x + c direction; margins afresh every `REFRESH` rounds. Not collective.

    rows : the direction's margins, (rows,) per hosted worker.
    """
    x = points[0].x + c * direction
    if round % REFRESH == REFRESH - 1:
        return PerWorker(site.loss.point(x) for site in team.sites)
    return PerWorker(Point(x, at.margins + c * row) for at, row in zip(points, rows, strict=True))


@dataclass(frozen=True)
class Backtracking(Outer):
    """x + s p for the first s = 1, 1/4, ..., 4^-9 with F(x + s p) <= F(x) + 0.1 s p.grad F(x); the exact minimiser along p
    where none is enough.

    Wang et al., GIANT: globally improved approximate Newton method for distributed optimization, 2018, section 2.2, which
    supposes that every worker's own Hessian is positive definite. Where one is not, p points downhill still (so does every
    iterate of CG), but is longer than any candidate allows for; that it is searched along then is ours.
    """

    needs: ClassVar[type] = Margins

    def __call__(self, agreed: Message, points: PerWorker, state: Tree, here: Joint[Margins]) -> tuple[PerWorker, Tree]:
        """All candidates in one small sum; a few more where none is enough. Collective."""
        team, p, at = here.team, agreed.vector, points[0]
        rows = [site.loss.margins(p) for site in team.sites]
        trials = [[point.margins + s * row for s in CANDIDATES] for point, row in zip(points, rows, strict=True)]
        pairs = [(team.penalty.residual(at.x, at.gradient), p), (team.penalty.grad(p), p)]
        *changes, slope, bend = mean_scalars(team, bregmans(team, points, trials), "search", pairs)
        s = np.array(CANDIDATES)
        enough = changes + s * slope + 0.5 * s**2 * bend <= ENOUGH * s * slope
        if not enough.any():
            return search(team, points, p, here.round), state
        return along(team, points, p, rows, CANDIDATES[int(np.argmax(enough))], here.round), state


def differences(
    team: Team[Margins], points: Sequence[Point], gradient: Array, steps: Sequence[Array], margins: Sequence[Sequence[Array]]
) -> tuple[Array, Array]:
    """F(x + step) - F(x) for each step, (k,), without cancellation, and gradient.step. Collective: one sum of 3 k numbers.

    gradient : (dim,) of F at x; steps : k arrays (dim,) that cross no kink of the penalty; margins : per hosted worker
    the margins (rows,) at each x + step.
    """
    pairs = [(gradient, step) for step in steps] + [(team.penalty.grad(step), step) for step in steps]
    changes, slopes, bends = mean_scalars(team, bregmans(team, points, margins), "search", pairs).reshape(3, -1)
    return changes + slopes + 0.5 * bends, slopes


def bregmans(team: Team[Margins], points: Sequence[Point], margins: Sequence[Sequence[Array]]) -> list[np.ndarray]:
    """How far each worker's loss lies above its tangent at each of k trials, (k,) per hosted worker. Not collective.

    margins : per hosted worker those at each trial, (rows,).
    """
    return [
        np.array([site.loss.bregman(at, trial) for trial in trials])
        for site, at, trials in zip(team.sites, points, margins, strict=True)
    ]
