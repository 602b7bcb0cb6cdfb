"""A fitted linear model, as a run file has it, and what it says of rows."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.labels import Labels, by_rule, shown
from mpiopt.io.dataset.recipe import Recipe
from mpiopt.io.dataset.source import Share, Source
from mpiopt.io.runs.beside_solution import read_made
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.losses.family import Family
from mpiopt.losses.registry import find


@dataclass(frozen=True)
class Fitted:
    """What a run of ``mpiopt solve`` found.

    x : (features,); rule : the label, or the rule of labels, that is +1; classes : what the labels +1 and -1 are called,
    None for a loss that takes labels as they are. offset : whether the rows that it was fitted to had offsets. recipe : of the
    table that they were.
    """

    path: Path
    x: Array
    intercept: float
    family: Family
    rule: str = ""
    classes: tuple[str, str] | None = None
    offset: bool = False
    recipe: Recipe | None = None

    @staticmethod
    def read(path: str | Path) -> "Fitted":
        """The model in a run file. Not collective. Raises DataError, and UsageError for a run that has none or code we lack."""
        told = read_run(path).attributes
        if "loss" not in told:
            raise UsageError(f"{path} is no run of mpiopt solve, and linear models alone can be applied: name one that is")
        if "multiclass" in told:
            raise UsageError(f"{path} is a model of several classes, and one margin a row is asked for here: fit one class")
        x, intercept = read_solution(path)
        family = find(str(told["loss"]))
        if len(x) != told.get("features", len(x)):
            raise DataError(f"{path} has {len(x):,} coefficients, and says that there are {told['features']:,} features")
        offset = bool(told.get("offset"))
        if not family.labels.classes:
            return Fitted(Path(path), x, intercept, family, offset=offset)
        classes = str(told.get("label_positive", "1")), str(told.get("label_negative", "-1"))
        recipe, rule = read_made(path).recipe, str(told.get("positive", classes[0]))
        rule = rule if recipe is None else recipe.label_of(rule)
        return Fitted(Path(path), x, intercept, family, rule, classes, offset, recipe)

    def demand_columns(self, source: Source) -> None:
        """See that the model is of these columns. Not collective. Raises UsageError."""
        demand_columns(self.path, len(self.x), source)

    def demand_labels(self, source: Source) -> None:
        """See that the labels are those of the model. Not collective. Raises DataError."""
        if self.classes is None:
            self.family.labels.check(source.labels, self.family.name)
        elif strange := self.strange(source.labels):
            raise DataError(
                f"{source.name} has the label{'s' * (len(strange) > 1)} {', '.join(strange[:8])}, and the two of "
                f"{self.path} are {self.classes[0]} and {self.classes[1]}: give data with the same"
            )

    def strange(self, labels: Labels) -> list[str]:
        """Labels that are neither of the two classes."""
        known = {each if self.recipe is None else self.recipe.label_of(each) for each in self.classes or ()}
        if "the rest" in known or not all(map(_NUMBER.fullmatch, known)):
            return []
        return [shown(label) for label in labels.distinct or (labels.least, labels.greatest) if shown(label) not in known]

    def margins(self, rows: Share) -> Array:
        """A x + b, and the offsets of the rows, if any, (rows,)."""
        margins = rows.matrix.dot(self.x) + self.intercept
        return margins if rows.offset is None else margins + rows.offset

    def labels(self, raw: Array) -> Array:
        """Labels as the loss takes them, float64 (rows,): -1 and +1 for two classes. raw : as the data set has them."""
        return raw.astype(float) if self.classes is None else by_rule(raw, self.rule).astype(float)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns of predictions: margin, and with classes also probability (where there is one) and class."""
        if self.classes is None:
            return ("prediction",)
        return ("margin", *(["probability"] if self.family.chance is not None else []), "class")

    def predictions(self, margins: Array) -> dict[str, Array]:
        """The columns `names`, (rows,) each; classes as they are called, in bytes."""
        if self.classes is None:
            return {"prediction": self.family.answer(margins)}
        columns = {"margin": margins}
        if self.family.chance is not None:
            columns["probability"] = self.family.chance(margins)
        columns["class"] = np.where(margins > 0, *(np.array(name.encode()) for name in self.classes))
        return columns


def demand_columns(path: Path, features: int, source: Source) -> None:
    """Raise UsageError where rows do not have the features of the model in ``path``. Not collective."""
    if source.cols != features:
        raise UsageError(
            f"{source.name} has {source.cols:,} features, and {path} is a model of {features:,}: give the text of the data, or "
            "a data set converted like the run"
        )


_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?(e[+-]?\d+)?")
