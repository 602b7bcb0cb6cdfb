"""First-order steps, their length searched for on the rows' margins, with and without momentum.

    p = prox(y - grad f(y) / L, 1 / L)

    Proximal       y <- p
    Accelerated    y <- p + (t - 1)/t' (p - last p),   t' = (1 + sqrt(1 + 4 t^2)) / 2
    Polyak         y <- p + beta (y - last y)

For a smooth penalty p is the gradient step y - grad F(y) / (L + l2), so that gradient descent needs no step of its own.
y, where the gradient is evaluated, is the point that is recorded and answered.

Beck and Teboulle, A fast iterative shrinkage-thresholding algorithm for linear inverse problems, 2009, section 4, for
the step, its search and its momentum; O'Donoghue and Candes, Adaptive restart for accelerated gradient schemes, 2015,
section 3.2, for the restart; Polyak, Some methods of speeding up the convergence of iteration methods, 1964.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import frexp, sqrt
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array, beside, namespace
from mpiopt.comm.sums import Pair
from mpiopt.engine.phase import Joint, Outer, PerRow, PerWorker
from mpiopt.errors import UsageError
from mpiopt.problems.problem import Message, Point, Team, mean_scalars
from mpiopt.problems.protocols import Margins

GROWTH = 1.1  # of L at least after a trial that failed
LEAP = 10.0  # of L at most after a trial where L has no ceiling, since an exponential may have been in the way
EASE = 0.7  # of L where a step without momentum begins anew


class Lipschitz(NamedTuple):
    """L, 0 before the first step, and what it never exceeds."""

    now: float
    ceiling: float


@dataclass(frozen=True)
class Forward:
    """The step to p, and L.

    lipschitz : L, the largest eigenvalue of the Hessian of f, taken as it is. None searches: L begins at the curvature
    along the first gradient and grows to 2 D_f(p, y) / |p - y|^2 while it is below that, never past the loss's own
    ``lipschitz``, which is always enough. A trial is one pass over the rows and one number.
    """

    lipschitz: float | None = None

    def init(self, x: Array, team: Team[Margins]) -> Lipschitz:
        """L where it is given. Collective; raises UsageError on every rank where ``lipschitz`` is not positive."""
        if self.lipschitz is not None:
            if not 0 < self.lipschitz < np.inf:
                raise UsageError(f"lipschitz is {self.lipschitz:g}: give a positive number, or leave it out to have it found")
            return Lipschitz(self.lipschitz, self.lipschitz)
        largest = team.world.extremes(np.array([max(site.loss.lipschitz for site in team.sites)]))[1][0]
        return Lipschitz(0.0, max(float(largest) * (1 + 1e-6), _least(x)))

    def __call__(
        self, slope: Array, points: Sequence[Point], state: Lipschitz, team: Team[Margins], last: Array | None = None
    ) -> tuple[PerWorker, Lipschitz, float]:
        """The workers' points at p; ``slope`` (dim,) is the gradient of f at y. Collective: one small sum a trial.

        Besides (y - p).(p - last), 0 where ``last`` is not given.
        """
        length, ceiling, y = state.now, state.ceiling, points[0].x
        if length == 0:
            bent = _curvature_along(slope, points, team)  # 0 or not a number where squares of the margins have no room
            length = (
                min(bent, ceiling) if 0 < bent < np.inf else ceiling if bent != 0 and ceiling < np.inf else min(ceiling, 1.0)
            )
        while True:
            p = team.penalty.prox(y - slope / length, 1 / length)
            ahead = PerWorker(site.loss.point(p) for site in team.sites)
            step = p - y
            pairs = [(step, step)] if last is None else [(step, step), (-step, p - last)]
            if length >= ceiling:
                return ahead, Lipschitz(length, ceiling), 0.0 if last is None else team.world.dots(pairs)[1]
            divergence, size, *turn = _divergence(team, points, ahead, pairs)
            found = 2 * divergence / size if size > 0 else 0.0
            if not found > length:
                return ahead, Lipschitz(length, ceiling), sum(turn)
            found = found if np.isfinite(ceiling) else np.fmin(found, LEAP * length)
            length = min(max(GROWTH * length, found), ceiling)

    def eased(self, state: Lipschitz, x: Array) -> Lipschitz:
        """A smaller L to try, unless L was given."""
        return state if self.lipschitz is not None else state._replace(now=max(EASE * state.now, _least(x)))


@dataclass(frozen=True)
class Proximal(Outer):
    """Plain proximal gradient steps: F never rises."""

    needs: ClassVar[type] = Margins
    forward: Forward = Forward()

    def init(self, x: Array, team: Team[Margins]) -> Lipschitz:
        """See `Forward.init`. Collective."""
        return self.forward.init(x, team)

    def __call__(
        self, agreed: Message, points: PerWorker, state: Lipschitz, here: Joint[Margins]
    ) -> tuple[PerWorker, Lipschitz]:
        """p. Collective: one small sum a trial."""
        ahead, state, _ = self.forward(agreed.vector, points, state, here.team)
        return ahead, self.forward.eased(state, ahead[0].x)


class Extrapolated(NamedTuple):
    """L, Nesterov's t, the last p (dim,) and its margins."""

    lipschitz: Lipschitz
    t: float
    p: Array
    margins: PerRow


@dataclass(frozen=True)
class Accelerated(Outer):
    """Nesterov's momentum, begun anew where it points uphill: (y - p).(p - last p) > 0.

    L may fall only where the momentum begins anew.
    """

    needs: ClassVar[type] = Margins
    forward: Forward = Forward()

    def init(self, x: Array, team: Team[Margins]) -> Extrapolated:
        """t = 1: no momentum yet. Collective."""
        rows = PerRow(beside(x, site.loss.margin_count, 0) for site in team.sites)
        return Extrapolated(self.forward.init(x, team), 1.0, x, rows)

    def __call__(
        self, agreed: Message, points: PerWorker, state: Extrapolated, here: Joint[Margins]
    ) -> tuple[PerWorker, Extrapolated]:
        """The next y. Collective: one small sum a trial."""
        ahead, lengths, turn = self.forward(agreed.vector, points, state.lipschitz, here.team, state.p)
        p, t = ahead[0].x, state.t
        if turn > 0:
            t, lengths = 1.0, self.forward.eased(lengths, p)
        grown = (1 + sqrt(1 + 4 * t * t)) / 2
        rows = PerRow(at.margins for at in ahead)
        shifts = [now - before for now, before in zip(rows, state.margins, strict=True)]
        return carried(here.team, ahead, (t - 1) / grown, p - state.p, shifts), Extrapolated(lengths, grown, p, rows)


class Heavy(NamedTuple):
    """L, the last y, (dim,) or (0,) before there is one, and its margins."""

    lipschitz: Lipschitz
    y: Array
    margins: PerRow


@dataclass(frozen=True)
class Polyak(Outer):
    """Heavy ball.

    beta : None for (1 - sqrt(l2 / (L + l2)))^2, at most 0.99.
    """

    needs: ClassVar[type] = Margins
    forward: Forward = Forward()
    beta: float | None = None

    def init(self, x: Array, team: Team[Margins]) -> Heavy:
        """No last y yet. Collective."""
        rows = PerRow(beside(x, site.loss.margin_count, 0) for site in team.sites)
        return Heavy(self.forward.init(x, team), np.zeros(0), rows)

    def __call__(self, agreed: Message, points: PerWorker, state: Heavy, here: Joint[Margins]) -> tuple[PerWorker, Heavy]:
        """The next y. Collective: one small sum a trial."""
        y, rows = points[0].x, PerRow(at.margins for at in points)
        ahead, lengths, _ = self.forward(agreed.vector, points, state.lipschitz, here.team)
        after = Heavy(lengths, y, rows)
        if not state.y.size:
            return ahead, after
        shifts = [now - before for now, before in zip(rows, state.margins, strict=True)]
        return carried(here.team, ahead, self._beta(lengths.now, here.team.penalty.l2), y - state.y, shifts), after

    def _beta(self, length: float, l2: float) -> float:
        away = 1 - sqrt(l2 / (length + l2))
        return min(away * away, 0.99) if self.beta is None else self.beta


def carried(team: Team[Margins], points: PerWorker, beta: float, shift: Array, rows: Sequence[Array]) -> PerWorker:
    """The workers' points at x + beta shift, or at the nearest point where the penalty is finite. Not collective.

    shift : (dim,); rows : its margins, (rows,) per hosted worker.
    """
    wanted = points[0].x + beta * shift
    x = team.penalty.prox(wanted, 0.0)
    if (x == wanted).all():
        return PerWorker(Point(x, at.margins + beta * row) for at, row in zip(points, rows, strict=True))
    return PerWorker(site.loss.point(x) for site in team.sites)


def _least(x: Array) -> float:
    """The smallest L whose reciprocal is a number of x's type; columns of 1e-150 have no larger one."""
    return float(np.finfo(x.dtype).tiny)


def _curvature_along(slope: Array, points: Sequence[Point], team: Team[Margins]) -> float:
    """v.H v / v.v for v along the gradient of f: a lower bound of L. Collective: one small sum."""
    largest = float(abs(slope).max()) if slope.size else 0.0
    slope = namespace(slope).ldexp(slope, -frexp(largest)[1])  # near 1, exactly: its squares need room
    parts = [
        site.loss.plane(at, site.loss.margins(slope)[None, :], np.zeros(1)) for site, at in zip(team.sites, points, strict=True)
    ]
    _, _, curvature, size = mean_scalars(team, parts, "curvature", [(slope, slope)]).tolist()
    return curvature / size if size > 0 else 0.0


def _divergence(team: Team[Margins], points: Sequence[Point], ahead: Sequence[Point], pairs: Sequence[Pair]) -> list[float]:
    """D_f(p, y), and the inner products of ``pairs``. Collective: one small sum."""
    parts = [np.array([site.loss.bregman(at, to.margins)]) for site, at, to in zip(team.sites, points, ahead, strict=True)]
    return mean_scalars(team, parts, "step", pairs).tolist()
