"""A Newton step on the face of the objective that holds x: the signs of an l1 penalty stay, zeros stay zero.

On its face F is smooth. The step -H^-1 g is found by CG over all workers on the face's coordinates, and cut off where a
coefficient would change its sign, which lets many leave at once. Hager and Zhang, A new active set algorithm for box
constrained optimization, 2006; Byrd, Chin, Nocedal, Oztoprak, A family of second-order methods for convex
l1-regularized optimization, 2016.
"""

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.phase import PerWorker
from mpiopt.numerics import krylov
from mpiopt.outer.line_search import differences
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Message, Point, Team, mean
from mpiopt.problems.protocols import Margins

CANDIDATES = tuple(4.0**-k for k in range(6))


def newton_on_face(
    team: Team[Margins], penalty: ElasticNet, points: PerWorker, slope: Array, ratio: float, products: int
) -> PerWorker:
    """The best of six points along the cut-off Newton step, or the points as they are where none is better.

    slope : gradient of f at x, (dim,). Collective: one vector round for the diagonal, one per product (at most
    ``products``, fewer once CG's residual has fallen to ``ratio``), and a small sum. penalty : that of the team.
    """
    x = points[0].x
    face = penalty.support(x)
    gradient = np.where(face, penalty.residual(x, slope), 0.0)
    p = _direction(team, points, face, gradient, ratio, products)
    trials = [_cut(penalty, x, x + s * p) for s in CANDIDATES]
    margins = [[site.loss.margins(trial) for trial in trials] for site in team.sites]
    changes, _ = differences(team, points, gradient, [trial - x for trial in trials], margins)
    best = int(np.argmin(changes))
    if not changes[best] < 0:
        return points
    return PerWorker(Point(trials[best], rows[best]) for rows in margins)


def _direction(team: Team[Margins], points: PerWorker, face: Array, gradient: Array, ratio: float, products: int) -> Array:
    """-H^-1 g on the face, 0 elsewhere. Collective."""
    penalty = team.penalty
    hessians = [site.loss.hessian(at) for site, at in zip(team.sites, points, strict=True)]

    def product(v: Array) -> Array:
        whole = mean(team, [Message(h(v), np.empty(0)) for h in hessians], name="product").vector
        return np.where(face, whole + penalty.grad(v), 0.0)

    parts = [Message(site.loss.diagonal(at), np.empty(0)) for site, at in zip(team.sites, points, strict=True)]
    diagonal = mean(team, parts, name="diagonal").vector + penalty.grad(np.ones(face.size))
    inverse = np.divide(1, diagonal, out=np.zeros_like(diagonal), where=face & (diagonal > 0))
    return krylov.solve(product, -gradient, lambda r: r * inverse, ratio, products, team.world.dots).x


def _cut(penalty: ElasticNet, x: Array, wanted: Array) -> Array:
    """``wanted``, with 0 in place of penalised coefficients of another sign than x."""
    crossed = x * wanted < 0
    crossed[x.size - penalty.free :] = False
    return np.where(crossed, 0.0, wanted)
