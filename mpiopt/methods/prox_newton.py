"""Proximal Newton on the face: a model of second order, kinks and all, on the few features that matter.

    once     h = the Hessian's diagonal, or what it is nowhere above where that is known    one d-vector
    round    g = gradient of f over the features that are kept                              one vector of these
             A = the features away from a kink or wall, and the worst violators of what holds at the optimum
             H = the Hessian of f on A, summed                                              |A| (|A| + 1) / 2 numbers
             v = argmin g.(v - x) + (v - x).H (v - x) / 2 + penalty(v), every rank for itself and all alike
             x <- v, or the lowest of x + t (v - x), t = 1, 1/2, ..., 1/256                 a small sum, or two
             the intercept, to its minimum                                                  a few small sums
             keep what the duality gap does not prove to be 0 (`problems.screening`)        one small sum

Rounds do not depend on the number of workers. H is damped by tau h, tau tenfold after a step that was cut down and a tenth
after a whole one. Lee, Sun, Saunders, Proximal Newton-type methods for minimizing composite functions, 2014; Yuan, Ho, Lin, An
improved GLMNET for l1-regularized logistic regression, 2012; working sets as in `methods.active_set`, of whole groups where
these are penalised by their length (`kernels.knotted`).
"""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple
from zlib import crc32

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Measured, Method, Named, Run, measured
from mpiopt.engine.phase import PerWorker
from mpiopt.errors import CapabilityError
from mpiopt.kernels.kinked import SETTLED, unfolded
from mpiopt.methods.entry import Entry
from mpiopt.methods.ranges import within
from mpiopt.outer.intercept import centred
from mpiopt.outer.plane_search import REFRESH, diagonal
from mpiopt.outer.segment import Segment
from mpiopt.problems.columns import FeatureParts, coordinates
from mpiopt.problems.kinks import bends_of, demand_kinks, largest_group, lowest, open_in, worst
from mpiopt.problems.problem import Message, Point, Team, mean
from mpiopt.problems.protocols import Columns, Penalty
from mpiopt.problems.screening import screenable, slopes, spreads, surviving

DAMPING = 1e-9  # of the diagonal, always: faces may be flat
FIRST = 1e-6  # tau after the first step that was cut down
FEW = 500  # features, of which none need to be left out
WORTH = 0.5  # of the features may be left where others are left out, which takes a pass over the rows
LOOSE = 1e-8  # of the longest step's square: what is left to move in the first model
SLACK = 4e-15  # of f: what a whole step may rise by, which is rounding


class FaceState(NamedTuple):
    """What is kept from round to round, alike on all ranks."""

    kept: Array  # (k,) int64, the features that may not be 0 at the minimum: points and messages are of them alone
    curvature: Array  # (k,), and one for the intercept, if any
    steepest: float  # the largest entry of the shortest subgradient at the start
    tau: float
    grows: bool  # whether the face may take in more violators than it had in the round before
    size: int  # of that face


@dataclass(frozen=True)
class ProxNewton(Named):
    """See above. most : features of a face; where more are away from a kink, the worst of them take turns. least : violators
    taken in at once, or as many as the support has, if that is more.

    dvectors : where faces are small beside all features; else most^2 numbers more.
    """

    most: int = 4000
    least: int = 200
    dvectors: int = 18
    held: FeatureParts = field(default_factory=FeatureParts, compare=False, repr=False)
    needs: ClassVar[type] = Columns

    def init(self, x: Array, team: Team[Columns]) -> Run:
        """Evaluate at x. Collective: two vector rounds. Raises CapabilityError on every rank."""
        self.check(team, self)
        with team.world.together("setting up the method"):
            demand_kinks(self.name, team.penalty, self.most)
            if not isinstance(x, np.ndarray):
                raise CapabilityError(f"{self.name} works on the CPU: leave `device=gpu` out, or use `method=prox_gradient`")
        points = centred(team, PerWorker(site.loss.point(x) for site in team.sites))
        sizes = spreads(team) if screenable(team) else diagonal(team, points[0].x)
        agreed = slopes(team, points)
        steepest = float(abs(team.penalty.residual(points[0].x, agreed.vector)).max(initial=0.0))
        state = FaceState(np.arange(team.sites[0].loss.features), sizes, steepest, 0.0, True, 0)
        return _fewer(Run(points, agreed, state), team)

    def step(self, run: Run, team: Team[Columns]) -> Run:
        """One round. Collective."""
        part = self.held.team("kept", team, run.states.kept)
        return _fewer(self._round(run, part, team), part)

    def _round(self, run: Run, team: Team[Columns], whole: Team[Columns]) -> Run:
        """One round on the features that are kept of ``whole``. Collective."""
        penalty, state, loss = team.penalty, run.states, team.sites[0].loss
        x, slope = run.points[0].x, run.agreed.vector
        short = abs(penalty.residual(x, slope))
        features = self._face(x, penalty, short, state, loss)
        team.world.demand_alike({"the face": crc32(features.tobytes())}, f"in round {run.round + 1}")
        part, where = self.held.team("face", whole, state.kept[features]), coordinates(loss, features)
        seen = PerWorker(Point(x[where], at.margins) for at in run.points)
        kinks, bend = bends_of(penalty, where, part.penalty, x.size)
        steep = slope[where] + bend * x[where]
        h = unfolded(_hessian(part, seen), where.size)
        h[np.diag_indices(where.size)] += bend + (DAMPING + state.tau) * state.curvature[where]
        p = lowest(h, steep, kinks, x[where], _settled(short, state)) - x[where]
        rows = [site.loss.margins(p) for site in part.sites]
        t = Segment(part, seen, steep, bend, kinks, p, rows).taken(SLACK * abs(float(run.agreed.scalars[0])))
        points = run.points
        if t > 0:
            x = x.copy()
            x[where] += t * p
            points = centred(team, _moved(team, points, x, t, rows, run.round))
        return Run(points, slopes(team, points), _damped(state, t, features.size), run.round + 1)

    def _face(self, x: Array, penalty: Penalty, short: Array, state: FaceState, loss: Columns) -> Array:
        """The features of the next face, (k,) int64, ascending."""
        inner = slice(loss.features)
        held, off = open_in(penalty, x)[inner], np.flatnonzero(short[inner])
        curvature, score = state.curvature[off] + penalty.grad(np.ones(x.size))[off], np.zeros(held.size)
        score[off] = short[off] / np.sqrt(np.where(curvature > 0, curvature, np.inf))
        count, least = int(held.sum()), max(self.least, largest_group(penalty))
        if count + least > self.most:  # else violators would find no room
            return worst(penalty, np.zeros_like(held), score, self.most)
        more = max(least, count) if state.grows else max(state.size - count, 0)
        return worst(penalty, held, score, min(more, self.most - count))

    def measure(self, run: Run, team: Team[Columns]) -> Measured:
        """From the gradient over the features that are kept. Collective: one small sum."""
        return measured(self.held.team("kept", team, run.states.kept), run.points[0].x, run.agreed)

    def answer(self, run: Run, team: Team[Columns]) -> Point:
        """The common point, 0 in what is not kept."""
        x = np.zeros(team.dim)
        x[coordinates(team.sites[0].loss, run.states.kept)] = run.points[0].x
        return Point(x)


def _fewer(run: Run, team: Team[Columns]) -> Run:
    """The run on the features that may not be 0 at the minimum, where enough others have gone. Collective: one small sum."""
    state, x = run.states, run.points[0].x
    if state.kept.size <= FEW or not screenable(team):
        return run
    left = np.flatnonzero(surviving(team, run.points, run.agreed, state.curvature))
    if left.size > WORTH * state.kept.size:
        return run
    where = coordinates(team.sites[0].loss, left)
    points = PerWorker(Point(x[where], at.margins) for at in run.points)
    agreed = Message(run.agreed.vector[where], run.agreed.scalars)
    return Run(points, agreed, state._replace(kept=state.kept[left], curvature=state.curvature[where]), run.round)


def _hessian(part: Team[Columns], points: PerWorker) -> Array:
    """The upper triangle of the Hessian of f on a face, by rows. Collective: one vector round."""
    parts = [Message(site.loss.triangle(at), np.empty(0)) for site, at in zip(part.sites, points, strict=True)]
    return mean(part, parts, name="face").vector


def _moved(team: Team[Columns], points: PerWorker, x: Array, t: float, rows: list[Array], round: int) -> PerWorker:  # noqa: A002
    """The workers' points at x, their margins by sums, and afresh every some rounds. Not collective."""
    if round % REFRESH == REFRESH - 1:
        return PerWorker(site.loss.point(x) for site in team.sites)
    return PerWorker(Point(x, at.known + t * row) for at, row in zip(points, rows, strict=True))


def _settled(short: Array, state: FaceState) -> float:
    """What ends the search for the model's minimiser: near the optimum, and where steps are cut down, all its digits count.

    short : sizes of the shortest subgradient's entries, (dim,).
    """
    if not state.grows or state.steepest == 0:
        return SETTLED
    return max(LOOSE * min(float(short.max(initial=0.0)) / state.steepest, 1.0) ** 4, SETTLED)


def _damped(state: FaceState, t: float, size: int) -> FaceState:
    """The state after a step of t."""
    if t < 0.5:
        return state._replace(tau=max(10 * state.tau, FIRST), grows=False, size=size)
    tau = state.tau / 10 if t == 1 and state.tau > FIRST else 0.0 if t == 1 else state.tau
    return state._replace(tau=tau, grows=t == 1 and tau == 0, size=size)


def prox_newton(most: int = 4000, least: int = 200) -> Method:
    """Proximal Newton on the face, from one summed Hessian: l1, elastic net, box, group lasso.

    most : features of a face, of which a round sends most (most + 1) / 2 numbers at most. least : features taken in at once.
    """
    within(1, most=most, least=least)
    return ProxNewton(most, least)


ENTRIES = (
    Entry(
        prox_newton,
        "Lee, Sun, Saunders, Proximal Newton-type methods for minimizing composite functions, 2014; Yuan, Ho, Lin, An improved "
        "GLMNET for l1-regularized logistic regression, 2012",
        smooth_only=False,
    ),
)
