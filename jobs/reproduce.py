"""``mpiopt reproduce``: a published comparison from end to end: run files, a table beside what is expected, a picture."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from mpiopt.errors import MpioptError, UsageError
from mpiopt.jobs.cli.console import WIDTH, Console
from mpiopt.jobs.studies import Findings, find, listing
from mpiopt.words import counted

if TYPE_CHECKING:
    from types import ModuleType

    from mpiopt.comm.world import World
    from mpiopt.jobs.studies.apparatus.lab import Trail

OFF = Parameter(negative=())


@dataclass(frozen=True, kw_only=True)
class Reproduce:
    """Run a published comparison on any number of ranks, and hold what it finds against what is expected.

    Writes into a folder: a run file of every method (mpiopt report reads them), table.txt, table.csv and picture.png
    (extra: report). The exit code is 1 if a number is further from the expected one than its tolerance.
    """

    name: str | None = field(default=None, kw_only=False)
    """The comparison; without it they are listed."""
    out: Path | None = None
    """The folder; NAME unless given."""
    quick: Annotated[bool, OFF] = False
    """Only the part that takes a few seconds."""
    data: str | None = None
    """Rows to train on, for studies that need a data set: DATA.h5 of mpiopt convert."""
    test: str | None = None
    """Rows to be examined on, for these."""
    seconds: float | None = None
    """Seconds of training for each method, for studies that compare by time."""
    animate: Annotated[bool, OFF] = False
    """Also write animation.gif, where there is something to be seen moving."""
    overwrite: Annotated[bool, OFF] = False
    """Replace the files of an earlier run."""
    all_sources: Annotated[bool, OFF] = False
    """List instead every work that the package began with and each of its systems: its claim, the command, what that showed."""


Reproduce.__doc__ = f"{Reproduce.__doc__}\n\n    " + "\n\n    ".join(f"{name}: {shows}." for name, shows in listing().items())


def run(job: Reproduce, world: "World", console: Console) -> dict[str, Any]:
    """Run, compare, show, write. Collective. Raises UsageError for an unknown name or files in the way."""
    if job.all_sources:
        from mpiopt.jobs.studies.apparatus.sources import facts_of_sources, table_of_sources

        console.show(table_of_sources())
        return facts_of_sources()
    if job.name is None:
        console.show(catalogue())
        return listing()
    from mpiopt.jobs.studies.apparatus.lab import Lab

    study, out = find(job.name), job.out or Path(job.name)
    with world.together("looking at the folder"):
        _check(job, study, out)
    start = perf_counter()
    console.note(f"running {job.name}")
    found = study.run(Lab(world, console, job.quick, job.data, job.test, job.seconds))
    seconds = perf_counter() - start
    text = report(job, found, seconds)
    console.show(text)
    files: list[str] = []
    with world.together("writing the results"):
        if world.rank == 0:
            files = write(job, study, found, text, out, console)
    return facts(job, found, seconds, world.tell(files))


def catalogue() -> str:
    """The studies and what they show, for a terminal."""
    wide = max(map(len, listing())) + 2
    lines = [textwrap.fill(f"{name:{wide}s}{shows}.", WIDTH, subsequent_indent=" " * wide) for name, shows in listing().items()]
    return "\n".join([*lines, "", "Run one: mpiexec -n 2 mpiopt reproduce NAME"])


def _check(job: Reproduce, study: "ModuleType", out: Path) -> None:
    if job.animate and not hasattr(study, "animate"):
        raise UsageError(f"{job.name} has no animation: leave --animate out")
    for option in ("data", "test", "seconds"):
        if getattr(job, option) is not None and option not in getattr(study, "USES", ()):
            raise UsageError(f"{job.name} makes its own data and does not go by time: leave --{option} out")
    if (out / "table.txt").exists() and not job.overwrite:
        raise UsageError(f"{out} holds the results of an earlier run: name another folder with --out, or give --overwrite")


def report(job: Reproduce, found: Findings, seconds: float) -> str:
    """The table and what it means, in 80 columns."""
    from mpiopt.jobs.studies.apparatus.checks import shown

    outside = sum(not check.holds for check in found.checks)
    verdict = f"{len(found.checks) - outside} of {len(found.checks)} numbers are as expected; {seconds:.1f} s."
    notes = "\n".join(textwrap.fill(line, WIDTH) for line in found.notes.splitlines())
    return f"{job.name}{' (short form)' if job.quick else ''}\n\n{shown(found.checks)}\n\n{notes}\n{verdict}"


def facts(job: Reproduce, found: Findings, seconds: float, files: list[str]) -> dict[str, Any]:
    """The result as JSON has it."""
    passed = bool(found.checks) and all(check.holds for check in found.checks)
    checks = [check.facts for check in found.checks]
    return {
        "study": job.name,
        "quick": job.quick,
        "passed": passed,
        "seconds": seconds,
        "checks": checks,
        "files": files,
        "exit_code": 0 if passed else 1,
    }


def write(job: Reproduce, study: "ModuleType", found: Findings, text: str, out: Path, console: Console) -> list[str]:
    """Run files, tables and pictures; returns their names. Not collective. Raises UsageError."""
    from mpiopt.jobs.studies.apparatus.checks import write_csv

    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "table.txt").write_text(text + "\n", encoding="utf-8")
        tables = {"table": [check.facts for check in found.checks], **found.tables}
        for name, rows in tables.items():
            write_csv(rows, out / f"{name}.csv")
        runs = [write_run(job, trail, out) for trail in found.trails]
        files = ["table.txt", *(f"{name}.csv" for name in tables), *runs, *pictures(job, study, found, out, console)]
    except OSError as error:
        raise UsageError(f"{error.filename or out} cannot be written: {error.strerror}") from error
    console.note(f"wrote {counted(len(files), 'file')} into {out}")
    return [str(out / name) for name in files]


def write_run(job: Reproduce, trail: "Trail", out: Path) -> str:
    """A run file of one trail; returns its name."""
    from mpiopt.engine.stop import Reason
    from mpiopt.io.runs.run_file import RunFile

    about = {
        "dataset": job.name,
        "method": trail.method,
        "workers": trail.workers,
        "world_size": trail.ranks,
        "rows": trail.rows,
        "features": trail.x.size,
        "study": job.name,
        **trail.about,
    }
    name = f"{trail.name}.h5"
    with RunFile(out / name, about, overwrite=job.overwrite, past=trail.readings) as file:
        file.finish(trail.x, 0.0, {"reason": Reason.ROUNDS.name, "reason_text": f"After {counted(trail.rounds, 'round')}."})
    return name


def pictures(job: Reproduce, study: "ModuleType", found: Findings, out: Path, console: Console) -> list[str]:
    """The names of the pictures written; none where matplotlib is missing and none was asked for."""
    try:
        figure = study.draw(found)
    except ModuleNotFoundError as error:
        if job.animate:
            raise MpioptError("an animation needs matplotlib: pip install 'mpiopt[report]'") from error
        console.note("no picture: it needs matplotlib (pip install 'mpiopt[report]')")
        return []
    figure.savefig(out / "picture.png")
    if job.animate:
        study.animate(found, out / "animation.gif")
    return ["picture.png", *["animation.gif"] * job.animate]
