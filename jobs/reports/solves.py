"""A comparison of solves in numbers and words: what the terminal, JSON and the page show."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpiopt.io.runs.run_file import RunData
from mpiopt.jobs.cli.console import size
from mpiopt.jobs.reports.comparison import TARGETS, Comparison
from mpiopt.jobs.reports.sheet import Column, Curve, Grid, Sheet, Strip
from mpiopt.words import counted

GAP = "(F \N{MINUS SIGN} F*) / (F\N{SUBSCRIPT ZERO} \N{MINUS SIGN} F*)"


def sheet(comparison: Comparison) -> Sheet:
    """All that is shown of it."""
    found = facts(comparison)
    rows = found["runs"]
    return Sheet(
        problem(comparison),
        comparison.runs,
        comparison.labels,
        ("",) * len(rows),
        (_narrow(rows),),
        (_wide(rows),),
        note(comparison),
        "Gap against rounds, bytes and seconds",
        (_gaps(comparison),),
        found,
    )


def problem(comparison: Comparison) -> str:
    """What was solved, in a line."""
    a = comparison.runs[0].attributes
    penalty = " + ".join(f"{name} {a[name]:g}" for name in ("l2", "l1", "group_l1") if a.get(name)) or "no penalty"
    ranks = {run.attributes.get("world_size") for run in comparison.runs}
    return (
        f"{a.get('dataset', 'unnamed data')}: {counted(a.get('rows', 0), 'row')}, "
        f"{counted(a.get('features', 0), 'feature')}, {a.get('loss', 'unknown loss')}, "
        f"{penalty}{', intercept' if a.get('intercept') else ''}"
        + "".join(f", {counted(count, 'rank')}" for count in ranks if len(ranks) == 1 and count)
    )


def note(comparison: Comparison) -> str:
    """What the numbers of the table mean."""
    sure = (
        f"certified to {comparison.certified:.1e} of F0 - F*" if np.isfinite(comparison.certified) else "without a certificate"
    )
    return f"Rounds to (F - F*)/(F0 - F*); F* = {comparison.optimum:.15g},\nthe best objective of {comparison.source}, {sure}."


def facts(comparison: Comparison) -> dict[str, Any]:
    """The comparison's numbers, a row for each run."""
    rows = [
        {"label": label, "file": str(run.path), **_row(comparison, run)}
        for label, run in zip(comparison.labels, comparison.runs, strict=True)
    ]
    return {
        "optimum": comparison.optimum,
        "optimum_from": comparison.source,
        "certified": comparison.certified,
        "targets": list(TARGETS),
        "runs": rows,
    }


def _row(comparison: Comparison, run: RunData) -> dict[str, Any]:
    last = {name: column[-1].item() for name, column in run.history.items()}
    return {
        "method": run.attributes.get("method"),
        "ranks": run.attributes.get("world_size"),
        "rounds_to": {name: comparison.rounds_to(run, target) for name, target in TARGETS.items()},
        "rounds": last["round"],
        "vector_rounds": last.get("vector_rounds"),
        "bytes": last.get("bytes_sent", 0),
        "seconds": last.get("seconds", 0.0),
        "objective": last["objective"],
        "gap": float(comparison.gaps(run)[-1]),
        "reason": str(run.attributes.get("reason", "")).lower(),
        "reason_text": run.attributes.get("reason_text", ""),
    }


def _narrow(rows: Sequence[dict[str, Any]]) -> Grid:
    """For a terminal: the ranks only where they differ."""
    ranks = [_column("ranks", rows)] if len({row["ranks"] for row in rows}) > 1 else []
    return Grid((*ranks, *_reached(rows, ""), *_spent(rows), _column("objective", rows, "{:.10g}"), _ended(rows)))


def _wide(rows: Sequence[dict[str, Any]]) -> Grid:
    vector = _column("vector rounds", rows, key="vector_rounds")
    ends = (_column("objective", rows, "{:.12g}"), _column("gap", rows, "{:.1e}"), _ended(rows))
    return Grid((_column("ranks", rows), *_reached(rows, "to "), _column("rounds", rows), vector, *_spent(rows), *ends))


def _column(head: str, rows: Sequence[dict[str, Any]], form: str = "{}", key: str = "") -> Column:
    return Column.of(head, [row[key or head] for row in rows], form.format)


def _reached(rows: Sequence[dict[str, Any]], word: str) -> list[Column]:
    return [Column.of(word + target, [row["rounds_to"][target] for row in rows]) for target in TARGETS]


def _spent(rows: Sequence[dict[str, Any]]) -> list[Column]:
    return [Column.of("bytes", [row["bytes"] for row in rows], size), _column("seconds", rows, "{:.3g}")]


def _ended(rows: Sequence[dict[str, Any]]) -> Column:
    return Column.of("ended", [row["reason"] for row in rows], right=False)


def _gaps(comparison: Comparison) -> Strip:
    curves = tuple(Curve(run.history, comparison.gaps(run)) for run in comparison.runs)
    return Strip(GAP, curves, floor=comparison.floor, mark=(comparison.certified, "F* certified"))
