"""``mpiopt report``: runs of one problem as a table, a picture and a page."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from mpiopt.errors import MpioptError, UsageError
from mpiopt.jobs.console import Console

if TYPE_CHECKING:
    from mpiopt.jobs.compare import Comparison


@dataclass(frozen=True, kw_only=True)
class Report:
    """Compare runs of one problem: a table, and the gap against rounds, bytes and seconds.

    The gap is (F - F*) / (F0 - F*): F* is the lowest objective of all runs and of the reference, F0 where they started.
    """

    runs: Annotated[tuple[Path, ...], Parameter(name="--run")] = field(kw_only=False)
    """Run files, written by mpiopt solve --out."""
    reference: Path | None = None
    """A run whose objective counts as reference optimum, without being shown."""
    out: Path | None = None
    """Write a page, complete in one file, with table, pictures and configurations."""
    png: Path | None = None
    """Write the pictures."""


def run(job: Report, world: None, console: Console) -> dict[str, Any]:
    """Read, compare, print, draw. Raises UsageError for runs of different problems, DataError for a bad file."""
    from mpiopt.io.record import read_run
    from mpiopt.jobs.compare import compare
    from mpiopt.jobs.tabulate import facts, text

    reference = read_run(job.reference) if job.reference else None
    comparison = compare([read_run(path) for path in job.runs], reference)
    console.show(text(comparison))
    if job.png or job.out:
        _draw(comparison, job, console)
    else:
        console.show("\nPictures: --png FILE; a page with everything: --out PAGE.html")
    return facts(comparison)


def _draw(comparison: "Comparison", job: Report, console: Console) -> None:
    try:
        from mpiopt.jobs.plots import save
    except ImportError as error:
        raise MpioptError("pictures need matplotlib: pip install 'mpiopt[report]'") from error
    from mpiopt.io.schema import schema_of
    from mpiopt.jobs.page import page

    for path in (job.png, job.out):
        if path is not None and schema_of(path) is not None:
            raise UsageError(f"{path} holds a run or a data set: give the picture or the page another name")
    try:
        if job.png:
            save(comparison, job.png)
            console.note(f"wrote {job.png}")
        if job.out:
            job.out.write_text(page(comparison), encoding="utf-8")
            console.note(f"wrote {job.out}")
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written: {error.strerror}") from error
