"""Any loss as methods that search on margins see it: its margins are the coordinates of x, the loss a function of these.

A step of such a search is then an evaluation of the loss. Where a loss has no Hessian, products with it are differences of
gradients, and the diagonal is its mean, estimated by one product with a vector of signs (Hutchinson, A stochastic estimator of
the trace of the influence matrix for Laplacian smoothing splines, 1990).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mpiopt.arrays import Array, beside, namespace, norm
from mpiopt.errors import CapabilityError
from mpiopt.problems.problem import Team
from mpiopt.problems.protocols import Curvature, Loss, Margins, Point, lacking, offers
from mpiopt.problems.wrapped import Wrapped

PRODUCTS = 60  # with the Hessian: within about 2 % of the largest eigenvalue where the next is near, else far better
CUBE = float(np.finfo(float).eps) ** (1 / 3)  # of |x| + 1: the step for which central differences err least
DIRECT = 1e-6  # of its terms' size: a difference that is larger is taken as it is


@dataclass(frozen=True)
class Lifted(Wrapped):
    """A loss with margins (dim,) of its own; `Margins`. Not known to be convex, so that no bound of the gap is given."""

    convex = False
    descends = False
    radius = 1.0
    lipschitz = float("inf")

    @property
    def weights(self) -> Array:
        """(0,): none are known row by row."""
        return np.empty(0)

    @property
    def margin_count(self) -> int:
        """The length of x."""
        return self.loss.dim

    def point(self, x: Array) -> Point:
        """x and a copy of it."""
        return Point(x, x.copy())

    def value_grad(self, at: Point) -> tuple[float, Array]:
        """Those of the loss."""
        return self.loss.value_grad(self.loss.point(at.x))

    def hessian(self, at: Point) -> Callable[[Array], Array]:
        """That of the loss, or central differences of its gradients: two for each product."""
        if offers(self.loss, Curvature):
            return self.loss.hessian(self.loss.point(at.x))

        def product(v: Array) -> Array:
            length = norm(v)
            if not length > 0:
                return namespace(v).zeros_like(v)
            step = CUBE * (1 + norm(at.x)) / length
            ahead, behind = (self.value_grad(Point(at.x + s * v))[1] for s in (step, -step))
            ahead -= behind
            ahead /= 2 * step
            return ahead

        return product

    def diagonal(self, at: Point) -> Array:
        """That of the loss, or an estimate of its mean in every place."""
        if offers(self.loss, Curvature):
            return self.loss.diagonal(self.loss.point(at.x))
        signs = namespace(at.x).asarray(np.random.default_rng(0).choice([-1.0, 1.0], self.dim))
        return beside(at.x, self.dim, max(float(signs @ self.hessian(at)(signs)), 0.0) / max(self.dim, 1))

    @cached_property
    def steepest(self) -> float:
        """The largest eigenvalue of the Hessian at the origin."""
        start = np.random.default_rng(0).standard_normal(self.dim)
        return largest(self.hessian(Point(np.zeros(self.dim))), start)

    def margins(self, x: Array, out: Array | None = None) -> Array:
        """A copy of x."""
        if out is None:
            return x.copy()
        out[...] = x
        return out

    def plane(self, at: Point, directions: Array, c: Array) -> Array:
        """See `Margins.plane`: one evaluation and a product for each direction."""
        moved = Point(at.x + sum((factor * d for factor, d in zip(c.tolist(), directions, strict=True)), 0.0 * at.x))
        value, gradient = self.value_grad(moved)
        products = map(self.hessian(moved), directions)
        hessian = [float(p @ d) for j, p in enumerate(products) for d in directions[j:]]
        return np.array([value, *(float(gradient @ d) for d in directions), *hessian])

    def bregman(self, at: Point, margins: Array) -> float:
        """See `Margins.bregman`: the difference, or by the curvature on the way where that would cancel."""
        step = margins - at.x
        (low, slope), (high, _) = self.value_grad(at), self.value_grad(Point(margins))
        line = float(slope @ step)
        term = high - low - line
        if abs(term) > DIRECT * (abs(high) + abs(low) + abs(line)) or not np.isfinite(term):
            return term if term == term else float("inf")
        return 0.5 * float(step @ self.hessian(Point(at.x + step / 3))(step))

    def head(self, rows: int) -> "Margins":
        """Raises CapabilityError: nothing is known of single rows."""
        raise CapabilityError(
            f"the first {rows} rows of {type(self.loss).__name__} cannot be taken alone: leave server_rows out, or use spcg"
        )


def lifted(team: Team) -> Team:
    """The team with losses that all are `Margins`: those that are not, `Lifted`. Not collective.

    Raises CapabilityError for what is no loss at all, such as a game.
    """
    if missing := lacking(team.sites[0].loss, Loss):
        raise CapabilityError(
            f"{type(team.sites[0].loss).__name__} cannot be minimised: it has no {', '.join(missing)}; games are played "
            "by extragradient and its kin"
        )
    sites = (site if offers(site.loss, Margins) else replace(site, loss=Lifted(site.loss)) for site in team.sites)
    return replace(team, sites=tuple(sites))


def largest(product: Callable[[Array], Array], v: Array, norm: Callable[[Array], float] = norm) -> float:
    """The largest eigenvalue of a positive semidefinite map, from below: `PRODUCTS` of power iteration begun at v.

    norm : of vectors; one that is agreed on where all ranks hold them.
    """
    size = 0.0
    for _ in range(PRODUCTS):
        length = norm(v)
        if not length:
            return 0.0
        v = product(v / length)
        size = norm(v)
    return size
