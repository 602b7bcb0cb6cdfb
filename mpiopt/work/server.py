"""The server sample: the first n rows of worker 0, and works that only the server does."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.phase import Local, Tree, Work
from mpiopt.problems.problem import Message, Point, Site


def sample(site: Site, rows: int | None) -> Any:
    """The loss of the first ``rows`` rows of a site; all of them for None.

    Raises UsageError where the site holds fewer.
    """
    if rows is None:
        return site.loss
    if not 1 <= rows <= site.loss.rows:
        raise UsageError(
            f"a server sample of {rows} rows was asked for, but worker {site.worker} holds {site.loss.rows}: the sample "
            f"is the first rows of worker 0; give --server-rows between 1 and {site.loss.rows}, or use fewer workers"
        )
    return site.loss.head(rows)


@dataclass(frozen=True)
class Only:
    """Let one worker do the work; the others stay idle and send zeros (`exchange.From` never reads them)."""

    work: Work
    worker: int = 0

    def init(self, x: Array, site: Site) -> Tree:
        """The work's state on its worker, nothing elsewhere."""
        return self.work.init(x, site) if site.worker == self.worker else ()

    def __call__(self, at: Point, agreed: Message, state: Tree, here: Local) -> tuple[Point, Message, Tree]:
        """The work's own result on its worker."""
        if here.site.worker == self.worker:
            return self.work(at, agreed, state, here)
        return at, Message(np.broadcast_to(0.0, at.x.shape), np.empty(0)), state
