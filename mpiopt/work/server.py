"""The server sample: the first n rows of worker 0, and works that only the server does."""

from dataclasses import dataclass

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.engine.phase import Local, Tree, Work
from mpiopt.errors import UsageError
from mpiopt.problems.problem import L, Message, Point, Site, Team
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


def spread(site: Site[Margins], rows: int | None) -> float:
    """The default mu of a sample of n rows (all of the worker's for None):  c R^2 / n * (1 - n / N).

    c is the loss's largest curvature, R the worker's longest row, so that c R^2 / n is what one row adds at most to the
    Hessian of the sample: the scale on which it differs from the Hessian of all N rows, and by nothing where n = N. For
    logistic regression on rows of length 1 this is 0.25/n; Hendrikx et al. 2020 begin to tune at 0.1/n. Rows count by
    their weights. Losses whose curvature has no bound count with the largest that their rows have at the origin.
    """
    loss = sample(site, rows)
    if not loss.weight > 0:
        return 0.0
    heaviest = float(loss.weights.max()) if loss.weights.size else 1.0
    missing = 1 - site.share * loss.weight / site.loss.weight
    return loss.steepest * site.loss.radius**2 * heaviest / loss.weight * missing


def server_mu(team: Team[Margins], rows: int | None) -> float:
    """`spread` of the server sample, on every rank. Collective; raises UsageError on every rank, as `sample`."""
    with team.world.together("measuring the server sample"):
        found = [np.array([spread(occupied(site), rows) if site.worker == 0 else 0.0]) for site in team.sites]
    return float(team.world.total(found, "server")[0])


@dataclass(frozen=True)
class Only(Work):
    """Let one worker do the work; the others stay idle and send zeros (`exchange.From` never reads them)."""

    work: Work
    worker: int = 0

    @property
    def needs(self) -> type:
        """What ``work`` does."""
        return self.work.needs

    def init(self, x: Array, site: Site) -> Tree:
        """The work's state on its worker, nothing elsewhere. Raises UsageError where that worker has no rows."""
        return self.work.init(x, occupied(site)) if site.worker == self.worker else ()

    def __call__(self, at: Point, agreed: Message, state: Tree, here: Local) -> tuple[Point, Message, Tree]:
        """The work's own result on its worker."""
        if here.site.worker == self.worker:
            return self.work(at, agreed, state, here)
        return at, Message(namespace(at.x).zeros_like(at.x), np.empty(0)), state
