"""Local solvers of  minimise phi(z) - q.z  (`problems.surrogate`), run by one worker without communication.

NewtonCG       truncated Newton with Jacobi-preconditioned CG; any smooth loss
Factored       Newton by the Hessian's factor; few coefficients
CGThenFactor   CG, and the factor where that takes no longer
DualDescent    dual coordinate descent, its dual variables kept from round to round; linear models, D > 0
Auto           DualDescent where its epochs hardly depend on the conditioning, NewtonCG elsewhere
"""

from dataclasses import dataclass, replace
from math import inf
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from mpiopt.arrays import Array, norm
from mpiopt.engine.phase import PerRow, Tree
from mpiopt.kernels.definite import Factor
from mpiopt.numerics import krylov
from mpiopt.numerics.newton import newton, unpack
from mpiopt.problems.problem import Point
from mpiopt.problems.protocols import Columns, Conjugate, offers
from mpiopt.problems.rounding import residue
from mpiopt.problems.surrogate import Reference
from mpiopt.work.hessian import triangle

NOISE = 64  # eps of q, which a local gradient of that length is the difference of grad phi and: about its rounding


@dataclass(frozen=True)
class NewtonCG:
    """Until the local gradient has fallen to ``ratio`` of its start, or in rounding no longer falls; at most ``steps`` steps.

    enough : of a distance from the minimum, which a gradient tells where every coordinate has the same ridge.
    One step of a loose solve needs no search and no second gradient: the outer search decides how far to go. Without a ridge
    the Hessian may be singular, and CG ends where its residual is rounding.
    Nocedal and Wright, Numerical Optimization, 2006, algorithm 7.1.
    """

    ratio: float = 0.1
    steps: int = 1
    products: int = 200
    enough: float = 0.0

    def aiming(self, gap: float) -> Self:
        """See `Aiming`; a loose solve ends long before."""
        return self if self.steps == 1 else replace(self, enough=gap)

    def init(self, x: Array, phi: Reference) -> Tree:
        """Nothing to remember."""
        return ()

    def __call__(self, phi: Reference, q: Array, at: Point, memory: Tree) -> tuple[Array, Tree]:
        """A minimiser to the stated accuracy."""
        g = phi.grad(at) - q
        target = max(self.ratio * norm(g), self._short(phi))
        noise, last = NOISE * float(np.finfo(q.dtype).eps) * norm(q), np.inf
        inner = self.ratio if self.steps == 1 else 0.1
        for _ in range(self.steps):
            size = norm(g)
            if size <= target or (size <= noise and not size < last):
                break
            last = size
            forcing = inner if self.steps == 1 else max(min(inner, np.sqrt(size)), 0.5 * target / size)
            floor = 0.0 if phi.strong else residue(phi.loss, at)
            p = self.direction(phi, at, g, forcing, floor)
            if self.steps == 1:
                return at.x + p, memory
            at = _search(phi, q, at, p)
            g = phi.grad(at) - q
        return at.x.copy(), memory  # which is the caller's to change

    def direction(self, phi: Reference, at: Point, g: Array, forcing: float, floor: float) -> Array:
        """-H^-1 g, (dim,), as nearly as ``forcing``, or until what is left of it is below ``floor``."""
        return krylov.solve(phi.hessian(at), -g, phi.jacobi(at), forcing, self.products, floor=floor).x

    def _short(self, phi: Reference) -> float:
        """A gradient that tells of half the distance that is enough, which leaves room for the search that follows."""
        known = isinstance(phi.ridge, int | float) and phi.ridge > 0 and not phi.free
        return float(np.sqrt(phi.ridge * self.enough)) if known else 0.0


@dataclass(frozen=True)
class Factored(NewtonCG):
    """The same by the factor of the Hessian itself, d (d + 1) / 2 numbers: for few coefficients, whatever their units."""

    def direction(self, phi: Reference, at: Point, g: Array, forcing: float, floor: float) -> Array:
        """Exactly."""
        return Factor.of(triangle(phi.loss, at), phi.scaled(np.ones_like(g))).solved(-g)


@dataclass(frozen=True)
class CGThenFactor(Factored):
    """CG for as long as the factor takes, by an estimate, and the factor where that was not enough: of few coefficients.

    It takes no more than about twice the time of the quicker of the two, in whatever units the coefficients come.
    """

    def direction(self, phi: Reference, at: Point, g: Array, forcing: float, floor: float) -> Array:
        """-H^-1 g, (dim,), as nearly as ``forcing`` or better; by CG alone where the Hessian may be singular."""
        most = min(_products(phi.loss), self.products) if phi.strong else self.products
        cg = krylov.solve(phi.hessian(at), -g, phi.jacobi(at), forcing, most, floor=floor)
        return cg.x if cg.products < most or most == self.products else super().direction(phi, at, g, forcing, floor)


def _products(loss: Any) -> int:
    """How many take the time of a factor: 0.35 ns a pair of a row's entries and 1/18 a cube, for 2.5 an entry of a product."""
    entries = max(loss.matrix.nnz, 1)
    return 1 + int((0.35 * entries**2 / max(loss.rows, 1) + loss.dim**3 / 18) / (2.5 * entries))


def _search(phi: Reference, q: Array, at: Point, p: Array) -> Point:
    """The exact minimiser along p, on cached margins."""
    rows = phi.loss.margins(p)[None, :]
    slope, curvature = float(p @ (phi.scaled(at.x) - q)), float(p @ phi.scaled(p))

    def evaluate(c: Array) -> tuple[float, Array, Array]:
        value, gradient, hessian = unpack(phi.loss.plane(at, rows, c), 1)
        return value + c[0] * slope + 0.5 * c[0] ** 2 * curvature, gradient + slope + c * curvature, hessian + curvature

    c = float(newton(evaluate, np.ones(1))[0])
    return Point(at.x + c * p, at.margins + c * rows[0])


class DualMemory(NamedTuple):
    """What dual coordinate descent keeps from call to call."""

    alpha: PerRow  # the dual variables
    image: Array | None  # D^-1 A^T (y alpha) / W, (dim,)
    calls: int

    def fit(self, loss: Conjugate, at: Point) -> "DualMemory":
        """With dual variables that fit the margins at a point; as they are at the origin, where there is a usual start."""
        if not at.x.any():
            return self
        return self._replace(alpha=PerRow((loss.family.dual_variables(loss.shifted(loss.known(at)), loss.y),)))


@dataclass(frozen=True)
class DualDescent:
    """Dual coordinate descent until the estimated duality gap has fallen to ``ratio``, or to ``enough``, in at most ``epochs``.

    Yu, Huang, Lin, Dual coordinate descent methods for logistic regression and maximum entropy models, 2011, with the
    linear term of the local problem as a shift of z. The dual variables alpha stay from call to call, and with them
    D^-1 A^T (y alpha) / W as z - D^-1 q, so that a call with another q starts without a pass over the rows.
    An intercept whose D is below ``floor`` is held near the point with that D, or every row would pull it its own way;
    the outer search makes up for it.

    anew : a call starts with the dual variables that fit the margins at the point, whose image is minus the slope there, in
    place of those of the call before: the point is the outer search's, and so nearer to the minimum than what this worker has
    found by itself. For models of which the workers' steps add up; no image is kept.
    """

    ratio: float = 0.1
    epochs: int = 5
    enough: float = 0.0
    anew: bool = False
    floor: ClassVar[float] = 0.01

    def aiming(self, gap: float) -> Self:
        """See `Aiming`."""
        return replace(self, enough=gap)

    def init(self, x: Array, phi: Reference[Columns]) -> DualMemory:
        """Dual variables at their start, their image unknown."""
        return DualMemory(PerRow((np.full(phi.loss.rows, phi.loss.family.dual_start),)), None, 0)

    def __call__(self, phi: Reference[Columns], q: Array, at: Point, memory: DualMemory) -> tuple[Array, DualMemory]:
        """A minimiser to the stated accuracy; two passes' worth of work per epoch."""
        z, memory, _ = self.tried(phi, q, at, memory)
        return z, memory

    def tried(self, phi: Reference[Columns], q: Array, at: Point, memory: DualMemory) -> tuple[Array, DualMemory, bool]:
        """The same, and whether there were epochs enough for the accuracy."""
        (alpha,), calls, loss = memory.alpha, memory.calls, phi.loss
        if loss.intercept and phi.ridge_free < self.floor:
            q = q.copy()
            q[-1] += (self.floor - phi.ridge_free) * at.x[-1]
            phi = replace(phi, ridge_free=self.floor)
        if loss.weight == 0:
            return phi.unscaled(q), memory, True
        ridges = (phi.ridge, phi.ridge_free if loss.intercept else 0.0)
        if self.anew and at.slope is not None and at.x.any():
            alpha[:] = memory.fit(loss, at).alpha[0]
            z = phi.unscaled(q - at.slope)
        elif calls % REFRESH == 0 or memory.image is None:
            z = loss.dual_point(alpha, q, *ridges)
        else:
            z = phi.unscaled(q)
            z += memory.image
        met = loss.dual_descent(alpha, z, *ridges, calls, self.epochs, self.ratio, enough=self.enough)
        done = met.size < self.epochs or bool(met[-1] <= max(self.ratio * met[0], self.enough))
        if self.anew:
            return z, DualMemory(memory.alpha, None, calls + 1), done
        image = phi.unscaled(q, memory.image)  # the one before has served
        np.subtract(z, image, out=image)
        return z, DualMemory(memory.alpha, image, calls + 1), done


REFRESH = 20  # calls between exact recomputations of the dual image, which drifts by rounding


Limits = tuple[tuple[float, float], ...]  # features a row, ascending, and the largest R^2 c / W up to there
TO_THE_END: Limits = ((1.0, 2.0), (6.0, 15.0), (inf, 100.0))  # for long vectors make conjugate gradients dear
LOOSELY: Limits = ((15.0, 1.0), (inf, 10.0))  # few epochs, of models whose linear term is another each round, and overshoots


def limit(limits: Limits, features: int, rows: int) -> float:
    """That of so many features and rows."""
    return next(most for wide, most in limits if features <= wide * max(rows, 1))


@dataclass(frozen=True)
class Auto:
    """DualDescent for more than ``features`` features where R^2 c / W is within ``difficulty``, NewtonCG elsewhere.

    R^2 is the mean of the rows' a_i.D^-1 a_i, c the family's curvature bound, W the worker's weight: an epoch of dual
    coordinate descent contracts by about 1 - 1 / (1 + R^2 c / W); CG ends within as many products as features.
    few : solves where there are no more than ``features``, if it is given. Where its epochs were not enough, dual coordinate
    descent has been tried for the last time.
    """

    dual: DualDescent
    newton: NewtonCG
    difficulty: Limits = ((inf, 10.0),)
    features: int = 1000
    few: NewtonCG | None = None

    def aiming(self, gap: float) -> Self:
        """See `Aiming`."""
        few = self.few and self.few.aiming(gap)
        return replace(self, dual=self.dual.aiming(gap), newton=self.newton.aiming(gap), few=few)

    def choose(self, phi: Reference[Any]) -> DualDescent | NewtonCG:
        """The solver for one worker's rows."""
        loss = phi.loss
        if not loss.descends or loss.features <= self.features or not phi.strong or not loss.weight > 0:
            return self._by_newton(loss)
        easy = limit(self.difficulty, loss.features, loss.rows)
        hard = _energy(phi) * loss.family.curvature_bound > easy * loss.weight
        return self._by_newton(loss) if hard else self.dual

    def _by_newton(self, loss: Any) -> NewtonCG:
        if self.few is None or not offers(loss, Columns) or loss.features > self.features:
            return self.newton
        return self.few

    def init(self, x: Array, phi: Reference[Any]) -> Tree:
        """The chosen solver's memory."""
        return self.choose(phi).init(x, phi)

    def begun(self, at: Point, phi: Reference[Any]) -> Tree:
        """As `init`; dual variables that fit a point."""
        memory = self.init(at.x, phi)
        return memory.fit(phi.loss, at) if isinstance(memory, DualMemory) else memory

    def __call__(self, phi: Reference[Any], q: Array, at: Point, memory: Tree) -> tuple[Array, Tree]:
        """What the chosen solver finds."""
        newton = self._by_newton(phi.loss)
        if not isinstance(memory, DualMemory):
            return newton(phi, q, at, memory)
        z, memory, done = self.dual.tried(phi, q, at, memory)
        return z, memory if done else newton.init(at.x, phi)


def _energy(phi: Reference[Columns]) -> float:
    """The mean of the rows' a_i.D^-1 a_i; a pass over the rows where D is a vector."""
    loss, weights = phi.loss, phi.loss.weights
    if isinstance(phi.ridge, int | float):
        return float(np.average(loss.row_squares, weights=weights if weights.size else None)) / phi.ridge
    squares = loss.squares(weights.copy() if weights.size else np.ones(loss.rows))
    return float((squares / phi.ridge)[: loss.features].sum())
