"""The picture of a learning-rate range test."""

from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure

from mpiopt.jobs.reports.plots import COLOURS, STYLE


def figure(rates: Sequence[float], losses: Sequence[float], marks: dict[str, float]) -> Figure:
    """Losses against step sizes. marks : step sizes by what they are."""
    with matplotlib.rc_context(STYLE):
        made = Figure(figsize=(6.5, 4.2), dpi=150, layout="constrained")
        panel = made.subplots()
        panel.plot(rates, losses, color=COLOURS[0], linewidth=1.5)
        for (name, rate), colour in zip(marks.items(), COLOURS[1:], strict=False):
            panel.axvline(rate, color=colour, linestyle=(0, (5, 2)), linewidth=1.2, label=f"{name}: {rate:.2g}")
        panel.set(xscale="log", xlabel="step size", ylabel="running loss")
        panel.set_ylim(top=min(max(losses), 1.5 * losses[0]))
        panel.legend(frameon=False, fontsize="small", loc="best")
        return made
