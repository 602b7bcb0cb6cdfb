"""A comparison of runs in numbers and words: what the terminal, JSON and the page show."""

from typing import Any

from mpiopt.io.record import RunData
from mpiopt.jobs.compare import TARGETS, Comparison
from mpiopt.jobs.console import size, table


def text(comparison: Comparison) -> str:
    """The comparison for a terminal."""
    found = facts(comparison)
    head = ["run", "ranks", *found["targets"], "bytes", "seconds", "objective", "ended"]
    rows = [[row["label"], str(row["ranks"]), *("-" if k is None else str(k) for k in row["rounds_to"].values()),
             size(row["bytes"]), f"{row['seconds']:.3g}", f"{row['objective']:.10g}", row["reason"]]
            for row in found["runs"]]  # fmt: skip
    return f"{problem(comparison)}\n\n{table(head, rows, 'lrrrrrrrrl')}\n\n{note(comparison)}"


def problem(comparison: Comparison) -> str:
    """What was solved, in a line."""
    a = comparison.runs[0].attributes
    penalty = " + ".join(f"{name} {a[name]:g}" for name in ("l2", "l1") if a.get(name))
    return (f"{a.get('dataset', 'unnamed data')}: {a.get('rows', 0):,} rows, {a.get('features', 0):,} features, "
            f"{a.get('loss', '')}, {penalty}{', intercept' if a.get('intercept') else ''}")  # fmt: skip


def note(comparison: Comparison) -> str:
    """What the numbers of the table mean."""
    sure = ("without a certificate" if comparison.certified == float("inf")
            else f"certified to {comparison.certified:.1e} of F0 - F*")  # fmt: skip
    return (f"Rounds to (F - F*)/(F0 - F*); F* = {comparison.optimum:.15g},\nthe best objective of {comparison.source}, "
            f"{sure}.")  # fmt: skip


def facts(comparison: Comparison) -> dict[str, Any]:
    """The comparison's numbers, a row for each run."""
    rows = [{"label": label, "file": str(run.path), **_row(comparison, run)}
            for label, run in zip(comparison.labels, comparison.runs, strict=True)]  # fmt: skip
    return {"optimum": comparison.optimum, "optimum_from": comparison.source, "certified": comparison.certified,
            "targets": list(TARGETS), "runs": rows}  # fmt: skip


def _row(comparison: Comparison, run: RunData) -> dict[str, Any]:
    last = {name: column[-1].item() for name, column in run.history.items()}
    return {
        "method": run.attributes["method"], "ranks": run.attributes.get("world_size"),
        "rounds_to": {name: comparison.rounds_to(run, target) for name, target in TARGETS.items()}, "rounds": last["round"],
        "vector_rounds": last.get("vector_rounds"), "bytes": last.get("bytes_sent", 0),
        "seconds": last.get("seconds", 0.0), "objective": last["objective"],
        "gap": float(comparison.gaps(run)[-1]), "reason": str(run.attributes.get("reason", "")).lower(),
        "reason_text": run.attributes.get("reason_text", ""),
    }  # fmt: skip
