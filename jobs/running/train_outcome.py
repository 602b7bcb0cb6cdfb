"""What is said of a training at its end: numbers for the run file and JSON, lines for people."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.engine.stop import Reason
from mpiopt.jobs.cli.console import size
from mpiopt.training.drive import Trained
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.train_options import Train

FINAL = ("test_loss", "accuracy")


def facts(trained: Trained) -> dict[str, Any]:
    """What is known of the answer, beside what is of every run's."""
    last = trained.final
    tested = {"test_loss": trained.test_loss, "accuracy": trained.accuracy, **trained.figures}
    return {"steps": last.steps, "epochs": last.epoch, **tested}


def converged(job: "Train", reason: Reason) -> bool | None:
    """Whether a run came to what was asked of it; None where that was nothing but to use up the epochs."""
    return None if job.accuracy is None and reason is Reason.EPOCHS else reason is Reason.TARGET


def lines(job: "Train", about: Mapping[str, Any], trained: Trained, world: "World") -> list[tuple[str, str]]:
    """A training for people. about : of its data and model."""
    last = trained.final
    rate = last.steps / last.seconds if last.seconds else float("nan")
    figures = dict(trained.figures)
    if job.model.partition(":")[0] == "gpt" and np.isfinite(trained.test_loss):
        figures = {"perplexity": float(np.exp(trained.test_loss)), **figures}
    right = f"accuracy {100 * trained.accuracy:.2f} %, " if np.isfinite(trained.accuracy) else ""
    more = "".join(f", {name} {value:.4g}" for name, value in figures.items())
    classes = f"{counted(about['classes'], 'class', 'classes')}, " if about["classes"] else ""
    drawn = job.sampling or f"batch {job.batch}"
    fewer = f", {job.compress} ({job.link})" if job.compress else ""
    return [
        (
            "data",
            f"{about['dataset']}: {counted(about['rows'], 'row')}, {classes}{about['ownership']}",
        ),
        ("model", f"{job.model}, {about['parameters']:,} parameters; {job.rule}, {job.schedule} step size"),
        (
            "method",
            f"{job.method} on {counted(world.size, 'rank')}, {counted(world.workers, 'worker')}, {drawn} each{fewer}",
        ),
        (
            "work",
            f"{last.epoch:.3g} epochs, {counted(last.steps, 'step')}, {counted(last.round, 'round')}, "
            f"{size(last.bytes_sent)} sent, {last.seconds:.1f} s ({rate:,.0f} steps/s)",
        ),
        ("training", f"running loss {last.objective:.4g}"),
        *([("test", f"{right}loss {trained.test_loss:.4g}{more}")] if np.isfinite(trained.test_loss) else []),
    ]
