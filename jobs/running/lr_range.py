"""``mpiopt train --lr-range LOW:HIGH``: a short training whose step size grows, and what the loss says of it.

Smith, Cyclical learning rates for training neural networks, WACV 2017, section 3.3, with a factor in place of a
straight line, and an end at four times the least loss, both ours.
"""

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.errors import NumericalError, UsageError
from mpiopt.jobs.cli.console import Console, table
from mpiopt.jobs.reports.scores import demand_drawable
from mpiopt.jobs.running.local_rule import rate_of
from mpiopt.jobs.running.run_name import NOWHERE
from mpiopt.jobs.running.run_script import Course
from mpiopt.numerics.schedules import Schedule
from mpiopt.training.drive import Lesson

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.train_options import Train

BINS = 24  # of step sizes, whose mean losses are compared
TOO_MUCH = 4.0  # times the least loss: there a test ends


def suited(job: "Train") -> "Train":
    """The job as a test runs it: every round is looked at, and nothing is kept. Raises UsageError for options without a use."""
    idle = {
        "--checkpoint": job.checkpoint,
        "--accuracy": job.accuracy,
        "--log": job.log,
        "--out": job.out not in (None, NOWHERE),
    }
    if given := [name for name, value in idle.items() if value]:
        raise UsageError(f"--lr-range tries step sizes and leaves no run: leave {given[0]} out")
    return replace(job, out=NOWHERE, record=1e-9, test=None, also=(), lr=None, schedule="constant", warmup=0.0)


class RangeCurve:
    """A watcher: the running loss at every step size."""

    def __init__(self, rate: Schedule, workers: int) -> None:
        self._rate, self._workers = rate, workers
        self.rates: list[float] = []
        self.losses: list[float] = []

    def __call__(self, record: Lesson) -> None:
        """Not collective."""
        step = record.steps // self._workers
        if step and isfinite(record.objective):
            self.rates.append(self._rate(step - 1))
            self.losses.append(record.objective)

    def word(self) -> str:
        """Why the test ends here, or ""."""
        risen = bool(self.losses) and self.losses[-1] > TOO_MUCH * min(self.losses)
        return "the loss is four times its least" if risen else ""

    def binned(self) -> tuple[np.ndarray, np.ndarray]:
        """Step sizes at equal ratios and the mean losses about them."""
        where = np.log(self.rates)
        bins = np.minimum((where - where[0]) / max(np.ptp(where), 1e-12) * BINS, BINS - 1).astype(int)
        each = [(np.exp(where[bins == k].mean()), np.mean(np.array(self.losses)[bins == k])) for k in np.unique(bins)]
        rates, losses = np.array(each).T
        return rates, losses


def advice(rates: np.ndarray, losses: np.ndarray) -> dict[str, float]:
    """The step size of the least loss, and the one below it at which the loss falls fastest."""
    least = int(np.argmin(losses))
    slopes = np.diff(losses[: least + 1]) / np.diff(np.log(rates[: least + 1]))
    steepest = rates[int(np.argmin(slopes))] if slopes.size else rates[least]
    return {"steepest fall": float(steepest), "least loss": float(rates[least])}


def tested(job: "Train", world: "World", console: Console) -> dict[str, Any]:
    """Try the step sizes, show and draw. Collective. Raises MpioptError on every rank."""
    from mpiopt.jobs.running.training import TrainHooks

    demand_drawable(job.png)
    hooks = TrainHooks(job, world, console)
    hooks.opened()
    _, about = hooks.built()
    curve = RangeCurve(rate_of(job, hooks.per_epoch), world.workers)
    ended = "the largest step size"
    try:
        trained = hooks.ended(Course(lambda: None, [curve], [], curve.word, _unheard, lambda name: [])).end
        ended = trained.reason_text
    except NumericalError as error:
        ended = str(error)
    if len(curve.losses) < BINS:
        raise UsageError(f"--lr-range saw {len(curve.losses)} losses, too few to say anything: give more --epochs")
    rates, losses = curve.binned()
    marks = advice(rates, losses)
    console.show(_page(job, about, rates, losses, marks))
    if job.png is not None:
        with world.together(f"drawing {job.png}"):
            if world.rank == 0:
                _draw(job.png, curve, marks)
        console.note(f"wrote {job.png}")
    found = {name.replace(" ", "_"): rate for name, rate in marks.items()}
    return {**found, "rates": rates.tolist(), "losses": losses.tolist(), "ended": ended}


def _unheard(values: Mapping[str, float]) -> None:
    """Nothing is noted beside a record that nobody keeps."""


def _page(job: "Train", about: Mapping[str, Any], rates: np.ndarray, losses: np.ndarray, marks: Mapping[str, float]) -> str:
    rows = [[f"{rate:.3g}", f"{loss:.4g}"] for rate, loss in zip(rates[::2], losses[::2], strict=True)]
    told = ", ".join(f"{name} at {rate:.2g}" for name, rate in marks.items())
    head = f"{about['dataset']}: {job.model}, {job.rule}, {job.method}, batch {job.batch}"
    return f"{head}\n\n{table(['step size', 'running loss'], rows, 'rr')}\n\n{told}"


def _draw(path: Path, curve: RangeCurve, marks: dict[str, float]) -> None:
    from mpiopt.jobs.reports.lr_range_plot import figure
    from mpiopt.jobs.reports.plots import save

    try:
        save(figure(curve.rates, curve.losses, marks), path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
