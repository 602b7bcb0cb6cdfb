"""A path as a table: every penalty, what it leaves of the coefficients, and how it does on rows that were held out."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.io.runs.run_file import RunData
from mpiopt.jobs.cli.console import Console, table

COLUMNS = ("l1", "l2", "nonzero", "objective", "test_loss", "test_loss_error", "test_figure")


def shown(runs: Sequence[RunData], console: Console) -> dict[str, Any]:
    """The run as a table and as facts. Raises UsageError for several. Not collective."""
    if len(runs) != 1:
        raise UsageError(
            f"{runs[0].path} is to be compared, and paths are reported one at a time: name one run of mpiopt path alone"
        )
    run = runs[0]
    points = {name: run.history[name][1:] for name in COLUMNS}
    kept = [name for name in COLUMNS if np.isfinite(points[name]).any()]
    chosen = int(run.attributes.get("chosen", 0))
    rows = [
        ["*" if k + 1 == chosen else "", str(k + 1), *(f"{points[name][k]:.6g}" for name in kept)]
        for k in range(len(points["l1"]))
    ]
    console.show(table(["", "", *(name.replace("_", " ") for name in kept)], rows, "lr" + "r" * len(kept)))
    return {"run": str(run.path), "chosen": chosen, "points": {name: points[name].tolist() for name in kept}}
