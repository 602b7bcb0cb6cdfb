"""The likelihood-ratio test of two runs of `mpiopt solve`, one of which has some of the features of the other."""

from collections.abc import Sequence
from typing import Any

from mpiopt.errors import UsageError
from mpiopt.inference.normal import likelihood_ratio
from mpiopt.io.runs.run_file import RunData
from mpiopt.jobs.cli.console import Console, table
from mpiopt.losses.registry import find
from mpiopt.words import counted

SAME = ("loss", "rows", "weight", "label_positive", "label_negative", "class_weight", "offset")


def tested(runs: Sequence[RunData], console: Console) -> dict[str, Any]:
    """The test, printed and as facts. Raises UsageError for runs that are no such pair. Not collective."""
    smaller, larger = _pair(runs)
    a, b = smaller.attributes, larger.attributes
    rows = int(b["rows"]) if find(str(b["loss"])).dispersed else None
    found = likelihood_ratio(
        float(a["objective"]), float(b["objective"]), float(b["weight"]), _size(larger) - _size(smaller), rows
    )
    lines = [[str(run.path), f"{_size(run):,}", f"{float(run.attributes['objective']):.12g}"] for run in (smaller, larger)]
    console.show(table(["run", "coefficients", "mean loss"], lines, "lrr"))
    console.show(
        f"\nlikelihood ratio {found.statistic:.6g} with {counted(found.freedom, 'degree')} of freedom: p = {found.p:.4g}, the "
        f"probability of as much or more\nif the {counted(found.freedom, 'coefficient')} that {larger.path} has more were 0"
    )
    return {"smaller": str(smaller.path), "larger": str(larger.path), **found._asdict()}


def _pair(runs: Sequence[RunData]) -> tuple[RunData, RunData]:
    """The two runs, the smaller model first."""
    if len(runs) != 2:
        given = f"{counted(len(runs), 'run')} {'is' if len(runs) == 1 else 'are'} given"
        raise UsageError(f"--test compares two runs of mpiopt solve, and {given}")
    for run in runs:
        told = run.attributes
        if "loss" not in told or find(str(told["loss"])).link is None:
            raise UsageError(
                f"{run.path} is no fit of a likelihood: test runs of mpiopt solve with --loss logistic, poisson or "
                "least_squares"
            )
        if "multiclass" in told:
            raise UsageError(f"{run.path} is a model of several classes, and the test counts coefficients of one margin a row")
        if any(told.get(name) for name in ("l1", "group_l1", "l2")) or "lower" in told or "upper" in told:
            raise UsageError(f"{run.path} has a penalty, and its loss is not the least one: fit with --l2 0")
        if not told.get("converged"):
            raise UsageError(f"{run.path} had not converged: give that run more rounds")
    first, second = (run.attributes for run in runs)
    for name in SAME:
        if first.get(name) != second.get(name):
            raise UsageError(
                f"{runs[0].path} and {runs[1].path} differ in {name} ({first.get(name)}, {second.get(name)}): fit both to the "
                "same rows"
            )
    smaller, larger = sorted(runs, key=_size)
    if _size(smaller) == _size(larger):
        raise UsageError(
            f"{smaller.path} and {larger.path} have {_size(larger):,} coefficients each: one has to have some of the other's"
        )
    return smaller, larger


def _size(run: RunData) -> int:
    return int(run.attributes["features"]) + bool(run.attributes.get("intercept"))
