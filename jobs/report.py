"""``mpiopt report``: runs of one problem, or trainings, as tables, a picture and a page."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from mpiopt.errors import MpioptError, UsageError
from mpiopt.jobs.cli.console import Console
from mpiopt.words import harmless

if TYPE_CHECKING:
    from mpiopt.io.runs.run_file import RunData
    from mpiopt.jobs.reports.sheet import Sheet


@dataclass(frozen=True, kw_only=True)
class Report:
    """Compare runs: tables, and pictures against rounds, bytes and seconds.

    Runs of mpiopt solve, all of one problem, by the gap (F - F*) / (F0 - F*): F* is the lowest objective of all runs and of
    the reference, F0 where they started. Runs of mpiopt train and of mpiopt reproduce by losses and accuracy on held-out
    rows, and by what it took them to come as far as all did.
    """

    runs: Annotated[tuple[Path, ...], Parameter(name="--run")] = field(kw_only=False)
    """Run files, written by mpiopt solve --out, by mpiopt train --out or by mpiopt reproduce."""
    seeds: Annotated[bool, Parameter(negative=())] = False
    """Show trainings that differ in their seed alone as one: means, with a band from the least to the most."""
    test: Annotated[bool, Parameter(negative=())] = False
    """Of two runs of mpiopt solve on the same rows, one with some of the features of the other: the likelihood-ratio test."""
    reference: Path | None = None
    """A run of mpiopt solve whose objective counts as reference optimum, without being shown."""
    out: Path | None = None
    """Write a page, complete in one file, with table, pictures and configurations."""
    png: Path | None = None
    """Write the pictures."""


def run(job: Report, world: None, console: Console) -> dict[str, Any]:
    """Read, compare, print, draw. Raises UsageError for runs that cannot be compared, DataError for a bad file."""
    from mpiopt.io.runs.run_file import read_run

    if job.test:
        from mpiopt.jobs.reports.nested import tested

        return tested([read_run(path) for path in job.runs], console)
    reference = read_run(job.reference) if job.reference else None
    runs = [read_run(path) for path in job.runs]
    if any("path" in run.attributes for run in runs):
        from mpiopt.jobs.reports.path_table import shown

        return shown(runs, console)
    sheet = _sheet(runs, reference, job.seeds)
    console.show(sheet.text())
    if job.png or job.out:
        _draw(sheet, job, console)
    else:
        console.show("\nPictures: --png FILE; a page with everything: --out PAGE.html")
    return sheet.facts


def _sheet(runs: "Sequence[RunData]", reference: "RunData | None", seeds: bool = False) -> "Sheet":
    """What is to be shown, by what the runs are of."""
    from mpiopt.jobs.reports import solves, trainings
    from mpiopt.jobs.reports.comparison import compare
    from mpiopt.jobs.reports.seeds import gathered

    other = next((run for run in runs if solved(run) != solved(runs[0])), None)
    if other is not None:
        raise UsageError(
            f"{runs[0].path} is a run of {_command(runs[0])}, but {other.path} is one of {_command(other)}: they "
            "have no number in common; report them one kind at a time"
        )
    if solved(runs[0]):
        if seeds:
            raise UsageError("--seeds is about trainings, whose steps are drawn at random: leave it out")
        return solves.sheet(compare(runs, reference))
    if reference is not None:
        raise UsageError(
            f"--reference {reference.path} is for runs of mpiopt solve, and {runs[0].path} is one of "
            f"{_command(runs[0])}: leave it out"
        )
    return trainings.sheet(gathered(runs) if seeds else runs)


def solved(run: "RunData") -> bool:
    """Whether it is a run of mpiopt solve: these alone have a loss and no model, whose loss may be named too."""
    return "loss" in run.attributes and "model" not in run.attributes


def _command(run: "RunData") -> str:
    return "mpiopt solve" if solved(run) else "mpiopt reproduce" if "study" in run.attributes else "mpiopt train"


def _draw(sheet: "Sheet", job: Report, console: Console) -> None:
    try:
        from mpiopt.jobs.reports.plots import demand_ours, figure, save
    except ImportError as error:
        raise MpioptError("pictures need matplotlib: pip install 'mpiopt[report]'") from error
    from mpiopt.jobs.reports.page import page

    for path in filter(None, (job.png, job.out)):
        demand_ours(path)
    try:
        if job.png:
            save(figure(sheet), job.png)
            console.note(f"wrote {job.png}")
        if job.out:
            job.out.write_text(harmless(page(sheet)), encoding="utf-8")
            console.note(f"wrote {job.out}")
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}") from error
