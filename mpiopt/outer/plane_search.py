"""PlaneSearch: minimise F exactly over x + span(agreed direction, Jacobi direction, gradient, last steps).

    c = argmin F(x + sum_k c_k d_k),   the last directions being x_k - x_{k-1}, ...;      x <- x + sum_k c_k d_k

The last step makes it a nonlinear conjugate gradient method: on quadratics it is preconditioned conjugate gradients. More of
them make up for what rounding and the curvature's change lose, and for a preconditioner that is no symmetric one. Margins are
cached, so a Newton step on the coefficients costs one pass over the rows' margins and an allreduce of 1 + k + k(k+1)/2
numbers; no vector round. Nocedal and Wright, Numerical Optimization, 2006, section 5.2, for the subspace view of conjugate
gradients.

The Jacobi direction -(g_j + l2 x_j) / (h_j + l2), h the diagonal of the Hessian at the start (one more vector round,
once), helps where workers hold few rows and many features are rare; the gradient where many local models know little.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array, beside, namespace, norm
from mpiopt.engine.phase import Joint, Outer, PerRow, PerWorker
from mpiopt.numerics.newton import model, newton, unpack
from mpiopt.outer.plane_products import asked, carried, filled, unknown, widened
from mpiopt.problems.penalties import along
from mpiopt.problems.problem import Message, Point, Site, Team, mean, mean_scalars
from mpiopt.problems.protocols import Margins

REFRESH = 10  # rounds between exact recomputations of the margins, which are otherwise updated by sums
CANCEL = 1e-6  # of a sum's longest term: of a shorter sum too few digits are left
MANY, SOME, SPARSE = 20, 5, 20_000  # steps kept of fewer coefficients than that, and of more; of very few by their root
TINY = 16  # coefficients of which a search of three directions sends more than the rounds that it saves
DENSE = 1500  # coefficients up to which the gradient adds nothing to the steps kept
SLIGHT = 1e-5  # of the margins: what a shorter step changes in F is near its rounding, and none of that may be drift


class PastStep(NamedTuple):
    """A step that was taken, (dim,)."""

    vector: Array


class PlaneMemory(NamedTuple):
    """What spans the next plane: the last steps, the Hessian's diagonal (dim,) or (0,); margins of the directions.

    steps : in no order; the next one takes the place ``turn``. margins : (k, rows) each, those of the steps
    last. products : inner products of the point and the steps, as `plane_products` keeps them.
    """

    steps: tuple[PastStep, ...]
    curvature: Array
    margins: PerRow
    products: Array
    turn: int = 0


@dataclass(frozen=True)
class PlaneSearch(Outer):
    """The exact search in the plane of the agreed direction and the last ``steps``, and what else is asked for.

    jacobi : the Jacobi direction too. wide : several last steps (`kept`), and of many coefficients (more than `DENSE`) minus
    the gradient of F.
    """

    needs: ClassVar[type] = Margins
    jacobi: bool = False
    wide: bool = False

    def fresh(self, dim: int) -> int:
        """Directions that are new in every round."""
        return 1 + self.jacobi + self._descends(dim)

    def kept(self, dim: int) -> int:
        """Last steps that are among the directions: what a search sends grows as the square of their number."""
        if not self.wide:
            return 1
        if dim <= TINY:
            return 1
        return min(MANY, max(2, 2 * isqrt(dim) // 3)) if dim < SPARSE else SOME

    def _descends(self, dim: int) -> bool:
        return self.wide and dim > DENSE

    def init(self, x: Array, team: Team[Margins]) -> PlaneMemory:
        """No last step yet. Collective: one vector round with ``jacobi``."""
        dim = team.world.whole(x.size)
        k = self.fresh(dim) + self.kept(dim)
        buffers = PerRow(beside(x, (k, site.loss.margin_count), 0) for site in team.sites)
        return PlaneMemory((), diagonal(team, x) if self.jacobi else np.zeros(0), buffers, unknown(0))

    def __call__(
        self, agreed: Message, points: PerWorker, state: PlaneMemory, here: Joint[Margins]
    ) -> tuple[PerWorker, PlaneMemory]:
        """Three to six small allreduces. Collective."""
        buffers, team, dim = state.margins, here.team, here.team.world.whole(points[0].x.size)
        fresh = self.fresh(dim)
        directions = self._directions(agreed.vector, points[0], state, team, dim)
        for site, buffer in zip(team.sites, buffers, strict=True):
            for direction, row in zip(directions, buffer, strict=False):
                site.loss.margins(direction, out=row)
        directions += [one.vector for one in state.steps]
        k, due = len(directions), here.round % REFRESH == REFRESH - 1
        known = unknown(k) if due else widened(state.products, fresh)
        c, products = minimised(team, points, directions, [buffer[:k] for buffer in buffers], known)
        step = _combined(c.tolist(), directions)
        x, place = points[0].x + step, fresh + state.turn
        moved = PerWorker(
            _move(site, at, x, step, c, buffer, place, due)
            for site, at, buffer in zip(team.sites, points, buffers, strict=True)
        )
        steps = (*state.steps[: state.turn], PastStep(step), *state.steps[state.turn + 1 :])
        kept = carried(products, c, fresh, state.turn)
        return moved, state._replace(steps=steps, products=kept, turn=(state.turn + 1) % self.kept(dim))

    def _directions(self, p: Array, at: Point, state: PlaneMemory, team: Team[Margins], dim: int) -> list[Array]:
        """Those that are new."""
        found = [p]
        if self.jacobi or self._descends(dim):
            residual = team.penalty.residual(at.x, at.gradient)
            if self.jacobi:
                found.append(-residual / (state.curvature + team.penalty.l2))
            if self._descends(dim):
                found.append(-residual)
        return found


def _combined(factors: Sequence[float], directions: Sequence[Array]) -> Array:
    """sum_k c_k d_k, (dim,), with one long vector beside it."""
    out = factors[0] * directions[0]
    part = namespace(out).empty_like(out) if len(directions) > 1 else out
    for factor, direction in zip(factors[1:], directions[1:], strict=True):
        namespace(out).multiply(direction, factor, out=part)
        out += part
    return out


def _move(site: Site[Margins], at: Point, x: Array, step: Array, c: Array, buffer: Array, place: int, afresh: bool) -> Point:
    """The worker's next point; row ``place`` of the buffer becomes the margins of the step."""
    rows = buffer[: len(c)]
    longest = max(abs(factor) * norm(row) for factor, row in zip(c.tolist(), rows, strict=True))
    last = buffer[place]
    last[...] = namespace(rows).asarray(c, rows.dtype) @ rows
    if norm(last) < max(CANCEL * longest, SLIGHT * norm(at.known)) or afresh:
        site.loss.margins(step, out=last)  # or its errors grow from step to step
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
    return minimised(team, points, directions, rows, unknown(len(directions)))[0]


def minimised(
    team: Team[Margins], points: Sequence[Point], directions: Sequence[Array], rows: Sequence[Array], products: Array
) -> tuple[Array, Array]:
    """`minimise`, and all `plane_products`, of which some may be known."""
    k, l2 = len(directions), team.penalty.l2
    places = asked(products)
    pairs = along(team.penalty, points[0].x, directions, places)

    def summed(c: Array, numbers: int | None = None) -> Array:
        nonlocal products, pairs
        parts = [site.loss.plane(at, p, c)[:numbers] for site, at, p in zip(team.sites, points, rows, strict=True)]
        sums = mean_scalars(team, parts, "search", pairs)
        if pairs:  # the penalty's part, asked for once
            products = filled(products, places, sums[-len(pairs) :])
            sums, pairs = sums[: -len(pairs)], []
        return sums

    def evaluate(c: Array) -> tuple[float, Array, Array]:
        value, gradient, hessian = unpack(summed(c), k)
        more, slope = model(c, l2 * products[:, 0], l2 * products[:, 1:])
        return value + more, gradient + slope, hessian + l2 * products[:, 1:]

    def value(c: Array) -> float:
        return float(summed(c, 1)[0]) + model(c, l2 * products[:, 0], l2 * products[:, 1:])[0]

    return newton(evaluate, np.eye(k)[0], value=value), products
