"""How far the objective is from its minimum, proved.

gradient bound    F(x) - F* <= |g|^2 / (2 l2),  g the shortest subgradient of F at x;  needs l2 > 0, no free coordinate;
                  what rounding may hide of |g| (`problems.rounding`) is added to it
duality gap       F(x) - D(alpha), with dual variables alpha that are the rows' residuals at x, scaled to be feasible;
                  holds for l1, elastic net, a free intercept and features without a penalty (`unpenalised`); or with those
                  that a method has found (`dual_bound`); of several classes see `class_bound`
tight             F(x) - F* <= nu^2 / (4 psi(r)),  r = M R |x - x*|,  psi(r) = (e^-r + r - 1) / r^2,  nu^2 = g.H^-1 g,
                  |x - x*|^2 <= 2 B / l2 for any bound B, which is |g|^2 / (2 l2) at first and then what this one gives;
                  for losses that are quasi-self-concordant, |l'''| <= M l'', with R = max |a_i| (Bach, Self-concordant
                  analysis for logistic regression, 2010, prop. 1); least squares, M = 0: nu^2 / 2; several classes, M =
                  2^(1/2), since of numbers a.v_c the third cumulant is at most their variance times their range
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np

from mpiopt.arrays import Array, beside, namespace
from mpiopt.kernels.csr import CSR
from mpiopt.numerics import krylov
from mpiopt.problems.abreast import Abreast
from mpiopt.problems.class_bound import class_gap
from mpiopt.problems.class_recession import escaping_classes
from mpiopt.problems.dual_bound import above, shrinks
from mpiopt.problems.grouped import GroupLasso
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.per_feature import PerFeature
from mpiopt.problems.problem import Message, Point, Team, gradient, mean, mean_scalars, measures, offered
from mpiopt.problems.protocols import Columns, Conjugate, Curvature, Margins, Penalty, offers
from mpiopt.problems.recession import escaping
from mpiopt.problems.rounding import TermSizes, error, excuse, far_limit, relative, scale
from mpiopt.problems.several import Concordant, Several
from mpiopt.problems.unpenalised import Unpenalised

STEADY = 0.99  # of a bound: where it falls less, it has become as small as it does


class Certificate(NamedTuple):
    """What is proved of an answer; computed afresh from x, in float64, not from anything that a method has cached."""

    objective: float
    gradient_norm: float  # of the shortest subgradient
    gap: float  # F - F* <= gap, from the gradient or the duality gap; infinity where neither applies
    tight_gap: float  # the same from the tight bound, or ``gap`` where that is smaller
    noise: float = np.inf  # the largest coordinate of the (sub)gradient, relative to its terms (`problems.rounding`)
    floor: float = 0.0  # below which that is rounding alone
    escaping: int = 0  # rows on their way to the right side along a direction that takes none to the wrong one: no minimum


def certify(team: Team, x: Array, products: int, lower: float = -np.inf, inverse: krylov.Map | None = None) -> Certificate:
    """The certificate of x (dim,), spending at most ``products`` Hessian products on the tight bound. Collective.

    lower : what F is known not to be below. inverse : as `tight_gap` has it.
    """
    points = [site.loss.point(x) for site in team.sites]
    agreed = gradient(team, points, name="certificate")
    residual = team.penalty.residual(x, agreed.vector)
    size, value = measures(team, x, agreed.vector)
    objective = float(agreed.scalars[0]) + value
    del agreed  # a long vector
    if not np.isfinite(objective):
        return Certificate(objective, size, np.inf, np.inf)
    gap = min(proved_gap(team, points, size), above(lower, objective))
    tight = min(gap, tight_gap(team, points, residual, products, inverse))
    terms = scale(team)
    noise, floor = relative(team, residual, terms), far_limit(team, points, terms)
    found = team.world.bcast(np.array([objective, size, gap, tight, noise, floor]))  # exponentials have gone into it
    objective, size, gap, tight, noise, floor = found.tolist()
    if terms.limit < noise <= floor and _promising(team, points, residual, terms, products):
        floor = terms.limit
    settled = noise <= floor
    away = escaping_classes(team, x, settled) if offered(team, Several) else escaping(team, x, settled)
    return Certificate(objective, size, gap, tight, noise, floor, away)


def proved_gap(team: Team, points: Sequence[Point], residual_norm: float) -> float:
    """The smaller of the gradient bound, with its rounding, and the duality gap where it may be the smaller. Collective."""
    bound = gradient_bound(team, residual_norm)
    if np.isfinite(bound):
        bound = gradient_bound(team, residual_norm + error(team, points))
    return bound if np.isfinite(bound) and team.penalty.smooth else min(bound, duality_gap(team, points))


def gradient_bound(team: Team, residual_norm: float) -> float:
    """|g|^2 / (2 l2), infinity where F is not known to be strongly convex in every coordinate. Not collective."""
    known = _convex(team) and team.penalty.l2 > 0 and not team.penalty.free
    return residual_norm * residual_norm / (2 * team.penalty.l2) if known else np.inf


def _convex(team: Team) -> bool:
    """Whether the loss is known to be convex."""
    loss = team.sites[0].loss
    return offers(loss, Margins) and loss.convex


def duality_gap(team: Team, points: Sequence[Point]) -> float:
    """F(x) - D(alpha) for an elastic net, perhaps with factors, or a group lasso, on a linear model; else infinity.

    Collective: one vector round.

    Of several classes: `class_gap`.

    With an intercept, the residuals of the sign that outweighs are shrunk until they add up to 0; with l1 alone, all are
    shrunk until |A^T alpha| <= l1, of groups their dual norm, and with l2 besides some of the way, as far as makes the bound
    smallest.
    """
    if offered(team, Several):
        return class_gap(team, points)
    penalty = team.penalty
    if not offered(team, Conjugate) or (net := _net(penalty)) is None:
        return np.inf
    l1, l2 = net.l1, net.l2
    if (found := _balanced_residuals(team, points)) is None:
        return np.inf
    scales, agreed = found
    slope, own = _steepness(penalty, agreed.vector)
    factors = shrinks(net, float(slope.max()) if slope.size else 0.0)
    conjugates = mean_scalars(
        team,
        [
            np.array([site.loss.conjugate(at, shrink * scale) for shrink in factors])
            for site, at, scale in zip(team.sites, points, scales, strict=True)
        ],
    )
    if l2:
        beyond = (np.maximum(shrink * slope - l1, 0) for shrink in factors)  # one at a time: they are long
        pairs = ((each, each if own is None else own * each) for each in beyond)
        shares = zip(*(team.world.shares([pair]) for pair in pairs), strict=True)
        conjugates += team.world.total([np.concatenate(found) for found in shares], "dots") / (2 * l2)
    dual = -float(conjugates.min())
    objective = float(agreed.scalars[0]) + measures(team, points[0].x, agreed.vector)[1]
    return above(dual, objective)


def _net(penalty: Penalty) -> ElasticNet | None:
    """The elastic net whose dual a penalty has, but for factors or groups; None where there is no penalty."""
    if isinstance(penalty, PerFeature) and penalty.factors.any():
        penalty = ElasticNet(penalty.l1, penalty.ridge, penalty.free)
    if isinstance(penalty, GroupLasso):
        penalty = ElasticNet(penalty.group_l1, penalty.l2, penalty.free)
    return penalty if isinstance(penalty, ElasticNet) and penalty.grows else None


def _steepness(penalty: Penalty, u: Array) -> tuple[Array, Array | None]:
    """(n,) of coordinates or groups what of u (dim,) meets the l1 of `_net`, and what its squares count for, None for 1."""
    if isinstance(penalty, GroupLasso):
        return penalty.steepness(u), penalty.sizes
    slope = abs(u[: u.size - penalty.free])
    if isinstance(penalty, PerFeature):
        p = penalty.factors
        return np.divide(slope, p, out=np.zeros_like(slope), where=p > 0), p
    return slope, None


def _balanced_residuals(team: Team[Conjugate], points: Sequence[Point]) -> tuple[list[Array], Message] | None:
    """Per worker the factors (rows,) that make the residuals add up to 0, and orthogonal to features without a penalty, and
    [mean A^T of them; mean loss]. None where there are none."""
    found = [
        site.loss.family.value_residual(site.loss.shifted(site.loss.known(at)), site.loss.y, site.loss.weights)
        for site, at in zip(team.sites, points, strict=True)
    ]
    scales = [beside(residual, residual.size, 1) for _, residual in found]
    if isinstance(team.penalty, PerFeature) and not team.penalty.factors.all():
        without = np.flatnonzero(team.penalty.factors == 0)
        if (orthogonal := _orthogonal(team, points, [each for _, each in found], without)) is None:
            return None
        scales = orthogonal
    elif team.penalty.free:
        up, down = team.world.total([np.array([float(r[r > 0].sum()), -float(r[r < 0].sum())]) for _, r in found])
        for scale, (_, residual) in zip(scales, found, strict=True):
            scale[residual > 0] = min(1.0, down / up) if up > 0 else 1.0
            scale[residual < 0] = min(1.0, up / down) if down > 0 else 1.0
    messages = []
    for site, scale, (value, residual) in zip(team.sites, scales, found, strict=True):
        per_row = 1 / site.loss.weight if site.loss.weight > 0 else 0.0
        messages.append(Message(site.loss.combine(scale * residual, per_row), np.array([value * per_row])))
    return scales, mean(team, messages, name="certificate")


def _orthogonal(
    team: Team[Conjugate], points: Sequence[Point], residuals: Sequence[Array], without: Array
) -> list[Array] | None:
    """Those factors where the features ``without`` have no penalty; None where they are not found. Collective."""
    if not (offered(team, Columns) and all(isinstance(site.loss.matrix, CSR) for site in team.sites)):
        return None
    problem = Abreast.of((cast(Team[Linear], team),))
    features = Unpenalised.of(problem, without)
    margins = [loss.known(at)[None] for loss, at in zip(problem.losses, points, strict=True)]
    found = None if features is None else features.factors(problem, margins, [r[None] / team.weight for r in residuals])
    return None if found is None else [each[0] for each in found]


def tight_gap(team: Team, points: Sequence[Point], residual: Array, products: int, inverse: krylov.Map | None = None) -> float:
    """nu^2 / (4 psi(r)), from at most ``products`` CG steps; infinity where it does not apply. Collective.

    residual : grad F(x), (dim,). inverse : r -> about H^-1 r, the same on all ranks, by which CG is preconditioned; whatever it
    is, an unfinished CG is accounted for: nu^2 <= g.v + v.rho + |rho|^2 / l2.
    """
    penalty = team.penalty
    if not (offered(team, Concordant) and penalty.smooth and penalty.l2 > 0) or penalty.free:
        return np.inf
    concordance = team.sites[0].loss.concordance
    if concordance is None:
        return np.inf
    product = _product(team, points)
    precondition = _jacobi(team, points) if inverse is None else inverse
    radius = team.world.extremes(np.array([max((site.loss.radius for site in team.sites), default=0.0)]))[1][0]
    dots = team.world.dots
    best, cg = np.inf, krylov.begin(residual, precondition, dots)
    unsure = error(team, points)
    size, hidden = cg.residual + unsure, unsure / np.sqrt(penalty.l2)  # of nu: that of g.H^-1 g with H >= l2
    while cg.products < products and cg.rz > 0:
        cg = krylov.advance(cg, product(cg.p), precondition, dots)
        decrease, rest = dots([(residual, cg.x), (cg.x, cg.r)])
        nu2 = decrease + rest + cg.rr / penalty.l2
        best = min(best, max(nu2, 0.0))
        if nu2 <= 1.1 * decrease:
            break
    nu, reach = float(np.sqrt(best) + hidden), float(concordance * radius)
    found = _narrowed(nu, reach, size, penalty.l2)
    return float(team.world.bcast(np.array([found]))[0])  # exponentials have gone into it


def _narrowed(nu: float, reach: float, size: float, l2: float) -> float:
    """The tight bound with the smallest r; reach : M R, size : |g|. Not collective."""
    bound, last = size * size / (2 * l2), np.inf
    while bound < STEADY * last:
        psi, last = _psi(reach * float(np.sqrt(2 * bound / l2))), bound
        bound = min(bound, nu * nu / (4 * psi)) if psi else bound
    return bound if bound < np.inf else np.inf  # whatever is no number


def _promising(team: Team, points: Sequence[Point], residual: Array, terms: TermSizes, products: int) -> bool:
    """Whether g.H^-1 g, of which every CG step shows more, is beyond what rounding explains of it. Collective.

    residual : grad F(x), (dim,). Not asked where F has kinks.
    """
    if not (offered(team, Columns) and team.penalty.smooth):
        return False
    (most, sums), dots = excuse(team, points, terms), team.world.dots
    product, precondition = _product(team, points), _jacobi(team, points)
    cg = krylov.begin(residual, precondition, dots)
    while cg.products < products and cg.rz > sums * sums and not cg.bx > most * most:
        cg = krylov.advance(cg, product(cg.p), precondition, dots)
    return cg.bx > most * most


def _product(team: Team[Curvature], points: Sequence[Point]) -> krylov.Map:
    """v -> H v, H the Hessian of F. Collective is every product: one vector round."""
    hessians = [site.loss.hessian(at) for site, at in zip(team.sites, points, strict=True)]

    def product(v: Array) -> Array:
        bent = mean(team, [Message(h(v), np.empty(0)) for h in hessians], name="certificate").vector
        out = team.penalty.grad(v)  # which is linear
        out += bent
        return out

    return product


def _jacobi(team: Team[Curvature], points: Sequence[Point]) -> krylov.Map:
    """r -> M^-1 r, M the diagonal of the Hessian of F. Collective: one vector round."""
    parts = [Message(site.loss.diagonal(at), np.empty(0)) for site, at in zip(team.sites, points, strict=True)]
    diagonal = mean(team, parts, name="certificate").vector
    del parts
    diagonal = diagonal + team.penalty.grad(beside(diagonal, diagonal.size, 1))
    scale = 1 / namespace(diagonal).where(diagonal > 0, diagonal, 1.0)
    return lambda r: r * scale


def _psi(r: float) -> float:
    """(e^-r + r - 1) / r^2, 1/2 at 0 and 0 at infinity."""
    if not r < 1e100:
        return 0.0
    return 0.5 - r / 6 + r * r / 24 if r < 1e-3 else float((np.expm1(-r) + r) / r / r)
