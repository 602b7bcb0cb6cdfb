"""``mpiopt predict`` and ``mpiopt score`` of trainings."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import logsumexp, softmax

from mpiopt.arrays import Array
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.jobs.reports.class_scores import ClassScores
from mpiopt.jobs.reports.scores import Scored
from mpiopt.jobs.running.applying import back_in_order
from mpiopt.jobs.running.own_code import metrics_of, own_model
from mpiopt.jobs.running.trained_run import Applied, TrainedRun, applied
from mpiopt.metrics.class_figures import ClassRows, class_figures
from mpiopt.problems.examples import Dense
from mpiopt.problems.model import chunks

if TYPE_CHECKING:
    from mpiopt.comm.world import World


@dataclass(frozen=True)
class TrainedOutputs:
    """What predictions are called. classes : 0 for a module of one's own, whose outputs are told as they are."""

    path: Path
    outputs: int
    classes: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The columns: class and the probability of each, or the outputs by number."""
        word = "probability" if self.classes else "output"
        return (*(["class"] if self.classes else []), *(f"{word}_{k}" for k in range(self.outputs)))

    def predictions(self, z: Array) -> dict[str, Array]:
        """The columns `names`, (rows,) each, of outputs (rows, outputs)."""
        if not self.classes:
            return dict(zip(self.names, z.T, strict=True))
        return dict(zip(self.names, (z.argmax(1), *softmax(z.astype(np.float64), axis=1).T), strict=True))


def outputs(run: TrainedRun, data: str, world: "World") -> tuple[TrainedOutputs, Array, int]:
    """What is told of predictions, the outputs of this rank's block of the source's rows, and the number of all rows.

    Collective. Raises MpioptError on every rank.
    """
    if run.text:
        raise CapabilityError(f"{run.path} is of a model of text: let it write on from a `prompt`, or score it")
    over = applied(run, data, world, judged=False)
    with world.together(f"applying {run.path}"):
        z = _outputs(run, over)
    width = int(world.extremes(np.array([float(z.shape[1])]))[1][0])
    placed = back_in_order(z.reshape(-1, width), over.lo, over.rows, over.shuffle, world)
    return TrainedOutputs(run.path, width, not own_model(run.job.model)), placed, over.rows


def _outputs(run: TrainedRun, over: Applied) -> Array:
    """(rows, outputs)."""
    if own_model(run.job.model):
        z = over.model.said(over.x) if over.model.rows else np.zeros((0, 0), np.float32)
        return z.reshape(len(z), -1)
    parts = [over.model.outputs(over.x, _taken(over.data, cut)) for cut in chunks(None, over.data.rows)]
    return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)


def _taken(data: Dense, cut: Any) -> Array:
    return data.take(cut, np.dtype(np.float32))[0]


def scored(run: TrainedRun, data: str, asked: tuple[str, ...], world: "World") -> tuple[Scored, int]:
    """How good it is, and the number of rows. asked : figures, all for (). Collective. Raises MpioptError on every rank."""
    over = applied(run, data, world)
    by_class = None
    if run.text or own_model(run.job.model) or not isinstance(over.data, Dense):
        found = _by_loss(run, over, world)
    else:
        found, by_class = _by_class(run, over, world)
    if unknown := [name for name in asked if name not in found]:
        raise UsageError(f"--metric {unknown[0]}: {run.path} is scored by {', '.join(found)}")
    return Scored({name: found[name] for name in asked or found}, None, None, None if asked else by_class), over.rows


def _by_loss(run: TrainedRun, over: Applied, world: "World") -> dict[str, float]:
    """Means of the loss and of metrics, as an examination of the training has them. Collective."""
    names = [name for name in metrics_of(run.job) if name != "accuracy"]
    with world.together(f"applying {run.path}"):
        sums = over.model.evaluate(over.x) if over.model.rows else None
        part = np.zeros(3 + len(names)) if sums is None else np.array([sums.rows, sums.loss, sums.correct, *sums.figures])
    rows, *means = world.total([part]).tolist()
    loss, accuracy, *figures = (each / rows if rows else np.nan for each in means)
    found = {"mean_loss": loss, "accuracy": accuracy, **dict(zip(names, figures, strict=True))}
    if run.text:
        found["perplexity"] = float(np.exp(loss))
    return {name: value for name, value in found.items() if not np.isnan(value)}


def _by_class(run: TrainedRun, over: Applied, world: "World") -> tuple[dict[str, float], ClassScores]:
    """Figures of classes, by name and by class. Collective."""
    with world.together(f"applying {run.path}"):
        z, y = _outputs(run, over).astype(np.float64), over.data.y.astype(np.int64)
        count = int(run.about.get("classes", 0))
        z = z.reshape(len(y), -1 if len(y) else count)
        lost = float((logsumexp(z, axis=1) - z[np.arange(len(y)), y]).sum())
        rows = ClassRows(z, softmax(z, axis=1), y, None, lost)
    several = class_figures(world, rows)
    return several.overall, ClassScores(tuple(map(str, range(z.shape[1]))), several)
