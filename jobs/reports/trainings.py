"""Trainings, and the runs of studies, side by side: what each spent and came to, and what it took to where all of them came."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.io.runs.run_file import RunData
from mpiopt.jobs.cli.console import size
from mpiopt.jobs.reports.seeds import LEAST, MOST
from mpiopt.jobs.reports.sheet import Column, Curve, Grid, Sheet, Strip, known
from mpiopt.jobs.reports.traits import names_of, own, shared
from mpiopt.words import counted

ROWS = ("dataset", "rows", "classes", "test")  # accuracies and losses of runs that differ in one of these are of different rows


def sheet(runs: Sequence[RunData]) -> Sheet:
    """All that is shown of them. Raises UsageError where one holds no round."""
    for run in runs:
        if not len(run.history.get("round", ())):
            raise UsageError(f"{run.path} holds no round: that run was stopped before its first; leave it out")
    names = names_of(runs)
    rows = [{"label": name, "file": str(run.path), **row(run)} for name, run in zip(names, runs, strict=True)]
    level = common(runs, rows)
    tables = tuple(grid for grid in (_work(rows), _outcome(rows), _level(level)) if grid.columns)
    return Sheet(
        shared(runs) or counted(len(runs), "run"),
        tuple(runs),
        names,
        own(runs, names),
        tables,
        tables,
        _note(runs, rows),
        "What they came to, against rounds, bytes and seconds",
        _picture(runs, rows),
        {"runs": rows, "comparable": comparable(runs), "level": level},
    )


# --------------------------------------------------------------------------------------------- what runs came to
def row(run: RunData) -> dict[str, Any]:
    """What one run did and came to; None where its file does not say."""
    told, last = run.attributes, {name: column[-1].item() for name, column in run.history.items()}
    at, accuracy = series(run, "accuracy")
    _, losses = series(run, "test_loss")
    _, running = series(run, "objective")
    best = int(np.argmax(accuracy)) if accuracy.size else None
    epochs = run.history.get("epoch")
    return {
        "kind": "study" if epochs is None else "training",
        **{
            name: told.get(name)
            for name in (
                "method",
                "model",
                "dataset",
                "test",
                "rows",
                "classes",
                "parameters",
                "rule",
                "batch",
                "compress",
                "link",
                "study",
                "workers",
            )
        },
        "ranks": told.get("world_size"),
        "seeds": told.get("seeds"),
        "test_loss_sd": told.get("test_loss_sd"),
        "accuracy_sd": told.get("accuracy_sd"),
        "epochs": last.get("epoch"),
        "rounds": last["round"],
        "steps": last.get("steps"),
        "vector_rounds": last.get("vector_rounds"),
        "messages": last.get("messages"),
        "bytes": last.get("bytes_sent"),
        "seconds": last.get("seconds"),
        "train_loss": running[-1].item() if running.size else None,
        "gradient_norm": last.get("gradient_norm"),
        "test_loss": losses[-1].item() if losses.size else None,
        "best_test_loss": losses.min().item() if losses.size else None,
        "accuracy": None if best is None else accuracy[-1].item(),
        "best_accuracy": None if best is None else accuracy[best].item(),
        "best_epoch": None if best is None or epochs is None else epochs[at[best]].item(),
        "reason": str(told.get("reason", "")).lower(),
        "reason_text": told.get("reason_text", ""),
    }


def series(run: RunData, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The places in the history where a column has a number, and the numbers; what the run ended with is its last."""
    column = np.array(run.history.get(name, ()), float)
    if column.size and not np.isfinite(column[-1]) and known(run.attributes.get(name)):
        column[-1] = run.attributes[name]
    at = np.flatnonzero(np.isfinite(column))
    return at, column[at]


def comparable(runs: Sequence[RunData]) -> bool:
    """Whether all are of the same rows: those of a study also of as many coordinates."""
    studies = any("study" in run.attributes for run in runs)
    names = (*ROWS, "study", "features") if studies else ROWS
    return all(run.attributes.get(name) == runs[0].attributes.get(name) for run in runs for name in names)


def common(runs: Sequence[RunData], rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Where all runs came, and what it took each: the lowest of their best accuracies, or the highest of their least losses.

    None for a single run, and where numbers of the runs cannot be compared.
    """
    if len(runs) == 1 or not comparable(runs):
        return None
    name, sign = ("accuracy", 1.0) if all(row["accuracy"] is not None for row in rows) else ("objective", -1.0)
    found = [series(run, name) for run in runs]
    if not all(values.size for _, values in found):
        return None
    level = sign * min((sign * values).max() for _, values in found)
    first = [at[np.argmax(sign * values >= sign * level)] for at, values in found]
    columns = ("epoch", "round", "bytes_sent", "seconds")
    return {
        "of": name,
        "level": float(level),
        "runs": [
            {column: run.history[column][k].item() for column in columns if column in run.history}
            for run, k in zip(runs, first, strict=True)
        ],
    }


# ------------------------------------------------------------------------------------------------------ tables
def _of(head: str, rows: Sequence[dict[str, Any]], name: str, form: str = "{:,}") -> Column:
    return Column.of(head, [row.get(name) for row in rows], form.format)


def _percent(head: str, rows: Sequence[dict[str, Any]], name: str) -> Column:
    return Column.of(head, [row[name] for row in rows], lambda value: f"{100 * value:.2f} %")


def _bytes(rows: Sequence[dict[str, Any]], name: str) -> Column:
    return Column.of("bytes", [row.get(name) for row in rows], size)


def _work(rows: Sequence[dict[str, Any]]) -> Grid:
    ended = Column.of("ended", [row["reason"] for row in rows], right=False)
    return Grid.of(
        _of("seeds", rows, "seeds"),
        _of("epochs", rows, "epochs", "{:.3g}"),
        _of("steps", rows, "steps"),
        _of("rounds", rows, "rounds"),
        _bytes(rows, "bytes"),
        _of("seconds", rows, "seconds", "{:.3g}"),
        ended,
    )


def _outcome(rows: Sequence[dict[str, Any]]) -> Grid:
    loss = "objective" if all(row["kind"] == "study" for row in rows) else "train loss"
    return Grid.of(
        _of(loss, rows, "train_loss", "{:.4g}"),
        _of("|gradient|", rows, "gradient_norm", "{:.2e}"),
        _of("test loss", rows, "test_loss", "{:.4g}"),
        _of("+-", rows, "test_loss_sd", "{:.2g}"),
        _of("best", rows, "best_test_loss", "{:.4g}"),
        _percent("accuracy", rows, "accuracy"),
        _of("+-", [{"sd": None if row["accuracy_sd"] is None else 100 * row["accuracy_sd"]} for row in rows], "sd", "{:.2g} %"),
        _percent("best", rows, "best_accuracy"),
        _of("at epoch", rows, "best_epoch", "{:.3g}"),
    )


def _level(level: dict[str, Any] | None) -> Grid:
    if level is None:
        return Grid(())
    rows = level["runs"]
    where = f"an accuracy of {100 * level['level']:.2f} %" if level["of"] == "accuracy" else f"a loss of {level['level']:.4g}"
    return Grid.of(
        _of("epochs", rows, "epoch", "{:.3g}"),
        _of("rounds", rows, "round"),
        _bytes(rows, "bytes_sent"),
        _of("seconds", rows, "seconds", "{:.3g}"),
        caption=f"To {where}, where all runs came:",
    )


def _note(runs: Sequence[RunData], rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    if any(row["kind"] == "training" for row in rows):
        lines.append("Train loss: running mean over the workers. Bytes: of all ranks.")
    if any(row["accuracy"] is not None for row in rows):
        lines.append("Accuracy, test loss: on held-out rows, at the end, and the best of all examinations.")
    if any(row["seeds"] for row in rows):
        lines.append("Of several seeds: means, +- the deviation of a run; bands from the least to the most.")
    if not comparable(runs):
        lines.append("These runs are not all of the same rows: their losses and accuracies may not be comparable.")
    return "\n".join(lines or ["Bytes: of all ranks."])


# ---------------------------------------------------------------------------------------------------- pictures
def _picture(runs: Sequence[RunData], rows: Sequence[dict[str, Any]]) -> tuple[Strip, ...]:
    loss = "objective" if all(row["kind"] == "study" for row in rows) else "train loss"
    strips = (
        _strip("test error, %", runs, "accuracy", lambda accuracy: 100 * (1 - accuracy)),
        _strip(loss, runs, "objective"),
        _strip("test loss", runs, "test_loss"),
        _strip("|gradient|", runs, "gradient_norm"),
    )
    return tuple(strip for strip in strips if any(curve.y.size for curve in strip.curves))


def _strip(label: str, runs: Sequence[RunData], name: str, form: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Strip:
    """Logarithmic where numbers are positive and far apart; 0 then is drawn at half of the least that is not."""
    curves = []
    for run in runs:
        at, values = series(run, name)
        curves.append(
            Curve({column: numbers[at] for column, numbers in run.history.items()}, form(values), _band(run, name, at, form))
        )
    every = np.concatenate([ends for curve in curves for ends in (curve.y, *(curve.band or ()))])
    positive = every[every > 0]
    wide = positive.size and every.min() >= 0 and every.max() > 4 * positive.min()
    return Strip(label, tuple(curves), "log" if wide else "linear", positive.min() / 2 if wide else 0.0)


def _band(
    run: RunData, name: str, at: np.ndarray, form: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray] | None:
    """The ends of the band of a run of several seeds, lower and upper."""
    if f"{name}{LEAST}" not in run.history:
        return None
    one, other = (form(run.history[f"{name}{end}"][at]) for end in (LEAST, MOST))
    return np.minimum(one, other), np.maximum(one, other)
