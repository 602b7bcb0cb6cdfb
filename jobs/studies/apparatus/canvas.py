"""Pictures of studies, in the manner of the pictures of reports."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation, LogLocator

from mpiopt.jobs.reports.plots import COLOURS, ROOM, STYLE, thinned

__all__ = ["COLOURS", "band", "bars", "curve", "legend", "logarithmic", "sheet"]

DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)))


@contextmanager
def sheet(columns: int, *, width: float = 4.4, height: float = 4.0, rows: int = 1) -> Iterator[tuple[Figure, np.ndarray]]:
    """An empty figure and its panels (rows, columns), to be filled within the context."""
    with matplotlib.rc_context(STYLE):
        made = Figure(figsize=(width * columns, height * rows), dpi=150, layout="constrained")
        made.get_layout_engine().set(**ROOM)
        yield made, made.subplots(rows, columns, squeeze=False)


def curve(
    panel: Axes, x: np.typing.ArrayLike, y: np.typing.ArrayLike, number: int, label: str | None = None, **options: object
) -> None:
    """One run, thinned; its number decides its colour and, beyond the colours, its dashes."""
    x, y = np.asarray(x), np.asarray(y)
    keep = thinned(len(x))
    look = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}
    panel.plot(x[keep], y[keep], **{"linewidth": 1.5, "label": label, **look, **options})


def band(
    panel: Axes, x: np.typing.ArrayLike, runs: np.typing.ArrayLike, number: int, label: str | None = None, **options: object
) -> None:
    """The geometric mean of runs (seeds, readings) as a `curve`, within all that they reach; for logarithmic axes."""
    y = np.asarray(runs, float)
    y = np.maximum(y, 1e-35 * y[np.isfinite(y)].max(initial=1.0))  # 0 would stretch the axis to the least of all numbers
    curve(panel, x, np.exp(np.log(y).mean(axis=0)), number, label, **options)
    if len(y) > 1:
        panel.fill_between(x, y.min(axis=0), y.max(axis=0), color=COLOURS[number % len(COLOURS)], alpha=0.2, linewidth=0)


def logarithmic(panel: Axes, floor: float | None = None) -> None:
    """A logarithmic y axis with few numbers, cut off below ``floor``."""
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(numticks=9))
    panel.yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(1.3, 0.4)))  # of about a decade some between
    if floor is not None:
        panel.set_ylim(bottom=max(floor, panel.get_ylim()[0]))


def bars(
    panel: Axes, groups: Sequence[str], found: Mapping[str, Sequence[float]], expected: Mapping[str, Sequence[float]]
) -> None:
    """What was found as bars, side by side in groups, and what was expected as lines across them; logarithmic."""
    wide = 0.8 / len(found)
    for number, ((label, values), colour) in enumerate(zip(found.items(), cycle(COLOURS), strict=False)):
        at = np.arange(len(groups)) + (number - (len(found) - 1) / 2) * wide
        panel.bar(at, values, 0.9 * wide, color=colour, label=label)
        lines = panel.hlines(expected[label], at - wide / 2, at + wide / 2, color="black", linewidth=1.6)
    lines.set_label("expected")
    panel.set_xticks(np.arange(len(groups)), groups)
    panel.grid(axis="x", visible=False)
    logarithmic(panel)


def legend(figure: Figure, panel: Axes, columns: int) -> None:
    """One legend below, of what a panel shows."""
    handles, labels = panel.get_legend_handles_labels()
    made = figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, handlelength=3)
    for shown in made.legend_handles:
        if shown is not None:
            shown.set_alpha(1)  # also where many pale curves lie over one another
