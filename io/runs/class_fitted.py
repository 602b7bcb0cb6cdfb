"""A fitted model of several classes, as a run file has it, and what it says of rows.

RUN.h5   attributes   multiclass (multinomial, ovr), class_names (JSON, in the order of the columns of x)
         solution/    x (features, classes), intercept (classes,)
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import DataError
from mpiopt.io.dataset.class_team import MULTINOMIAL
from mpiopt.io.dataset.labels import shown
from mpiopt.io.dataset.recipe import Recipe
from mpiopt.io.dataset.source import Share, Source
from mpiopt.io.runs.beside_solution import read_made
from mpiopt.io.runs.fitted import Fitted, demand_columns
from mpiopt.io.runs.run_file import read_run, read_table
from mpiopt.losses.family import Family
from mpiopt.losses.registry import find
from mpiopt.metrics.class_figures import ClassRows

PLAIN = re.compile(r"[\w.+-]+")


@dataclass(frozen=True)
class ClassFitted:
    """What a run of ``mpiopt solve`` with several classes found.

    x : (features, classes); intercept : (classes,); classes : what they are called. kind : multinomial, or ovr. recipe : of the
    table that it was fitted to.
    """

    path: Path
    x: Array
    intercept: Array
    family: Family
    classes: tuple[str, ...]
    kind: str
    recipe: Recipe | None = None
    offset: bool = False

    @staticmethod
    def read(path: str | Path) -> "ClassFitted":
        """The model in a run file. Not collective. Raises DataError."""
        told = read_run(path).attributes
        names = _names(path, told)
        x, intercept = read_table(path, len(names))
        if len(x) != told.get("features", len(x)):
            raise DataError(f"{path} has coefficients of {len(x):,} features, and says that there are {told['features']:,}")
        kind, recipe = str(told["multiclass"]), read_made(path).recipe
        return ClassFitted(Path(path), x, intercept, find(str(told.get("loss"))), names, kind, recipe)

    @cached_property
    def labels_known(self) -> Array:
        """The classes as labels of a data set, ascending, (classes,). Raises DataError where one is no label."""
        try:
            return np.array([float(name if self.recipe is None else self.recipe.label_of(name)) for name in self.classes])
        except ValueError as error:
            raise DataError(f"{self.path} has a class that is no label of a data set: {error}") from error

    def demand_columns(self, source: Source) -> None:
        """See that the model is of these columns. Not collective. Raises UsageError."""
        demand_columns(self.path, len(self.x), source)

    def demand_labels(self, source: Source) -> None:
        """See that the labels are among those of the model. Not collective. Raises DataError."""
        found = np.array(source.labels.distinct or (source.labels.least, source.labels.greatest))
        if strange := [shown(label) for label in found[~np.isin(found, self.labels_known)].tolist()]:
            raise DataError(
                f"{source.name} has the label{'s' * (len(strange) > 1)} {', '.join(strange[:8])}, and the classes of "
                f"{self.path} are {', '.join(self.classes[:8])}: give data with the same"
            )

    def margins(self, rows: Share) -> Array:
        """A W + b, (rows, classes)."""
        return rows.matrix.dot_many(self.x) + self.intercept

    def labels(self, raw: Array) -> Array:
        """Numbers of classes, int64 (rows,). raw : labels as the data set has them."""
        return np.searchsorted(self.labels_known, raw).astype(np.int64)

    @property
    def probable(self) -> bool:
        """Whether it says probabilities."""
        return self.kind == MULTINOMIAL or self.family.chance is not None

    def chances(self, margins: Array) -> Array:
        """The probabilities of the classes, (rows, classes): of one against the rest, brought to a sum of 1."""
        if self.kind == MULTINOMIAL or self.family.chance is None:
            from scipy.special import softmax  # a tenth of a second, which only those who predict wait for

            return softmax(margins, axis=1)
        found = self.family.chance(margins)
        total = found.sum(1, keepdims=True)
        return np.where(total > 0, found / np.where(total > 0, total, 1.0), 1 / found.shape[1])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns of predictions: class, and probability_NAME of every class, or margin_NAME where there are none.

        Classes go by number where a name of theirs does not fit into the name of a column.
        """
        plain = all(map(PLAIN.fullmatch, self.classes))
        of = self.classes if plain else tuple(map(str, range(len(self.classes))))
        return ("class", *(f"{'probability' if self.probable else 'margin'}_{name}" for name in of))

    def loss(self, margins: Array, y: Array, weights: Array | None) -> float:
        """The weighted sum of the rows' losses, as they are minimised. y : (rows,) class numbers."""
        if self.kind == MULTINOMIAL:
            from scipy.special import logsumexp

            lost = logsumexp(margins, axis=1) - margins[np.arange(len(y)), y]
            return float(lost.sum() if weights is None else weights @ lost)
        signs = 2.0 * (np.arange(margins.shape[1]) == y[:, None]) - 1
        every = np.empty(0) if weights is None else np.repeat(weights, margins.shape[1])
        return self.family.value_residual(np.ascontiguousarray(margins).reshape(-1), signs.reshape(-1), every)[0]

    def rows(self, parts: Sequence[Share], weights: Array | None) -> ClassRows:
        """A rank's rows with what the model says of them. weights : of all of them, (rows,)."""
        margins = np.concatenate([self.margins(part) for part in parts])
        y = np.concatenate([self.labels(part.labels) for part in parts])
        chances = self.chances(margins) if self.probable else None
        return ClassRows(margins, chances, y, weights, self.loss(margins, y, weights))

    def predictions(self, margins: Array) -> dict[str, Array]:
        """The columns `names`, (rows,) each; classes as they are called, in bytes."""
        called = np.array([name.encode() for name in self.classes])
        values = self.chances(margins) if self.probable else margins
        return dict(zip(self.names, (called[margins.argmax(1)], *values.T), strict=True))


AnyFitted = Fitted | ClassFitted


def read_fitted(path: str | Path) -> AnyFitted:
    """The model in a run file, whatever it tells apart. Not collective. Raises DataError, UsageError."""
    return ClassFitted.read(path) if of_classes(path) else Fitted.read(path)


def of_classes(path: str | Path) -> bool:
    """Whether a run file has a model of several classes. Not collective. Raises DataError."""
    return "multiclass" in read_run(path).attributes


def _names(path: str | Path, told: Any) -> tuple[str, ...]:
    try:
        found = json.loads(told["class_names"])
    except (KeyError, ValueError) as error:
        raise DataError(f"{path} does not say what its classes are called: fit it again") from error
    if not (isinstance(found, list) and len(found) > 1 and all(isinstance(name, str) for name in found)):
        raise DataError(f"{path} does not say what its classes are called: fit it again")
    return tuple(found)
