"""Standard errors of a few coefficients among many, by conjugate gradients: nothing of d x d numbers is made.

    u_j = H^-1 e_j, a vector round for each product with H, scaled to have a diagonal of 1
    hessian   u_jj^(1/2);    sandwich   (sum_i (s_i.u_j)^2)^(1/2);    cluster   the same of sums over a cluster's rows

with H and the scores s_i of `standard_errors`. A coefficient that others leave undetermined has no error, one that they do not
has one, whatever else is singular.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import DataError
from mpiopt.inference.seen import (
    NAMED,
    Kind,
    RowsAt,
    clusters_of_all,
    demand_errors,
    dispersion,
    few_clusters,
    places,
    singular,
)
from mpiopt.numerics import krylov
from mpiopt.problems.problem import Team
from mpiopt.problems.protocols import Columns

RATIO, LIMIT = 1e-10, 5000  # what is left of a residual, and products at most for one coefficient
LEFT = 1e-6  # of a residual: more says that H does not determine the coefficient
HEAVY = 0.1  # of the largest entry of a direction that H does not see: columns that it is made of


def named_errors(
    team: Team[Columns],
    x: Array,
    which: Sequence[int],
    kind: Kind = "hessian",
    clusters: Sequence[Array] = (),
    name: Callable[[int], str] = str,
    without: Sequence[int] = (),
) -> Array:
    """The standard errors of the coefficients ``which`` at x (dim,), NaN for all others, (dim,). Collective.

    The rest as in `standard_errors`; raises the same, DataError also where conjugate gradients do not settle.
    """
    demand_errors(team, kind)
    rows = [RowsAt(site.loss, x) for site in team.sites]
    ridge = team.weight * team.penalty.grad(np.ones(x.size))
    ridge[list(without)] += 1
    diagonal = ridge + team.world.sum(
        [site.loss.squares(each.bends.copy()) * site.loss.weight for site, each in zip(team.sites, rows, strict=True)],
        "diagonal",
    )
    if empty := [j for j in which if not diagonal[j] > 0]:
        raise DataError(singular(empty, diagonal, name))
    scale = np.divide(1, np.sqrt(np.maximum(diagonal, 0)), out=np.zeros(x.size), where=diagonal > 0)

    def product(v: Array) -> Array:
        w = scale * v
        parts = [site.loss.combine(each.bends * site.loss.margins(w)) for site, each in zip(team.sites, rows, strict=True)]
        return scale * (team.world.sum(parts, "product", out=parts[0]) + ridge * w)

    known = clusters_of_all(team, clusters) if kind == "cluster" else np.zeros(0)
    spread, errors = dispersion(team, rows) if kind == "hessian" else 1.0, np.full(x.size, np.nan)
    for j in which:
        column = scale * _column(team, product, j, scale, name)
        variance = spread * float(column[j]) if kind == "hessian" else _middle(team, rows, column, clusters, known)
        errors[j] = np.sqrt(max(variance, 0.0))
    return errors


def _column(team: Team, product: krylov.Map, j: int, scale: Array, name: Callable[[int], str]) -> Array:
    """Column j of the scaled inverse times scale_j, (dim,). Collective. Raises DataError."""
    b = np.zeros(scale.size)
    b[j] = scale[j]
    found = krylov.solve(product, b, lambda r: r, RATIO, LIMIT, team.world.dots)
    if found.residual <= LEFT * scale[j]:
        return found.x
    size = abs(found.p)
    heavy = np.flatnonzero(size >= HEAVY * size.max())
    told = ", ".join(name(k) for k in heavy[np.argsort(-size[heavy], kind="stable")][:NAMED].tolist())
    why = f"the Hessian is singular: it does not see a combination of columns such as {told}"
    if found.products >= LIMIT:
        why = f"conjugate gradients have not settled in {LIMIT:,} products, least of all for columns such as {told}"
    raise DataError(f"there is no standard error of {name(j)}, since {why}; leave columns out, or give `l2` above 0")


def _middle(team: Team[Columns], rows: Sequence[RowsAt], column: Array, clusters: Sequence[Array], known: Array) -> float:
    """u.M u: the sum of the squares of s.u over rows, or over clusters. Collective: a small sum, or one number a cluster."""
    own = [each.slopes * site.loss.margins(column) for site, each in zip(team.sites, rows, strict=True)]
    if not known.size:
        return float(team.world.total([np.array([float(each @ each)]) for each in own])[0])
    parts = [np.bincount(places(ids, known)[0], each, known.size) for ids, each in zip(clusters, own, strict=True)]
    sums = team.world.total(parts, "clusters")
    return few_clusters(team, known.size) * team.world.dots([(sums, sums)])[0]
