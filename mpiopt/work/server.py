"""The server sample, which is the first n rows of worker 0, and the mu with which the rows of a server speak for all."""

from collections.abc import Callable

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.problems.problem import L, Site, Team
from mpiopt.problems.protocols import Margins
from mpiopt.words import counted


def sample(site: Site[Margins], rows: int | None) -> Margins:
    """The loss of the first ``rows`` rows of a site; all of them for None.

    Raises UsageError where the site holds fewer, or where they weigh nothing.
    """
    if rows is None:
        return site.loss
    if not 1 <= rows <= site.loss.rows:
        raise UsageError(
            f"a server sample of {counted(rows, 'row')} was asked for, but worker {site.worker} holds {site.loss.rows}: "
            f"the sample is the first rows of worker 0; give `server_rows` between 1 and {site.loss.rows}, or use fewer workers"
        )
    head = site.loss.head(rows)
    if not head.weight > 0:
        raise UsageError(f"the first {rows} rows of worker {site.worker} have weight 0: give `server_rows` above {rows}")
    return head


def occupied(site: Site[L]) -> Site[L]:
    """The site, as a server's. Raises UsageError where it has nothing to model the objective with."""
    if not site.loss.weight > 0:
        raise UsageError(
            f"worker {site.worker} is the server of this method but holds no rows of positive weight: use fewer workers or "
            "ranks, or `method=spcg`, which needs no server"
        )
    return site


def server_mu(team: Team[Margins], rows: int | None) -> float:
    """The default mu of a server sample, the first ``rows`` rows of worker 0 (all for None): c R^2 / n * (1 - n / N).

    c is the loss's largest curvature and R the longest row of all N, so that c R^2 / n is what one row adds at most to the
    Hessian of a sample of n: the scale on which that differs from the Hessian of all, and by nothing where n = N. For
    logistic regression on rows of length 1 this is 0.25/n; Hendrikx et al. 2020 begin to tune at 0.1/n. Rows count by
    their weights. Losses whose curvature has no bound count with the largest that their rows have at the origin.
    Collective; raises UsageError on every rank, as `sample` and `occupied`.
    """
    return _found(team, lambda site: _part(occupied(site), rows) if site.worker == 0 else 0.0, "measuring the server sample")


def common_mu(team: Team[Margins]) -> float:
    """The default mu where every worker is a server: the mean of what each has as the only one, by weight. Collective."""
    return _found(team, lambda site: site.share * _part(site, None), "measuring the rows")


def _found(team: Team[Margins], part: Callable[[Site[Margins]], float], doing: str) -> float:
    """The sum of ``part`` over all workers times their largest c R^2. Collective: two small ones."""
    with team.world.together(doing):
        parts = [np.array([part(site)]) for site in team.sites]
        bend = np.array([max(_bend(site.loss) for site in team.sites)])
    share = float(team.world.total(parts, "mu")[0])
    return share * float(team.world.extremes(bend, "mu")[1][0]) if share > 0 else 0.0


def _bend(loss: Margins) -> float:
    """c R^2, which the Hessian of no row exceeds."""
    return loss.steepest * loss.radius**2 if loss.weight > 0 else 0.0


def _part(site: Site[Margins], rows: int | None) -> float:
    """The part that a row is at most of the site's sample, times the part of all rows that the sample lacks."""
    loss = sample(site, rows)
    if not loss.weight > 0:
        return 0.0
    heaviest = float(loss.weights.max()) if loss.weights.size else 1.0
    return heaviest / loss.weight * (1 - site.share * loss.weight / site.loss.weight)
