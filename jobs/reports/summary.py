"""Runs that need not be of one problem, such as those of an array: a table with a line for each, and what sets them apart."""

import math
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mpiopt.errors import DataError, UsageError
from mpiopt.io.runs.run_file import RunData, read_run
from mpiopt.jobs.cli.console import Console, size, table
from mpiopt.words import counted

OWN = ("out", "checkpoint", "from")  # every run's own, and so no news
WRONG = ("RUNNING", "INTERRUPTED", "DIVERGED", "BROKEN", "SEPARABLE")


def summary(paths: Sequence[Path], console: Console) -> dict[str, Any]:
    """Print the table. Raises UsageError for no file at all; files that cannot be read are told of, and the exit code is 1."""
    if not paths:
        raise UsageError("mpiopt slurm report needs run files: mpiopt slurm report RUN.h5 RUN.h5 ...")
    runs, unread = [], []
    for path in paths:
        try:
            runs.append(read_run(path))
        except DataError as error:
            unread.append(str(error))
    rows = [row(run) for run in runs]
    varied = differing([row["config"] for row in rows])
    if rows:
        came = [name for name in SHAPES if name not in SOME or any(_told(row[name]) for row in rows)]
        head = [
            "run",
            *(f"--{name}" if name in SHAPES else name for name in varied),
            *("ended" if name == "reason" else name for name in came),
        ]
        console.show(table(head, [_cells(row, varied, came) for row in rows], "l" + "r" * (len(head) - 2)))
    ends = [row for row in rows if row["reason"] in WRONG]
    console.show(f"\n{counted(len(rows), 'run')}" + (f", {len(ends)} without an answer" if ends else ""))
    for sentence in unread:
        console.show(sentence)
    return {"runs": rows, "unread": unread, "exit_code": int(bool(unread or ends))}


SHAPES: dict[str, Callable[[Any], str]] = {
    "rounds": "{:,}".format,
    "seconds": "{:.3g}".format,
    "bytes": size,
    "objective": "{:.10g}".format,
    "gap": "{:.1e}".format,
    "test_loss": "{:.4g}".format,
    "accuracy": "{:.2%}".format,
    "reason": str.lower,
}
SOME = ("gap", "test_loss", "accuracy")  # columns of solves or of trainings, and shown where a run has them


def row(run: RunData) -> dict[str, Any]:
    """What one run came to; None where its file does not say."""
    last = {name: column[-1].item() for name, column in run.history.items() if len(column)}
    told = run.attributes
    return {
        "file": str(run.path),
        "config": _config(told.get("config", "")),
        "rounds": last.get("round"),
        "seconds": last.get("seconds"),
        "bytes": last.get("bytes_sent"),
        "objective": told.get("objective", last.get("objective")),
        "gap": told.get("gap", last.get("gap")),
        "test_loss": told.get("test_loss"),
        "accuracy": told.get("accuracy"),
        "reason": str(told.get("reason", "")),
        "reason_text": str(told.get("reason_text", "")),
    }


def _config(text: str) -> dict[str, Any]:
    """A run's options, the method's parameters among them."""
    found = tomllib.loads(text)
    return {**{name: value for name, value in found.items() if name != "set"}, **found.get("set", {})}


def differing(configs: Sequence[dict[str, Any]]) -> list[str]:
    """The options in which the runs differ, in the order of their first appearance."""
    names = dict.fromkeys(name for config in configs for name in config if name not in OWN)
    return [name for name in names if any(config.get(name) != configs[0].get(name) for config in configs)]


def _told(value: Any) -> bool:
    return value is not None and (isinstance(value, str) or math.isfinite(value))


def _cells(row: dict[str, Any], varied: Sequence[str], came: Sequence[str]) -> list[str]:
    settings = (row["config"].get(name, "-") for name in varied)
    return [
        Path(row["file"]).name,
        *(f"{value:g}" if isinstance(value, float) else str(value) for value in settings),
        *(SHAPES[name](row[name]) if _told(row[name]) else "-" for name in came),
    ]
