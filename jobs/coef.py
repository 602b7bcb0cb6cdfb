"""``mpiopt coef``: the largest coefficients of a model, with the names of their features."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import dataclass, field
from math import isnan
from pathlib import Path
from typing import Any

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import Console, table
from mpiopt.jobs.cli.options import Plugins, Whole
from mpiopt.words import counted


@dataclass(frozen=True, kw_only=True)
class Coef:
    """Show the largest coefficients of a run of mpiopt solve, with errors, z, p and 95 % intervals after solve --inference."""

    run: Path = field(kw_only=False)
    """A run of mpiopt solve."""
    top: Whole = 20
    """So many of them, by size, of several classes so many of each; before them those named by --inference-of."""
    plugin: Plugins = ()


def run(job: Coef, world: None, console: Console) -> dict[str, Any]:
    """Read and print. Raises UsageError, DataError."""
    from mpiopt.io.runs.class_fitted import of_classes
    from mpiopt.io.runs.coefficients import INTERCEPT, KNOWN, Coefficients

    if job.top < 1:
        raise UsageError(f"--top {job.top}: give a whole number of at least 1")
    if of_classes(job.run):
        return _of_classes(job, console)
    found = Coefficients.read(job.run)
    x = found.model.x
    shown = {found.name(j): found.known(j) for j in dict.fromkeys([*found.asked, *found.largest(job.top)])}
    intercept = {INTERCEPT: found.known(len(x))} if found.intercept else {}
    rows = [[name, *map(_told, told.values())] for name, told in (intercept | shown).items()]
    heads = ["feature", *(name.replace("_", " ") for name in (KNOWN if found.errors is not None else KNOWN[:1]))]
    kept = int((x != 0).sum())
    console.show(f"{job.run}: {counted(len(x), 'feature')}, {kept:,} of their coefficients not 0\n")
    console.show(table(heads, rows, "l" + "r" * (len(heads) - 1)))
    return {
        "run": str(job.run),
        "features": len(x),
        "nonzero": kept,
        "intercept": found.model.intercept,
        "coefficients": {name: told["coefficient"] for name, told in shown.items()},
        **({"known": intercept | shown} if found.errors is not None else {}),
    }


def _told(value: float) -> str:
    """A number; of errors that were not asked for, nothing."""
    return "-" if isnan(value) else f"{value:.6g}"


def _of_classes(job: Coef, console: Console) -> dict[str, Any]:
    """The largest of every class, one class after the other."""
    from mpiopt.io.runs.class_coefficients import ClassCoefficients
    from mpiopt.io.runs.coefficients import INTERCEPT

    found = ClassCoefficients.read(job.run)
    model, several = found.model, dict[str, dict[str, Any]]()
    kept = int((model.x != 0).sum())
    console.show(
        f"{job.run}: {counted(len(model.x), 'feature')}, {len(model.classes)} classes, {kept:,} of their coefficients not 0"
    )
    for k, name in enumerate(model.classes):
        several[name] = {"intercept": float(model.intercept[k]), "coefficients": found.largest(k, job.top)}
        first = {INTERCEPT: float(model.intercept[k])} if found.intercept else {}
        rows = [[each, f"{value:.6g}"] for each, value in (first | several[name]["coefficients"]).items()]
        console.show(f"\nclass {name}\n\n" + table(["feature", "coefficient"], rows, "lr"))
    return {"run": str(job.run), "features": len(model.x), "nonzero": kept, "classes": several}
