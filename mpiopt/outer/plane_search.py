"""PlaneSearch: minimise F exactly over x + span(agreed direction, Jacobi direction, last step).

    (a, b) = argmin F(x + a p + b s),   s = x_k - x_{k-1};      x <- x + a p + b s

The second direction makes it a nonlinear conjugate gradient method: on quadratics it is preconditioned conjugate
gradients. Margins are cached, so a Newton step on the coefficients costs one pass over the rows' margins and an
allreduce of 1 + k + k(k+1)/2 numbers; no vector round. Nocedal and Wright, Numerical Optimization, 2006, section 5.2,
for the subspace view of conjugate gradients.

The Jacobi direction -(g_j + l2 x_j) / (h_j + l2), h the diagonal of the Hessian at the start (one more vector round,
once), helps where workers hold few rows and many features are rare.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array, beside, norm
from mpiopt.engine.phase import Joint, Outer, PerRow, PerWorker
from mpiopt.numerics.newton import model, newton, unpack
from mpiopt.problems.penalties import along
from mpiopt.problems.problem import Message, Point, Site, Team, mean, mean_scalars
from mpiopt.problems.protocols import Margins

REFRESH = 10  # rounds between exact recomputations of the margins, which are otherwise updated by sums
CANCEL = 1e-6  # of a sum's longest term: of a shorter sum too few digits are left
SLIGHT = 1e-5  # of the margins: what a shorter step changes in F is near its rounding, and none of that may be drift


class PlaneMemory(NamedTuple):
    """What spans the next plane: the last step (dim,), the Hessian's diagonal (dim,) or (0,); margins of the directions."""

    step: Array  # (0,) before the first
    curvature: Array
    margins: PerRow  # (k, rows) each, the last step's last


@dataclass(frozen=True)
class PlaneSearch(Outer):
    """The exact search in the plane of the agreed direction and the last step, and of the Jacobi direction if asked."""

    needs: ClassVar[type] = Margins
    jacobi: bool = False

    def init(self, x: Array, team: Team[Margins]) -> PlaneMemory:
        """No last step yet. Collective: one vector round with ``jacobi``."""
        buffers = PerRow(beside(x, (2 + self.jacobi, site.loss.margin_count), 0) for site in team.sites)
        return PlaneMemory(np.zeros(0), diagonal(team, x) if self.jacobi else np.zeros(0), buffers)

    def __call__(
        self, agreed: Message, points: PerWorker, state: PlaneMemory, here: Joint[Margins]
    ) -> tuple[PerWorker, PlaneMemory]:
        """Three to six small allreduces. Collective."""
        directions, buffers, team = [agreed.vector], state.margins, here.team
        if self.jacobi:
            residual = team.penalty.residual(points[0].x, points[0].gradient)
            directions.append(-residual / (state.curvature + team.penalty.l2))
        for site, buffer in zip(team.sites, buffers, strict=True):
            for direction, row in zip(directions, buffer, strict=False):
                site.loss.margins(direction, out=row)
        if state.step.size:
            directions.append(state.step)
        k = len(directions)
        c = minimise(team, points, directions, [buffer[:k] for buffer in buffers])
        step = sum(factor * direction for factor, direction in zip(c.tolist(), directions, strict=True))
        x = points[0].x + step
        moved = (
            _move(site, at, x, step, c, buffer, here.round)
            for site, at, buffer in zip(team.sites, points, buffers, strict=True)
        )
        return PerWorker(moved), state._replace(step=step)


def _move(site: Site[Margins], at: Point, x: Array, step: Array, c: Array, buffer: Array, round: int) -> Point:  # noqa: A002 - the field's word
    """The worker's next point; the buffer's last row becomes the margins of the step."""
    last = buffer[-1]
    last *= c[-1] if len(c) == len(buffer) else 0.0
    longest = norm(last)
    for factor, row in zip(c, buffer[:-1], strict=False):
        row *= factor
        longest = max(longest, norm(row))
        last += row
    if norm(last) < max(CANCEL * longest, SLIGHT * norm(at.known)) or round % REFRESH == REFRESH - 1:
        site.loss.margins(step, out=last)  # as the next plane has it, or its errors grow from step to step
        return Point(x, site.loss.margins(x, out=at.margins))
    margins = at.known
    margins += last
    return Point(x, margins)


def diagonal(team: Team[Margins], x: Array) -> Array:
    """The diagonal of the Hessian of f at x, (dim,). Collective: one vector round."""
    points = [site.loss.point(x) for site in team.sites]
    messages = [Message(site.loss.diagonal(at), np.empty(0)) for site, at in zip(team.sites, points, strict=True)]
    return mean(team, messages, name="diagonal").vector


def minimise(team: Team[Margins], points: Sequence[Point], directions: Sequence[Array], rows: Sequence[Array]) -> Array:
    """argmin over c of F(x + sum_k c_k d_k), (k,), for smooth penalties. Collective: a few small allreduces.

    directions : k arrays (dim,); rows : per hosted worker their margins (k, rows).
    """
    k, pairs = len(directions), along(team.penalty, points[0].x, directions)
    bends: list[Array] = []

    def evaluate(c: Array) -> tuple[float, Array, Array]:
        parts = [site.loss.plane(at, p, c) for site, at, p in zip(team.sites, points, rows, strict=True)]
        sums = mean_scalars(team, parts, "search", () if bends else pairs)
        if not bends:  # the penalty's part, asked for once
            bends[:] = unpack(np.append(0.0, team.penalty.l2 * sums[-len(pairs) :]), k)[1:]
            sums = sums[: -len(pairs)]
        value, gradient, hessian = unpack(sums, k)
        more, slope = model(c, *bends)
        return value + more, gradient + slope, hessian + bends[1]

    return newton(evaluate, np.eye(k)[0])
