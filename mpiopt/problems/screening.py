"""What a duality gap proves of features: that they are 0 at the minimum, so that nothing needs to be known of them any more.

    u       the rows' slopes times c in (0, 1], so that |A^T u| <= l1, or with l2 c = 1 too;  D(u)  the dual objective there
    gone    x_j = 0  and  |A_j^T u| + (2 s_j (F(x) - D(u)))^(1/2) < l1_j,      s_j = L sum_i w_i a_ij^2 / W

since the best u is no further away: D is strongly concave, by the bound L of the rows' second derivatives. With an intercept
the slopes of the sign that outweighs are shrunk until all add up to 0, which moves A_j^T u by no more than (s_j / L)^(1/2)
times the length of what is taken away. Fercoq, Gramfort, Salmon, Mind the duality gap: safer rules for the lasso, 2015;
Ndiaye, Fercoq, Gramfort, Salmon, Gap safe screening rules for sparsity enforcing penalties, 2017.
"""

from collections.abc import Sequence
from math import isfinite, sqrt
from typing import NamedTuple, cast

import numpy as np

from mpiopt.arrays import Array
from mpiopt.problems.dual_bound import above
from mpiopt.problems.penalties import ElasticNet, portion
from mpiopt.problems.per_feature import PerFeature
from mpiopt.problems.problem import Message, Point, Team, mean
from mpiopt.problems.protocols import Columns

SURE = 1 - 1e-9  # of l1: what rounding may do is less than the rest


def screenable(team: Team[Columns]) -> bool:
    """Whether something can be proved: l1 on every feature, and a bound of the rows' second derivatives. Not collective."""
    penalty = team.penalty
    kinked = isinstance(penalty, ElasticNet | PerFeature) and penalty.l1 > 0
    every = not isinstance(penalty, PerFeature) or bool(penalty.factors.all())
    return kinked and every and isfinite(_bound(team))


def _bound(team: Team[Columns]) -> float:
    return team.sites[0].loss.family.curvature_bound


def spreads(team: Team[Columns]) -> Array:
    """s, (dim,): what the diagonal of the Hessian of f is nowhere above. Collective: one vector round."""
    bound = _bound(team)
    rows = [bound * (site.loss.weights if site.loss.weights.size else np.ones(site.loss.rows)) for site in team.sites]
    parts = [Message(site.loss.squares(h), np.empty(0)) for site, h in zip(team.sites, rows, strict=True)]
    return mean(team, parts, name="diagonal").vector


def slopes(team: Team[Columns], points: Sequence[Point]) -> Message:
    """The gradient of f at the common point, (dim,), and f as its first scalar; with an intercept the means of the rows' slopes
    of either sign and of their squares follow. Collective: one vector round."""
    found = []
    for site, at in zip(team.sites, points, strict=True):
        loss, scale = site.loss, 1 / site.loss.weight if site.loss.weight > 0 else 0.0
        value, r = loss.family.value_residual(loss.shifted(loss.known(at)), loss.y, loss.weights)
        scalars = [value, *(_signs(r, loss.weights) if loss.intercept else ())]
        found.append(Message(loss.combine(r, scale), scale * np.array(scalars)))
    return mean(team, found, name="gradient")


def _signs(r: Array, w: Array) -> list[float]:
    squares = np.divide(r * r, w, out=np.zeros_like(r), where=w > 0) if w.size else r * r
    up, down = r > 0, r < 0
    return [float(r[up].sum()), -float(r[down].sum()), float(squares[up].sum()), float(squares[down].sum())]


class EvenedOut(NamedTuple):
    """Factors of the slopes above and below 0, by which they add up to 0, and the length of what is taken away."""

    up: float = 1.0
    down: float = 1.0
    away: float = 0.0

    @staticmethod
    def of(scalars: Array) -> "EvenedOut":
        """From those of `slopes`. Alike on all ranks."""
        if scalars.size == 1:
            return EvenedOut()
        _, up, down, ups, downs = scalars.tolist()
        rise, fall = (min(1.0, down / up) if up > 0 else 1.0), (min(1.0, up / down) if down > 0 else 1.0)
        return EvenedOut(rise, fall, max((1 - rise) * sqrt(ups), (1 - fall) * sqrt(downs)))


def surviving(team: Team[Columns], points: Sequence[Point], agreed: Message, spread: Array) -> Array:
    """Mask (features,) of those that may not be 0 at the minimum, alike on all ranks. Collective: one small sum.

    agreed : that of `slopes` at the points; spread : s (dim,).
    """
    n, x, penalty = team.sites[0].loss.features, points[0].x, cast("ElasticNet | PerFeature", team.penalty)
    each = penalty.factors if isinstance(penalty, PerFeature) else 1.0
    l1, ridge = penalty.l1 * each, penalty.ridge * each
    even, s, slope = EvenedOut.of(agreed.scalars), spread[:n], abs(agreed.vector[:n])
    if even.away:
        slope += even.away * np.sqrt(s / _bound(team))
    most = float((slope / l1).max(initial=0.0))
    factors = [1 / most, 1.0] if most > 1 and penalty.ridge > 0 else [min(1.0, 1 / most) if most > 0 else 1.0]
    beyond = [np.maximum(c * slope - l1, 0) / np.sqrt(2 * ridge) for c in factors] if penalty.ridge > 0 else []
    gaps = _gaps(team, points, factors, even, float(agreed.scalars[0]), beyond)
    best = int(np.argmin(gaps))
    room = SURE * l1 - factors[best] * slope
    return (x[:n] != 0) | (room <= 0) | (room * room <= (2 * gaps[best]) * s)


def _gaps(
    team: Team[Columns],
    points: Sequence[Point],
    factors: Sequence[float],
    even: EvenedOut,
    mean_loss: float,
    beyond: Sequence[Array],
) -> list[float]:
    """F(x) - D(c u) for each factor c. Collective: one small sum.

    beyond : (features,) for each, what squared adds to -D, by how much |A^T c u| is above l1; none where nothing may be.
    """
    x, parts, n = points[0].x, [], team.sites[0].loss.features
    cuts = zip(team.world.slices(x.size), team.world.slices(n), strict=True)
    for site, at, (cut, part) in zip(team.sites, points, cuts, strict=True):
        scale = _scales(site.loss, at, even)
        duals = np.array([site.share * site.loss.conjugate(at, c * scale) for c in factors])
        if beyond:
            duals += [float(each[part] @ each[part]) for each in beyond]
        parts.append(np.array([portion(team.penalty, x, cut), *duals]))
    value, *duals = team.world.total(parts, "screening").tolist()
    return [above(-dual, mean_loss + value) for dual in duals]


def _scales(loss: Columns, at: Point, even: EvenedOut) -> Array:
    """The factor of each row's slope, (rows,)."""
    if even.up == even.down == 1:
        return np.ones(loss.rows)
    r = loss.family.value_residual(loss.shifted(loss.known(at)), loss.y, loss.weights)[1]
    return np.where(r > 0, even.up, np.where(r < 0, even.down, 1.0))
