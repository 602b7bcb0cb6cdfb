"""How a solve does on rows that it does not see: figures of every round in its history, and of its answer."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.arrays import Array, on_host
from mpiopt.engine.drive import Standing
from mpiopt.engine.method import Method
from mpiopt.engine.stop import Reason
from mpiopt.io.dataset.class_team import class_family, class_names
from mpiopt.io.dataset.linear_team import classes, fitting, meant, recipe_of
from mpiopt.io.dataset.source import Share, Source, open_source, shares
from mpiopt.io.runs.class_fitted import AnyFitted, ClassFitted
from mpiopt.io.runs.fitted import Fitted
from mpiopt.metrics.class_figures import class_figures
from mpiopt.metrics.figures import Rows, figures
from mpiopt.problems.problem import Team

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.solve_options import Solve

SHOWN = {"test_loss": "mean_loss", "test_accuracy": "accuracy", "test_roc_auc": "roc_auc", "test_rmse": "rmse", "test_r2": "r2"}

CLASSES = {"test_loss": "mean_loss", "test_accuracy": "accuracy", "test_roc_auc": "macro_roc_auc"}


class HeldOut:
    """The rows of --test, of which every rank has its share. Making it and asking it is collective."""

    def __init__(self, job: "Solve", trained: Source, world: "World") -> None:
        """See that they have the features and the labels of the rows that are trained on; none is read yet.

        Raises DataError, UsageError on every rank.
        """
        self._world, self._source = world, open_source(str(job.test), world)
        self._intercept = job.intercept
        self._parts: list[Share] = []
        if job.multiclass is not None:
            names, none = class_names(trained), np.zeros((trained.cols, len(class_names(trained))))
            family, recipe = class_family(job.multiclass, job.loss), recipe_of(trained)
            self._model: AnyFitted = ClassFitted(Path(trained.name), none, none[0], family, names, job.multiclass, recipe)
        else:
            self._model = self._of_two(job, trained)
        with world.together(f"looking at {job.test}"):
            self._model.demand_columns(self._source)
            self._model.demand_labels(self._source)

    @staticmethod
    def _of_two(job: "Solve", trained: Source) -> Fitted:
        told = classes(trained, job.loss, job.positive)
        both = (told["label_positive"], told["label_negative"]) if told else None
        rule = meant(trained, job.positive or (both[0] if both else "")) or ""
        family = fitting(job.loss, trained.labels, meant(trained, job.positive))
        return Fitted(Path(trained.name), np.zeros(trained.cols), 0.0, family, rule, both, recipe=recipe_of(trained))

    def read(self) -> None:
        """Read the rows."""
        self._parts = shares(self._source, self._world)

    def figures(self, x: Array) -> dict[str, float]:
        """Those of a point x (dim,), by the names of columns of a history; the same on every rank."""
        given = on_host(x)
        if isinstance(self._model, ClassFitted):
            return self._of_classes(self._model, given)
        coef, intercept = (given[:-1], float(given[-1])) if self._intercept else (given, 0.0)
        model = replace(self._model, x=coef, intercept=intercept)
        margins = np.concatenate([model.margins(part) for part in self._parts])
        labels = np.concatenate([model.labels(part.labels) for part in self._parts])
        found = figures(self._world, model.family, Rows(margins, labels, self._weights()))
        return {name: found[figure] for name, figure in SHOWN.items() if figure in found}

    def _of_classes(self, model: ClassFitted, x: np.ndarray) -> dict[str, float]:
        table = x.reshape(-1, len(model.classes))
        coef, intercept = (table[:-1], table[-1]) if self._intercept else (table, model.intercept)
        rows = replace(model, x=coef, intercept=intercept).rows(self._parts, self._weights())
        found = class_figures(self._world, rows).overall
        return {name: found[figure] for name, figure in CLASSES.items()}

    def _weights(self) -> np.ndarray | None:
        """The weights of this rank's rows; None, on all ranks, where none has any."""
        some = any(part.weight is not None for part in self._parts)
        if not any(self._world.tell_all(some)):
            return None
        return np.concatenate([np.ones(part.hi - part.lo) if part.weight is None else part.weight for part in self._parts])

    def keeper(
        self, method: Method, team: Team, note: Callable[[Mapping[str, float]], None], losses: list[float]
    ) -> Callable[[Standing[Any], Reason | None], None]:
        """What is to be called after every round: it notes the figures of the round's answer, and adds to ``losses``."""

        def keep(at: Standing[Any], reason: Reason | None) -> None:
            found = self.figures(method.answer(at.begun, team).x)
            losses.append(found["test_loss"])
            note(found)

        return keep

    def line(self, found: Mapping[str, float]) -> str:
        """The figures of an answer for people."""
        shapes = {"test_accuracy": "accuracy {:.2%}", "test_roc_auc": "ROC AUC {:.6f}", "test_loss": "mean loss {:.6g}"}
        shapes |= {"test_rmse": "RMSE {:.6g}", "test_r2": "R2 {:.6f}"}
        told = [shape.format(found[name]) for name, shape in shapes.items() if name in found and isfinite(found[name])]
        return f"{', '.join(told)} on {self._source.name}"
