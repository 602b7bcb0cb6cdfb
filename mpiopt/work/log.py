"""How far a worker has come in training, kept as ``log`` in the state of every Work that looks at samples."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.phase import Local
from mpiopt.problems.optional import Drawing
from mpiopt.problems.problem import Point, RowSample, Site
from mpiopt.problems.protocols import offers

WINDOW = 10  # losses that the running loss is the mean of, as in the paper on leader SGD


class Log(NamedTuple):
    """Steps, rows and losses of one worker."""

    recent: Array  # (WINDOW,) float64: the last losses, NaN where there were none
    steps: int = 0
    rows: int = 0  # that its steps looked at
    bad: int = -1  # the first step whose loss was not finite

    @staticmethod
    def blank() -> "Log":
        """Before the first step."""
        return Log(np.full(WINDOW, np.nan))

    def after(self, loss: float, rows: int) -> "Log":
        """One step later."""
        self.recent[self.steps % WINDOW] = loss
        bad = self.steps if self.bad < 0 and not np.isfinite(loss) else self.bad
        return Log(self.recent, self.steps + 1, self.rows + rows, bad)

    @property
    def loss(self) -> float:
        """The running loss: the mean of the last ones, NaN before the first and once one of them was."""
        return float(self.recent[: min(self.steps, WINDOW)].mean()) if self.steps else float("nan")


@runtime_checkable
class Logging(Protocol):
    """The state of a Work that looks at samples."""

    @property
    def log(self) -> Log:
        """How far the worker has come."""


def sampled(x: Array, log: Log, here: Local) -> tuple[Array, Log]:
    """The gradient (dim,) of this worker's loss and smooth penalty at x over the sample of its next step. Not collective."""
    site = here.site
    picked = site.sample(log.steps)
    if offers(site.loss, Drawing):
        site.loss.reseed(site.streams("model", log.steps, site.worker))
    value, g, rows = slope(x, site, picked)
    return g, log.after(value, rows)


def slope(x: Array, site: Site, picked: Array | RowSample | None) -> tuple[float, Array, int]:
    """A worker's loss and smooth penalty at x over the picked rows, None for all, their gradient (dim,), and how many rows.

    Not collective.
    """
    value, g, rows = _over(picked, site.loss, Point(x) if picked is not None else site.loss.point(x))
    if site.penalty.l2:
        g += site.penalty.grad(x).astype(g.dtype, copy=False)
        value += site.penalty.value(x)
    return value, g, rows


def _over(picked: Array | RowSample | None, loss: Any, at: Point) -> tuple[float, Array, int]:
    """Value, gradient (dim,) and number of the picked rows, a call of the loss for all that count alike."""
    if picked is None:
        return *loss.value_grad(at), loss.rows
    if not isinstance(picked, RowSample):
        return *loss.value_grad(at, picked), len(picked)
    value, g = 0.0, np.zeros_like(at.x)
    for rows, part in picked.groups:
        found, slope = loss.value_grad(at, rows)
        slope *= part
        value, g = value + part * found, g + slope
    return value, g, len(picked.rows)
