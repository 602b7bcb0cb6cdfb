"""PlaneSearch: minimise F exactly over x + span(agreed direction, Jacobi direction, last step).

    (a, b) = argmin F(x + a p + b s),   s = x_k - x_{k-1};      x <- x + a p + b s

The second direction makes it a nonlinear conjugate gradient method: on quadratics it is preconditioned conjugate
gradients. Margins are cached, so a Newton step on the coefficients costs one pass over the rows' margins and an
allreduce of 1 + k + k(k+1)/2 numbers; no vector round. Nocedal and Wright, Numerical Optimization, 2006, section 5.2,
for the subspace view of conjugate gradients.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import NumericalError
from mpiopt.newton import newton, unpack
from mpiopt.phase import Joint, PerRow, PerWorker, Tree
from mpiopt.problems.penalties import along
from mpiopt.problems.problem import Message, Point, Team, mean_scalars

REFRESH = 10  # rounds between exact recomputations of the margins, which are otherwise updated by sums


@dataclass(frozen=True)
class PlaneSearch:
    """The exact search in the plane of the agreed direction and the last step."""

    def init(self, x: Array, team: Team) -> Tree:
        """No last step yet; per worker a buffer (2, rows) for the directions' margins."""
        return None, PerRow(np.zeros((2, site.loss.rows)) for site in team.sites)

    def __call__(self, agreed: Message, points: PerWorker, state: Tree, here: Joint) -> tuple[PerWorker, Tree]:
        """Two to five small allreduces. Collective."""
        last, buffers = state
        directions = [agreed.vector] if last is None else [agreed.vector, last]
        for site, buffer in zip(here.team.sites, buffers, strict=True):
            site.loss.margins(agreed.vector, out=buffer[0])
        c = minimise(here.team, points, directions, [buffer[: len(directions)] for buffer in buffers])
        step = c[0] * agreed.vector
        if last is not None:
            last *= c[1]
            step += last
        x = points[0].x + step
        moved = PerWorker(
            _move(site, at, x, c, buffer, here.round)
            for site, at, buffer in zip(here.team.sites, points, buffers, strict=True)
        )
        return moved, (step, buffers)


def _move(site, at: Point, x: Array, c: Array, buffer: Array, round: int) -> Point:  # noqa: A002 - the field's word
    """The worker's next point; the buffer's last row becomes the margins of the step."""
    buffer[0] *= c[0]
    buffer[1] *= c[1] if len(c) > 1 else 0.0
    buffer[1] += buffer[0]
    margins = at.margins
    if round % REFRESH == REFRESH - 1:
        return Point(x, site.loss.margins(x, out=margins))
    margins += buffer[1]
    return Point(x, margins)


def minimise(team: Team, points: Sequence[Point], directions: Sequence[Array], rows: Sequence[Array]) -> Array:
    """argmin over c of F(x + sum_k c_k d_k), (k,). Collective: a few small allreduces.

    directions : k arrays (dim,); rows : per hosted worker their margins (k, rows).
    """
    slope, quadratic = along(team.penalty, points[0].x, directions)

    def evaluate(c: Array) -> tuple[float, Array, Array]:
        sums = mean_scalars(
            team,
            [site.loss.plane(at, along_rows, c) for site, at, along_rows in zip(team.sites, points, rows, strict=True)],
            "search",
        )
        if not np.isfinite(sums).all():
            raise NumericalError(
                "the objective is not finite along the search direction: check the data for huge values"
            )
        value, gradient, hessian = unpack(sums, len(c))
        return (value + slope @ c + 0.5 * c @ quadratic @ c, gradient + slope + quadratic @ c, hessian + quadratic)

    return newton(evaluate, np.eye(len(directions))[0])
