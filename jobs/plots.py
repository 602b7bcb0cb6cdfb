"""Pictures of a comparison: the gap against rounds, bytes and seconds."""

import io
from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from mpiopt.errors import UsageError
from mpiopt.jobs.compare import Comparison

# Okabe and Ito, Color universal design, 2008: told apart with any colour vision; dark on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STROKES = ("-", (0, (5, 2)), (0, (1, 1.5)))
MARKERS = "osD^v<>P"
AXES = (("round", "rounds", ""), ("bytes_sent", "bytes sent, all ranks", "B"), ("seconds", "seconds", ""))
POINTS = 600  # drawn of a curve; long runs are thinned
FEW = 40  # rounds that are all marked; a longer run has marks along its way
SPREAD = 8  # runs whose lengths differ by more than this are drawn on a logarithmic axis

STYLE = {"font.size": 10, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
         "grid.color": "#dddddd", "grid.linewidth": 0.6, "axes.axisbelow": True, "svg.fonttype": "none",
         "font.family": "sans-serif"}  # fmt: skip


def figure(comparison: Comparison) -> Figure:
    """Three panels side by side with one legend below."""
    with matplotlib.rc_context(STYLE):
        longest = max(map(len, comparison.labels))
        columns = max(1, min(6, len(comparison.labels), int(130 / (longest + 8))))
        lines = -(-len(comparison.labels) // columns)
        made = Figure(figsize=(13, 4.2 + 0.24 * lines), dpi=150, layout="constrained")
        panels = made.subplots(1, 3, sharey=True)
        for panel, (column, name, unit) in zip(panels, AXES, strict=True):
            _panel(panel, comparison, column, name, unit)
        panels[0].set_ylabel("(F \N{MINUS SIGN} F*) / (F\N{SUBSCRIPT ZERO} \N{MINUS SIGN} F*)")
        handles, labels = panels[0].get_legend_handles_labels()
        made.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, handlelength=3.2)
        return made


def _panel(panel: Axes, comparison: Comparison, column: str, name: str, unit: str) -> None:
    floor = comparison.floor
    looks = zip(cycle(COLOURS), (stroke for stroke in STROKES for _ in COLOURS), cycle(MARKERS), strict=False)
    ends, starts = [], []
    for run, label, (colour, stroke, marker) in zip(comparison.runs, comparison.labels, cycle(list(looks)), strict=False):
        x, y = run.history[column].astype(float), np.maximum(comparison.gaps(run), floor)
        keep = thinned(len(x))
        panel.plot(x[keep], y[keep], color=colour, linestyle=stroke, linewidth=1.5, label=label, marker=marker,
                   markersize=4, markevery=None if len(x) <= FEW else 0.09)  # fmt: skip
        ends.append(x[-1])
        starts += list(x[x > 0][:1])
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(numticks=10))
    panel.yaxis.set_minor_formatter(NullFormatter())
    _scale_x(panel, max(ends), min(ends), min(starts, default=1.0), unit)
    panel.set_xlabel(name)
    _certificate(panel, comparison)


def _scale_x(panel: Axes, longest: float, shortest: float, start: float, unit: str) -> None:
    """Linear from 0, or logarithmic with room for 0, where short runs would vanish beside long ones."""
    if longest > SPREAD * max(shortest, start):
        panel.set_xscale("symlog", linthresh=start, linscale=0.4)
        decades = 10.0 ** np.arange(np.ceil(np.log10(start)), np.floor(np.log10(longest)) + 1)
        panel.set_xticks([0, *(decade for decade in decades if decade > 1.5 * start or decade == 1)])
        panel.xaxis.set_minor_formatter(NullFormatter())
    else:
        panel.xaxis.set_major_locator(MaxNLocator(6))
    panel.set_xlim(left=0)
    panel.xaxis.set_major_formatter(EngFormatter(unit) if unit else "{x:g}")


def _certificate(panel: Axes, comparison: Comparison) -> None:
    low, high = panel.get_ylim()
    if low < comparison.certified < high:
        panel.axhline(comparison.certified, color="#777777", linewidth=0.8, linestyle=(0, (2, 2)))
        panel.annotate("F* certified", (1, comparison.certified), xycoords=("axes fraction", "data"), ha="right",
                       va="bottom", fontsize=8, color="#555555")  # fmt: skip


def thinned(count: int) -> np.ndarray:
    """Indices of at most about POINTS rounds: all of a short run; of a long one the first closely, the last surely."""
    if count <= POINTS:
        return np.arange(count)
    close = np.geomspace(1, count, POINTS // 2).astype(int) - 1
    return np.unique(np.concatenate([close, np.linspace(0, count - 1, POINTS // 2).astype(int)]))


def save(comparison: Comparison, path: Path) -> None:
    """Write the picture; the file's name ends in its format, png where it has none. Raises UsageError, OSError."""
    picture, kind = figure(comparison), path.suffix[1:] or "png"
    if kind not in picture.canvas.get_supported_filetypes():
        raise UsageError(f"{path} cannot be written: {kind} is no format of pictures; give a .png, .svg or .pdf")
    picture.savefig(path, format=kind)


def svg(comparison: Comparison) -> str:
    """The picture as an SVG element."""
    text = io.StringIO()
    figure(comparison).savefig(text, format="svg")
    return text.getvalue().partition("<svg")[1] + text.getvalue().partition("<svg")[2]
