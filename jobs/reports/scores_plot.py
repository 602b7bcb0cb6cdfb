"""The picture of scores of two classes: who is found and who is taken for one, precision, and how well probabilities hold."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mpiopt.errors import UsageError
from mpiopt.jobs.reports.plots import COLOURS, ROOM, STYLE, plain_label
from mpiopt.jobs.reports.scores import Scored

CHANCE = {"color": "#777777", "linewidth": 0.8, "linestyle": (0, (2, 2))}


def figure(names: Sequence[str], found: Sequence[Scored]) -> Figure:
    """Three panels: the ROC curve, precision against recall, calibration. Raises UsageError where no model has classes."""
    if all(one.curve is None for one in found):
        raise UsageError("there are curves for losses of two classes alone: leave --png out")
    with matplotlib.rc_context(STYLE):
        made = Figure(figsize=(13, 4.6), dpi=150, layout="constrained")
        made.get_layout_engine().set(**ROOM)
        roc, precision, calibration = made.subplots(1, 3)
        for name, one, colour in zip(map(plain_label, names), found, COLOURS * len(found), strict=False):
            if one.curve is not None:
                _curves(roc, precision, one, one.curve, name, colour)
            if one.calibration is not None:
                full = one.calibration[one.calibration[:, 0] > 0]
                calibration.plot(full[:, 1], full[:, 2], color=colour, marker="o", markersize=4, linewidth=1.5)
        for panel, (x, y) in zip((roc, precision, calibration), LABELS, strict=True):
            panel.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.01))
        for panel in (roc, calibration):
            panel.plot([0, 1], [0, 1], **CHANCE)
        handles, labels = roc.get_legend_handles_labels()
        legend = made.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)
        return made


LABELS = (
    ("share of the others taken for +1", "share of +1 found"),
    ("recall: share of +1 found", "precision"),
    ("probability of +1, mean of tenths", "share of +1"),
)


def _curves(roc: Axes, precision: Axes, one: Scored, curve: np.ndarray, name: str, colour: str) -> None:
    up, down = curve.T
    figures = [
        f"{label} {one.figures[key]:.4f}"
        for key, label in (("roc_auc", "AUC"), ("average_precision", "AP"))
        if np.isfinite(one.figures.get(key, np.nan))
    ]
    label = f"{name} ({', '.join(figures)})" if figures else name
    with np.errstate(invalid="ignore"):
        roc.plot(down / down[-1], up / up[-1], color=colour, linewidth=1.5, label=label)
        precision.step(up / up[-1], up / (up + down), color=colour, linewidth=1.5, where="pre")
