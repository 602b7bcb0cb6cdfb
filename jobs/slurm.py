"""``mpiopt slurm``: write a batch script for another command, or the table of an array's runs."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

import re
from pathlib import Path
from typing import Any
from unicodedata import category

from mpiopt.errors import UsageError
from mpiopt.jobs.batch.options import Slurm
from mpiopt.jobs.batch.plan import planned
from mpiopt.jobs.batch.script import argv, script
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.flags import flag

TIME = re.compile(
    r"(?:(?P<d>\d+)-(?P<dh>\d+)(?::(?P<dm>\d+)(?::(?P<ds>\d+))?)?"
    r"|(?:(?P<h>\d+):)?(?P<m>\d+):(?P<s>\d+)|(?P<minutes>\d+))"
)
DIRECTIVE = re.compile(r"[a-z][a-z0-9-]*(=[^\n]+)?")
NAME, ITEM = re.compile(r"\w[\w.+,-]*", re.ASCII), re.compile(r"[\w.+-]+", re.ASCII)
ALWAYS = (
    "nodes",
    "ntasks-per-node",
    "cpus-per-task",
    "gpus-per-task",
    "time",
    "job-name",
    "partition",
    "account",
    "array",
    "output",
    "open-mode",
    "signal",
    "requeue",
    "no-requeue",
)


def run(job: Slurm, world: None, console: Console) -> dict[str, Any]:
    """Write the script, or print the table. Raises UsageError, and DataError for run files that cannot be read."""
    if job.command[0] == "report":
        from mpiopt.jobs.reports.summary import summary

        return summary([Path(name) for name in job.command[1:]], console)
    check(job)
    plan = planned(job, *array(job))
    if plan.stops and not job.signal_margin <= min(seconds(job.time) // 3, 65535):
        # it may come half a minute and more before that, and is lost where the ranks are not up
        raise UsageError(
            f"--signal-margin {job.signal_margin}: give at most a third of the --time of {seconds(job.time)} "
            "seconds, and at most 65535"
        )
    text = script(job, plan)
    if job.out_script is None:
        console.show(text.rstrip("\n"))
    else:
        _write(job.out_script, text)
        console.show(f"wrote {job.out_script}: submit it from the folder where its files are, sbatch {job.out_script}")
    return {"script": text, "out_script": None if job.out_script is None else str(job.out_script)}


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} exists: name another file with --out-script, or remove it") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error


def check(job: Slurm) -> None:
    """Raises UsageError for options that Slurm would refuse, or that contradict the script."""
    for argument in argv(job):
        _one_line(argument)
    least = {"nodes": 1, "tasks_per_node": 1, "cpus_per_task": 1, "gpus_per_task": 0, "requeues": 0, "signal_margin": 1}
    for name, bound in least.items():
        if getattr(job, name) < bound:
            raise UsageError(f"{flag(name)} {getattr(job, name)}: give a whole number of at least {bound}")
    if seconds(job.time) == 0:
        raise UsageError(f"--time {job.time}: give a time as Slurm writes it, such as 90 (minutes), 8:00:00 or 2-12")
    for name in ("job_name", "partition", "account", "mpi"):
        value = getattr(job, name)
        if value is not None and not NAME.fullmatch(value):
            raise UsageError(f"{flag(name)} {value!r}: give a name of letters, digits and _.+,-")
    for option in job.sbatch:
        _directive(option)


def _one_line(argument: str) -> None:
    """The script has the command line in a comment, which a line break would end."""
    if any(category(letter) in ("Cc", "Zl", "Zp") for letter in argument):
        raise UsageError(f"the argument {argument!r} has a line break or a control character, which no script can hold")


def _directive(option: str) -> None:
    if not DIRECTIVE.fullmatch(option):
        raise UsageError(f"--sbatch {option!r}: give a long option of sbatch without its dashes, such as mem=16G")
    if option.partition("=")[0] in ALWAYS:
        raise UsageError(f"--sbatch {option}: the script has that option already; mpiopt slurm --help lists how to set it")


def seconds(time: str) -> int:
    """A time limit as Slurm writes it, in seconds; 0 for what is none."""
    match = TIME.fullmatch(time)
    if match is None:
        return 0
    part = {name: int(value) for name, value in match.groupdict(default="0").items()}
    days = ((part["d"] * 24 + part["dh"]) * 60 + part["dm"]) * 60 + part["ds"]
    return days + (part["h"] * 60 + part["m"]) * 60 + part["s"] + part["minutes"] * 60


def array(job: Slurm) -> tuple[str | None, list[str]]:
    """The key and values of --array. Raises UsageError."""
    if job.array is None:
        return None, []
    key, _, text = job.array.partition("=")
    values = text.split(",")
    fine = ITEM.fullmatch(key) and all(ITEM.fullmatch(value) for value in values)
    if not fine or len(set(values)) < len(values) or key in ("out", "checkpoint"):
        raise UsageError(
            f"--array {job.array}: give an option and values that differ and can be part of a file's name, such as l2=1e-3,1e-4"
        )
    return key, values
