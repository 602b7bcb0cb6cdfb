"""Scores of models, as tables and as a picture."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import MpioptError, UsageError
from mpiopt.jobs.cli.console import table
from mpiopt.jobs.reports.class_scores import ClassScores

ABREAST = 4  # models in a table of 80 columns
CALLED = {
    "roc_auc": "ROC AUC",
    "f1": "F1",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R2",
    "pseudo_r2": "pseudo-R2",
    "brier": "Brier score",
    "macro_f1": "macro F1",
    "macro_roc_auc": "macro ROC AUC",
}


class Scored(NamedTuple):
    """What is said of a model. figures : by name. curve : (k, 2) as `Ranking.curve` has it. calibration : (10, 3). several :
    what is said by class, where there are more than two."""

    figures: dict[str, float]
    curve: Array | None
    calibration: Array | None
    several: ClassScores | None = None

    @property
    def said(self) -> dict[str, Any]:
        """For JSON."""
        bins = () if self.calibration is None else self.calibration.tolist()
        columns = ("rows", "mean_probability", "share_positive")
        several = {} if self.several is None else self.several.said
        return (
            self.figures | several | ({"calibration": [dict(zip(columns, line, strict=True)) for line in bins]} if bins else {})
        )


def tables(names: Sequence[str], found: Sequence[Scored], calibration: bool) -> Iterator[str]:
    """The figures, a column a model, and where asked for how well probabilities hold."""
    for first in range(0, len(found), ABREAST):
        some, shown = names[first : first + ABREAST], found[first : first + ABREAST]
        rows = list(dict.fromkeys(name for one in shown for name in one.figures))
        cells = [[CALLED.get(name, name.replace("_", " ")), *(_told(one.figures.get(name)) for one in shown)] for name in rows]
        yield table(["", *(name[:16] for name in some)], cells, "l" + "r" * len(some))
    for name, one in zip(names, found, strict=True):
        if one.several is not None:
            yield from one.several.tables(name)
        if calibration and one.calibration is not None:
            lines = [
                [f"{k / 10:.1f} to {(k + 1) / 10:.1f}", f"{rows:,.6g}", _told(mean), _told(share)]
                for k, (rows, mean, share) in enumerate(one.calibration)
            ]
            yield f"{name}: calibration\n\n" + table(["probability", "rows", "mean", "share of +1"], lines, "lrrr")


def _told(value: float | None) -> str:
    return "-" if value is None or not np.isfinite(value) else f"{value:.8g}"


def demand_drawable(path: Path | None) -> None:
    """See that a picture can be made, and under this name. Not collective. Raises UsageError, MpioptError."""
    if path is None:
        return
    try:
        from mpiopt.jobs.reports.plots import demand_ours
    except ImportError as error:
        raise MpioptError("pictures need matplotlib: pip install 'mpiopt[report]'") from error
    try:
        demand_ours(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be looked at: {error.strerror}") from error
