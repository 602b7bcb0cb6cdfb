"""Figures of predictions of several classes: by class, and over all, in two small messages and a ranking for each class."""

from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.world import World
from mpiopt.metrics.ranking import Ranking


class ClassRows(NamedTuple):
    """This rank's rows. margins : (rows, classes); chances : (rows, classes), or None; y : (rows,) class numbers; weights :
    (rows,), or None, on all ranks, for all 1."""

    margins: Array
    chances: Array | None
    y: Array
    weights: Array | None = None
    lost: float = 0.0  # the weighted sum of these rows' losses


class ClassFigures(NamedTuple):
    """overall : by name; by_class : by name, (classes,) each; confusion : (classes, classes), the weight of rows of the first
    class that were taken for the second."""

    overall: dict[str, float]
    by_class: dict[str, Array]
    confusion: Array


def class_figures(world: World, rows: ClassRows) -> ClassFigures:
    """Every figure; NaN where one is not defined. Collective, the same on every rank.

    The largest margin is the class that is taken. Macro figures, and the balanced accuracy, which is that of recall, are means
    over the classes that have rows; roc_auc is of each class against the rest, by its margins; mean_loss is of the loss that
    was fitted, log_loss the mean of -log p_y.
    """
    count = rows.margins.shape[1]
    weights = np.ones(len(rows.y)) if rows.weights is None else rows.weights
    confusion = np.zeros((count, count))
    np.add.at(confusion, (rows.y, rows.margins.argmax(1)), weights)
    confusion = world.total([confusion.reshape(-1)], "figures").reshape(count, count)
    by_class = _by_class(confusion) | {"roc_auc": _areas(world, rows)}
    there = confusion.sum(1) > 0
    means = {f"macro_{name}": _mean(by_class[name][there]) for name in ("precision", "f1", "roc_auc")}
    total = float(confusion.sum())
    overall = {
        "accuracy": float(np.trace(confusion)) / total if total else np.nan,
        "balanced_accuracy": _mean(by_class["recall"][there]),
    }
    overall |= means
    lost = [rows.lost]
    if rows.chances is not None:
        picked = rows.chances[np.arange(len(rows.y)), rows.y]
        lost.append(float(-np.log(np.maximum(picked, np.finfo(float).tiny)) @ weights))
    sums = world.total([np.array(lost)], "figures").tolist()
    overall |= {name: each / total if total else np.nan for name, each in zip(("mean_loss", "log_loss"), sums, strict=False)}
    return ClassFigures(overall, by_class, confusion)


def _by_class(confusion: Array) -> dict[str, Array]:
    """Weight, precision (0 where none was taken for the class), recall, F1, (classes,) each."""
    right, rows, taken = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = right / rows
        precision = np.where(taken > 0, right / taken, 0.0)
        return {"rows": rows, "precision": precision, "recall": recall, "f1": 2 * right / (rows + taken)}


def _areas(world: World, rows: ClassRows) -> Array:
    found = []
    for k in range(rows.margins.shape[1]):
        ranking = Ranking.of(world, rows.margins[:, k], rows.y == k, rows.weights)
        found.append(ranking.areas(world)[0])
    return np.array(found)


def _mean(values: Array) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else np.nan
