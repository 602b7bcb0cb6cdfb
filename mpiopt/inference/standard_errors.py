"""Standard errors of the coefficients of a linear model at its optimum x.

    hessian   diag(H^-1)^(1/2), H the Hessian of the sum of the losses and of the penalty           of a likelihood
    sandwich  diag(H^-1 M H^-1)^(1/2), M = sum_i s_i s_i^T, s_i = w_i l'_i a_i the rows' scores      whatever the variances
    cluster   the same with scores summed over the rows of a cluster before, times G/(G - 1) (n - 1)/(n - d)

Least squares: hessian times the variance of the errors, sum_i w_i (m_i - y_i)^2 / (n - d). With l2 > 0 they are those of the
penalised estimate about its own mean (the posterior's, for hessian), not about the truth: shrinkage is no part of them. White,
A heteroskedasticity-consistent covariance matrix estimator, 1980; Huber, The behavior of maximum likelihood estimates under
nonstandard conditions, 1967; Liang, Zeger, Longitudinal data analysis using generalized linear models, 1986.

All at once, by a factorisation; of a few among many coefficients, `named_errors`.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import CapabilityError, DataError
from mpiopt.inference.panels import Panels
from mpiopt.inference.seen import Kind, RowsAt, clusters_of_all, demand_errors, dispersion, few_clusters, places, singular
from mpiopt.kernels import host
from mpiopt.problems.problem import Team
from mpiopt.problems.protocols import Columns

ALONE, MOST = 4000, 20_000  # coefficients, on one rank and on many
POOL = 512  # clusters whose scores are added up at a time


def standard_errors(
    team: Team[Columns],
    x: Array,
    kind: Kind = "hessian",
    clusters: Sequence[Array] = (),
    name: Callable[[int], str] = str,
    without: Sequence[int] = (),
) -> Array:
    """The standard errors at x (dim,), (dim,), the same on every rank. Collective.

    clusters : for ``cluster``, per hosted worker a number for each row, (rows,). name : of a coefficient, for sentences.
    without : coefficients that are no part of the model, of columns that are 0 throughout; their errors are NaN. Time d^3 over
    the ranks and the rows' lengths squared; a rank holds about 2 d^2 / ranks numbers. Raises on every rank CapabilityError
    where the penalty has kinks, where the loss has no such errors, and for too many coefficients; DataError where the Hessian
    is singular, naming columns, and for a single cluster.
    """
    demand_errors(team, kind)
    _demand_room(team)
    rows = [RowsAt(site.loss, x) for site in team.sites]
    ridge = team.weight * team.penalty.grad(np.ones(x.size))
    ridge[list(without)] += 1
    hessian = _gram(team, [each.bends for each in rows], ridge)
    diagonal = hessian.diagonal()
    scale = np.divide(1, np.sqrt(np.maximum(diagonal, 0)), out=np.zeros(x.size), where=diagonal > 0)
    hessian.scaled(scale)
    if dependent := hessian.factor():
        raise DataError(singular(dependent, diagonal, name))
    mine = hessian.mine()
    z = np.zeros((x.size, mine.size))
    z[mine, np.arange(mine.size)] = 1
    hessian.solved(z)
    if kind == "hessian":
        variances = (z * z).sum(0) * dispersion(team, rows)
    else:
        hessian.resolved(z)
        middle, more = (
            _pooled(team, rows, clusters) if kind == "cluster" else (_gram(team, [each.slopes**2 for each in rows]), 1.0)
        )
        middle.scaled(scale)
        variances = more * (z * middle.product(z)).sum(0)
    out = np.zeros(x.size)
    out[mine] = variances
    errors = scale * np.sqrt(np.maximum(hessian.told_all(out), 0))
    errors[list(without)] = np.nan
    return errors


def _demand_room(team: Team[Columns]) -> None:
    """Raise CapabilityError for more coefficients than there are panels for. Not collective: all ranks see the same."""
    dim = team.dim
    if dim > MOST or (dim > ALONE and team.world.size == 1):
        where = f"up to {MOST:,} coefficients" if dim > MOST else f"up to {ALONE:,} coefficients on one rank"
        rest = f", or more ranks below {MOST:,}" if dim <= MOST else ""
        raise CapabilityError(
            f"standard errors of all coefficients are for {where}, and here are {dim:,}: name those that are wanted "
            f"(`inference_of`){rest}"
        )


def _gram(team: Team[Columns], weights: Sequence[Array], ridge: Array | None = None) -> Panels:
    """sum_i h_i a_i a_i^T over all rows, with the intercept's 1s, and a diagonal; h : (rows,) per hosted worker. Collective."""
    out = Panels.zeros(team.world, team.dim)
    for k in range(out.count):
        parts = [_lines(site.loss, h, out.lines(k)) for site, h in zip(team.sites, weights, strict=True)]
        total = team.world.sum(parts, "panel")
        if k in out.held:
            out.held[k] += total
            if ridge is not None:
                out.held[k][np.diag_indices(len(total))] += ridge[out.lines(k)]
    return out


def _lines(loss: Columns, h: Array, lines: slice) -> Array:
    """This worker's part of some lines of that matrix, from their first column on, (lines, dim - first)."""
    a, d, first = loss.matrix, loss.features, lines.start
    out = np.zeros((lines.stop - first, loss.dim - first))
    inner = np.zeros((min(lines.stop, d) - first, d - first)) if first < d else np.zeros((0, 0))
    host.gram_rows(a.indptr, a.indices, a.data, h, first, inner)
    out[: len(inner), : d - first] = inner
    if loss.intercept:
        sums = np.append(a.tdot(h), h.sum())[first:]
        out[: len(out), -1] = sums[: len(out)]
        if lines.stop > d:
            out[-1] = sums
    return out


def _pooled(team: Team[Columns], rows: Sequence[RowsAt], clusters: Sequence[Array]) -> tuple[Panels, float]:
    """sum_c s_c s_c^T, s_c the sum of the scores of a cluster, and the factor for few clusters. Collective."""
    world, out = team.world, Panels.zeros(team.world, team.dim)
    known = clusters_of_all(team, clusters)
    for lo in range(0, known.size, POOL):
        some = known[lo : lo + POOL]
        scores = world.sum(
            [
                _scores(site.loss, each.slopes, *places(ids, some))
                for site, each, ids in zip(team.sites, rows, clusters, strict=True)
            ],
            "panel",
        )
        for k, panel in out.held.items():
            cut = out.lines(k)
            panel += scores[:, cut].T @ scores[:, cut.start :]
    return out, few_clusters(team, known.size)


def _scores(loss: Columns, slopes: Array, place: Array, count: int) -> Array:
    """The sums of this worker's scores by cluster, (count, dim)."""
    a, inner, out = loss.matrix, np.zeros((count, loss.features)), np.zeros((count, loss.dim))
    host.pooled(a.indptr, a.indices, a.data, slopes, place, inner)
    out[:, : loss.features] = inner
    if loss.intercept:
        out[:, -1] = np.bincount(place[place >= 0], slopes[place >= 0], count)
    return out
