"""Proximal Newton on the face: a model of second order, kinks and all, on the few features that matter.

    once     h_j = the diagonal of the Hessian at the start                                   one d-vector
    round    g = gradient of f over all features                                              one d-vector
             A = the features away from a kink or wall, and the worst violators of what holds at the optimum
             H = the Hessian of f on A, summed                                                |A| (|A| + 1) / 2 numbers
             v = argmin g.(v - x) + (v - x).H (v - x) / 2 + penalty(v), every rank for itself and all alike
             x <- the lowest of x + t (v - x), t = 1, 1/2, ..., 1/256, on cached margins      one small sum
             the intercept, to its minimum                                                    a few small sums

Rounds do not depend on the number of workers. H is damped by tau h, tau tenfold after a step that was cut down and a tenth
after a whole one. Lee, Sun, Saunders, Proximal Newton-type methods for minimizing composite functions, 2014; Yuan, Ho, Lin, An
improved GLMNET for l1-regularized logistic regression, 2012; working sets as in `methods.active_set`, of whole groups where
these are penalised by their length (`kernels.knotted`).
"""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple
from zlib import crc32

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Measured, Method, Named, Run, measured
from mpiopt.engine.phase import PerWorker
from mpiopt.errors import CapabilityError
from mpiopt.kernels.kinked import Kinks, unfolded
from mpiopt.kernels.knotted import Knots
from mpiopt.methods.entry import Entry
from mpiopt.methods.ranges import within
from mpiopt.outer.intercept import centred
from mpiopt.outer.line_search import ENOUGH, bregmans
from mpiopt.outer.plane_search import REFRESH, diagonal
from mpiopt.problems.columns import coordinates, restricted
from mpiopt.problems.kinks import demand_kinks, kinks_of, largest_group, lowest, worst
from mpiopt.problems.problem import Message, Point, Team, gradient, mean
from mpiopt.problems.protocols import Columns, Penalty

STEPS = tuple(2.0**-k for k in range(9))
DAMPING = 1e-9  # of the diagonal, always: faces may be flat
FIRST = 1e-6  # tau after the first step that was cut down
SLACK = 4e-15  # of f: what a whole step may rise by, which is rounding


class FaceState(NamedTuple):
    """What is kept from round to round, alike on all ranks."""

    curvature: Array  # (dim,)
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
    needs: ClassVar[type] = Columns

    def init(self, x: Array, team: Team[Columns]) -> Run:
        """Evaluate at x. Collective: two vector rounds. Raises CapabilityError on every rank."""
        self.check(team, self)
        with team.world.together("setting up the method"):
            demand_kinks(self.name, team.penalty, self.most)
            if not isinstance(x, np.ndarray):
                raise CapabilityError(f"{self.name} works on the CPU: leave `device=gpu` out, or use `method=prox_gradient`")
        points = centred(team, PerWorker(site.loss.point(x) for site in team.sites))
        state = FaceState(diagonal(team, points[0].x), 0.0, True, 0)
        return Run(points, gradient(team, points), state)

    def step(self, run: Run, team: Team[Columns]) -> Run:
        """One round. Collective."""
        penalty, state, loss = team.penalty, run.states, team.sites[0].loss
        x, slope = run.points[0].x, run.agreed.vector
        features = self._face(x, penalty, slope, state, loss)
        team.world.demand_alike({"the face": crc32(features.tobytes())}, f"in round {run.round + 1}")
        part, where = restricted(team, features), coordinates(loss, features)
        seen = PerWorker(Point(x[where], at.margins) for at in run.points)
        kinks, bend = kinks_of(penalty, x.size).at(where), penalty.grad(np.ones(x.size))[where]
        steep = slope[where] + penalty.grad(x)[where]
        h = unfolded(_hessian(part, seen), where.size)
        h[np.diag_indices(where.size)] += bend + (DAMPING + state.tau) * state.curvature[where]
        p = lowest(h, steep, kinks, x[where]) - x[where]
        t, rows = _segment(part, seen, steep, bend, kinks, p, SLACK * abs(float(run.agreed.scalars[0])))
        points = run.points
        if t > 0:
            x = x.copy()
            x[where] += t * p
            points = centred(team, _moved(team, points, x, t, rows, run.round))
        return Run(points, gradient(team, points), _damped(state, t, features.size), run.round + 1)

    def _face(self, x: Array, penalty: Penalty, slope: Array, state: FaceState, loss: Columns) -> Array:
        """The features of the next face, (k,) int64, ascending."""
        inner = slice(loss.features)
        held = kinks_of(penalty, x.size).open(x)[inner]
        curvature = (state.curvature + penalty.grad(np.ones(x.size)))[inner]
        score = abs(penalty.residual(x, slope)[inner]) / np.sqrt(np.where(curvature > 0, curvature, np.inf))
        count, least = int(held.sum()), max(self.least, largest_group(penalty))
        if count + least > self.most:  # else violators would find no room
            return worst(penalty, np.zeros_like(held), score, self.most)
        more = max(least, count) if state.grows else max(state.size - count, 0)
        return worst(penalty, held, score, min(more, self.most - count))

    def measure(self, run: Run, team: Team[Columns]) -> Measured:
        """From the gradient over all features. Collective: one small sum."""
        return measured(team, run.points[0].x, run.agreed)

    def answer(self, run: Run, team: Team[Columns]) -> Point:
        """The common point."""
        return run.points[0]


def _hessian(part: Team[Columns], points: PerWorker) -> Array:
    """The upper triangle of the Hessian of f on a face, by rows. Collective: one vector round."""
    parts = [Message(site.loss.triangle(at), np.empty(0)) for site, at in zip(part.sites, points, strict=True)]
    return mean(part, parts, name="face").vector


def _segment(
    part: Team[Columns], points: PerWorker, slope: Array, bend: Array, kinks: Kinks | Knots, p: Array, slack: float
) -> tuple[float, list[Array]]:
    """The t of the step that is taken, 0 for none, and the margins of p, (rows,) per hosted worker. Collective: one small sum.

    slope, bend : (k,), of F's smooth part and of the penalty's. slack : what a whole step may rise by.
    """
    x = points[0].x
    rows = [site.loss.margins(p) for site in part.sites]
    trials = [[at.known + t * row for t in STEPS] for at, row in zip(points, rows, strict=True)]
    rises, parts = [kinks.rise(x, t * p) for t in STEPS], []
    cuts = zip(part.world.slices(p.size), part.world.slices(rises[0].size), strict=True)
    for site, found, (cut, own) in zip(part.sites, bregmans(part, points, trials), cuts, strict=True):
        step, rise = p[cut], [float(each[own].sum()) for each in rises]
        straight, curved = float(slope[cut] @ step), float(bend[cut] @ (step * step))
        along = [t * straight + t * t / 2 * curved + more for t, more in zip(STEPS, rise, strict=True)]
        parts.append(np.array([*(site.share * found + along), straight + rise[0]]))
    *changes, promised = part.world.total(parts, "search").tolist()
    if changes[0] <= ENOUGH * promised + slack:
        return 1.0, rows
    best = int(np.argmin(np.where(np.isfinite(changes), changes, np.inf)))
    return (STEPS[best] if changes[best] < 0 else 0.0), rows


def _moved(team: Team[Columns], points: PerWorker, x: Array, t: float, rows: list[Array], round: int) -> PerWorker:  # noqa: A002
    """The workers' points at x, their margins by sums, and afresh every some rounds. Not collective."""
    if round % REFRESH == REFRESH - 1:
        return PerWorker(site.loss.point(x) for site in team.sites)
    return PerWorker(Point(x, at.known + t * row) for at, row in zip(points, rows, strict=True))


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
