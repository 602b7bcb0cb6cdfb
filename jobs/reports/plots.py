"""Pictures of runs side by side: what they came to against rounds, bytes and seconds."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, MaxNLocator, NullFormatter

from mpiopt.errors import UsageError
from mpiopt.jobs.reports.sheet import Sheet, Strip
from mpiopt.words import harmless

# Okabe and Ito, Color universal design, 2008: told apart with any colour vision; dark on white
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
STROKES = ("-", (0, (5, 2)), (0, (1, 1.5)))
MARKERS = "osD^v<>P"
AXES = (("round", "rounds", ""), ("bytes_sent", "bytes sent, all ranks", "B"), ("seconds", "seconds", ""))
MARK = "drawn by mpiopt report"  # in every picture and page
EDGE = 1 << 16  # bytes at either end of a file that are searched for it
POINTS = 600  # drawn of a curve; long runs are thinned
FEW = 40  # rounds that are all marked; a longer run has marks along its way
SPREAD = 8  # runs whose lengths differ by more than this are drawn on a logarithmic axis

ROOM = {"w_pad": 0.12}  # inches beside a panel: the last number of an axis must not run into the first of the next
CLEAR = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}  # behind words that a curve may cross

STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
}


def figure(sheet: Sheet) -> Figure:
    """A row of three panels for every strip, and one legend below. Raises UsageError where there is no strip."""
    if not sheet.picture:
        raise UsageError(f"{sheet.runs[0].path} has no loss or accuracy yet that could be drawn: leave --png and --out out")
    with matplotlib.rc_context(STYLE):
        names = list(map(plain_label, sheet.labels))
        longest = max(map(len, names))
        columns = max(1, min(6, len(sheet.labels), int(130 / (longest + 8))))
        lines, rows = -(-len(sheet.labels) // columns), len(sheet.picture)
        made = Figure(figsize=(13, 1.2 + 3 * rows + 0.24 * lines), dpi=150, layout="constrained")
        made.get_layout_engine().set(**ROOM)
        panels = made.subplots(rows, 3, sharex="col", sharey="row", squeeze=False)
        for strip, row in zip(sheet.picture, panels, strict=True):
            for panel, (column, _, _) in zip(row, AXES, strict=True):
                _draw(panel, names, strip, column)
                _scale_y(panel, strip)
            row[0].set_ylabel(strip.label)
        for (column, name, unit), panel in zip(AXES, panels[-1], strict=True):
            _scale_x(panel, [run.history[column] for run in sheet.runs], unit)
            panel.set_xlabel(name)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        legend = made.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, handlelength=3.2)
        for text in legend.get_texts():
            text.set_parse_math(False)
        return made


def plain_label(label: str) -> str:
    """A name as it stands: to Matplotlib one that begins with an underscore is none."""
    return " " * label.startswith("_") + harmless(label)


def _draw(panel: Axes, labels: Sequence[str], strip: Strip, column: str) -> None:
    looks = zip(cycle(COLOURS), (stroke for stroke in STROKES for _ in COLOURS), cycle(MARKERS), strict=False)
    for curve, label, (colour, stroke, marker) in zip(strip.curves, labels, cycle(list(looks)), strict=False):
        x, y = curve.x[column].astype(float), np.maximum(curve.y, strip.floor) if strip.scale == "log" else curve.y
        keep = thinned(len(x))
        panel.plot(
            x[keep],
            y[keep],
            color=colour,
            linestyle=stroke,
            linewidth=1.5,
            label=label,
            marker=marker,
            markersize=4,
            markevery=None if len(x) <= FEW else 0.09,
        )
        if curve.band is not None:
            low, high = (np.maximum(end, strip.floor) if strip.scale == "log" else end for end in curve.band)
            panel.fill_between(x[keep], low[keep], high[keep], color=colour, alpha=0.15, linewidth=0)


def _scale_y(panel: Axes, strip: Strip) -> None:
    """Numbers at every so many powers of ten, or within them where there are few."""
    if strip.scale == "linear":
        return
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    if high < 200 * low:
        panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 8 * low else (1, 2, 3, 4, 6, 8)))
        panel.yaxis.set_major_formatter("{x:g}")
    else:
        panel.yaxis.set_major_locator(LogLocator(numticks=10))
    panel.yaxis.set_minor_formatter(NullFormatter())
    if strip.mark and low < strip.mark[0] < high:
        panel.axhline(strip.mark[0], color="#777777", linewidth=0.8, linestyle=(0, (2, 2)))
        panel.annotate(
            strip.mark[1],
            (0.01, strip.mark[0]),
            xycoords=("axes fraction", "data"),
            ha="left",
            va="bottom",
            fontsize=8,
            color="#555555",
            bbox=CLEAR,
        )  # on the left, where falling curves are high


def _scale_x(panel: Axes, columns: Sequence[np.ndarray], unit: str) -> None:
    """Linear from 0, or logarithmic with room for 0, where short runs would vanish beside long ones."""
    longest, shortest = max(x[-1] for x in columns), min(x[-1] for x in columns)
    start = float(min((x[x > 0][0] for x in columns if (x > 0).any()), default=1.0))
    if longest > SPREAD * max(shortest, start):
        panel.set_xscale("symlog", linthresh=start, linscale=0.4)
        decades = 10.0 ** np.arange(np.ceil(np.log10(start)), np.floor(np.log10(longest)) + 1)
        panel.set_xticks([0, *(decade for decade in decades if decade > 1.5 * start or decade == 1)])
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlim(0, 1.2 * longest)
    else:
        panel.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        panel.set_xlim(left=0)
    panel.xaxis.set_major_formatter(EngFormatter(unit) if unit else "{x:g}")


def thinned(count: int) -> np.ndarray:
    """Indices of at most about POINTS rounds: all of a short run; of a long one the first closely, the last surely."""
    if count <= POINTS:
        return np.arange(count)
    close = np.geomspace(1, count, POINTS // 2).astype(int) - 1
    return np.unique(np.concatenate([close, np.linspace(0, count - 1, POINTS // 2).astype(int)]))


def save(picture: Figure, path: Path) -> None:
    """Write a picture; the file's name ends in its format, png where it has none. Raises UsageError, OSError."""
    kind = path.suffix[1:] or "png"
    if kind not in picture.canvas.get_supported_filetypes():
        raise UsageError(f"{path} cannot be written: {kind} is no format of pictures; give a .png, .svg or .pdf")
    name = {"png": "Software", "svg": "Creator", "pdf": "Creator", "ps": "Creator", "eps": "Creator"}.get(kind)
    with _without_glyphs():
        picture.savefig(path, format=kind, metadata={name: MARK} if name else None)


def demand_ours(path: Path) -> None:
    """See that nothing is replaced but a page or a picture of mpiopt. Raises UsageError, OSError."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(EDGE)
        file.seek(max(0, path.stat().st_size - EDGE))
        if MARK.encode() not in head and MARK.encode() not in file.read():
            raise UsageError(f"{path} exists, and mpiopt has not drawn it: give the picture or the page another name")


@contextmanager
def _without_glyphs() -> Iterator[None]:
    """Draw what a font lacks as an empty box, and say nothing of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def svg(sheet: Sheet) -> str:
    """The picture as an SVG element."""
    text = io.StringIO()
    with _without_glyphs():
        figure(sheet).savefig(text, format="svg")
    return text.getvalue().partition("<svg")[1] + text.getvalue().partition("<svg")[2]
