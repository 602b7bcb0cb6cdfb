"""The picture of a path: the coefficients that matter most, and the loss of held-out rows, against the penalty."""

from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from mpiopt.jobs.reports.plots import COLOURS, ROOM, STYLE, plain_label
from mpiopt.paths.path import PathRecord

SHOWN = len(COLOURS)  # coefficients of each path


def figure(history: Sequence[PathRecord], path: np.ndarray, paths: np.ndarray, name: Callable[[int], str]) -> Figure:
    """A row of panels for each path: coefficients, (points, features), and losses where rows were held out."""
    records = [record for record in history if record.round > 0]
    tested = any(np.isfinite(record.test_loss) for record in records)
    done = paths[: len(records)]
    with matplotlib.rc_context(STYLE):
        rows = len(np.unique(done)) or 1
        made = Figure(figsize=(6.5 * (1 + tested), 4.2 * rows), dpi=150, layout="constrained")
        made.get_layout_engine().set(**ROOM)
        panels = made.subplots(rows, 1 + tested, squeeze=False)
        for k, row in enumerate(panels):
            here = np.flatnonzero(done == k)
            lambdas = np.array([records[i].l1 + records[i].l2 for i in here])
            largest = np.argsort(-abs(path[here]).max(0, initial=0), kind="stable")[:SHOWN]
            for colour, j in zip(COLOURS, largest.tolist(), strict=False):
                row[0].plot(lambdas, path[here, j], color=colour, linewidth=1.2, label=plain_label(name(j)))
            share = records[here[0]].l1 / lambdas[0] if here.size else 0.0
            row[0].set(xscale="log", xlabel=f"lambda (share of l1 {share:g})", ylabel="coefficient")
            for text in row[0].legend(frameon=False, fontsize="small", loc="best").get_texts():
                text.set_parse_math(False)
            if tested:
                losses = np.array([[records[i].test_loss, records[i].test_loss_error] for i in here]).reshape(-1, 2)
                row[1].errorbar(lambdas, losses[:, 0], losses[:, 1], color=COLOURS[0], marker="o", markersize=3, linewidth=1.2)
                row[1].set(xscale="log", xlabel="lambda", ylabel="mean loss of held-out rows")
            for panel in row:
                panel.invert_xaxis()
                panel.xaxis.set_minor_formatter(NullFormatter())
        return made
