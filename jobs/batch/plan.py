"""What a batch script is to run: the command with what its script adds to it, checked as far as can be before it runs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpiopt.errors import CapabilityError, UsageError
from mpiopt.jobs.running.run_name import NOWHERE

if TYPE_CHECKING:
    from mpiopt.jobs.batch.options import Slurm

VALUE = "\0"  # in a token: the place of an array task's value


@dataclass(frozen=True)
class Plan:
    """The tokens of mpiopt's command line, and the key and values of an array (None, none).

    out : the run file, if the command writes one, as a token. stops : whether a signal stops it in good order. keeps :
    whether it keeps a checkpoint. gpus : of a rank.
    """

    tokens: tuple[str, ...]
    key: str | None
    values: tuple[str, ...]
    out: str | None
    stops: bool
    keeps: bool
    gpus: int

    @property
    def argvs(self) -> list[list[str]]:
        """The command lines that will be run, of each task."""
        return [[token.replace(VALUE, value) for token in self.tokens] for value in self.values or ("",)]


def planned(job: "Slurm", key: str | None, values: Sequence[str]) -> Plan:
    """Add to the command what its script needs. Raises UsageError for what the command would refuse."""
    known(job.command[0])
    inner = inner_job(job.command)
    options = {field.name for field in fields(inner)}
    keeps, tokens = {"checkpoint", "out"} <= options, list(job.command)
    if key is not None:
        if not keeps:
            raise UsageError(f"--array {job.array}: mpiopt {tokens[0]} writes no run file to tell its tasks apart")
        tokens += [f"--{key}={VALUE}"] if key.replace("-", "_") in options else ["--set", f"{key}={VALUE}"]
    if _left(inner, "margin") and "--margin" not in (token.partition("=")[0] for token in tokens):
        tokens += ["--margin", str(job.signal_margin)]
    if keeps and getattr(inner, "resume", None) == "never" and job.requeues:
        raise UsageError("--resume never: a job that queues itself again must go on; leave it out, or give --requeues 0")
    gpus = job.gpus_per_task or int(getattr(inner, "device", "cpu") == "gpu")
    tag = f"-{key}-{VALUE}" if key else ""

    def plan(keeps: bool) -> Plan:
        files = _files(job, inner, tag, keeps) if {"checkpoint", "out"} <= options else {}
        words = [*without(tokens, files), *(token for pair in files.items() for token in pair)]
        found = Plan(tuple(words), key, tuple(values), files.get("--out"), "margin" in options, keeps, gpus)
        for argv in found.argvs:
            _check(inner_job(argv), argv[0])
        return found

    try:
        return plan(keeps)
    except CapabilityError:
        if not keeps or inner.checkpoint is not None:
            raise
        return plan(False)  # such as a solve on a GPU


def _files(job: "Slurm", inner: Any, tag: str, keeps: bool) -> dict[str, str]:
    named = Path(f"{job.job_name or job.command[0]}.run.h5")
    run = named if inner.out in (None, NOWHERE) else inner.out
    kept = tagged(inner.checkpoint or run, tag, "" if inner.checkpoint else ".checkpoint.h5")
    out = str(NOWHERE) if inner.out == NOWHERE else tagged(run, tag)
    return {"--out": out, **({"--checkpoint": kept} if keeps else {})}


def inner_job(argv: Sequence[str]) -> Any:
    """The job that a command line means. Raises UsageError in the command's own words."""
    from mpiopt.jobs.cli.commands import Call, parse

    try:
        call = parse(argv)
    except UsageError as error:
        raise UsageError(f"{error}; for Slurm's options see mpiopt slurm --help") from error
    if not isinstance(call, Call):
        raise UsageError(f"mpiopt {' '.join(argv)} runs no job")
    return call.job


def _check(inner: Any, name: str) -> None:
    """Have a command check its options, without the machine that it will run on. Raises UsageError."""
    module = import_module(f"mpiopt.jobs.{name}")
    if hasattr(module, "complete"):
        inner = module.complete(inner)
    if hasattr(module, "method_of"):
        module.method_of(inner)


def known(name: str) -> None:
    """Raises UsageError where this is no command of many ranks."""
    from mpiopt.jobs.cli.commands import COMMANDS

    parallel = [command for command, needs in COMMANDS.items() if needs.mpi]
    if name not in parallel:
        raise UsageError(f"mpiopt slurm writes scripts for {', '.join(parallel)}, and the table called report; got {name!r}")


def _left(job: Any, name: str) -> bool:
    """Whether a job has an option of this name, and its default."""
    return any(field.name == name and getattr(job, name) == field.default for field in fields(job))


def tagged(path: Path, tag: str, ending: str = "") -> str:
    """``path`` with ``tag`` before its ending, .run.h5 or the last suffix, and with another ending if one is given."""
    own = ".run.h5" if path.name.endswith(".run.h5") else path.suffix
    return str(path.with_name(path.name.removesuffix(own) + tag + (ending or own)))


def without(tokens: Sequence[str], options: Collection[str]) -> list[str]:
    """The tokens without these options and their values."""
    found, skip = [], False
    for token in tokens:
        name, equals, _ = token.partition("=")
        if not skip and name not in options:
            found.append(token)
        skip = not skip and name in options and not equals
    return found
