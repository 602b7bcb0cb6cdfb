"""Scores of a model of several classes: by class, and which are taken for which."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from mpiopt.jobs.cli.console import table
from mpiopt.metrics.class_figures import ClassFigures

WHOLE = 8  # classes of which all pairs are shown; of more, what most rows of a class are wrongly taken for
HEADS = {"rows": "rows", "precision": "precision", "recall": "recall", "f1": "F1", "roc_auc": "ROC AUC"}


class ClassScores(NamedTuple):
    """names : what the classes are called."""

    names: tuple[str, ...]
    found: ClassFigures

    @property
    def said(self) -> dict[str, Any]:
        """For JSON."""
        columns = {key: values.tolist() for key, values in self.found.by_class.items()}
        lines = [{key: values[k] if np.isfinite(values[k]) else None for key, values in columns.items()} for k in self.places]
        return {"by_class": dict(zip(self.names, lines, strict=True)), "confusion": self.found.confusion.tolist()}

    @property
    def places(self) -> range:
        """The classes' numbers."""
        return range(len(self.names))

    def tables(self, name: str) -> Iterator[str]:
        """Figures by class with what most of its rows are wrongly taken for; of few classes all that are taken for which."""
        short = [each if len(each) <= 14 else each[:13] + "~" for each in self.names]
        rows = [[short[k], *self._line(k), self._mistaken(short, k)] for k in self.places]
        yield f"{name}: by class\n\n" + table(["class", *HEADS.values(), "most taken for"], rows, "lrrrrrl")
        if len(short) <= WHOLE:
            lines = [[short[k], *(f"{value:,.6g}" for value in self.found.confusion[k])] for k in self.places]
            yield f"{name}: rows by class, and what they are taken for\n\n" + table(["", *short], lines, "l" + "r" * len(short))

    def _line(self, k: int) -> list[str]:
        rows, *shares = (float(self.found.by_class[key][k]) for key in HEADS)
        return [f"{rows:,.6g}", *(f"{share:.4f}" if np.isfinite(share) else "-" for share in shares)]

    def _mistaken(self, short: list[str], k: int) -> str:
        others = np.where(np.arange(len(short)) == k, 0.0, self.found.confusion[k])
        worst = int(others.argmax())
        return f"{short[worst]} ({others[worst]:,.6g})" if others[worst] > 0 else "-"
