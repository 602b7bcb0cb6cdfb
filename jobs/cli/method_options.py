"""Which of the options that trainings share reach a method: it takes them as parameters of the function that builds it.

The others are refused where they are given, and a preset's or job file's are left out where another method is chosen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mpiopt.compress.catalogue import find
from mpiopt.compress.compressor import Compressor
from mpiopt.errors import NumericalError, UsageError
from mpiopt.methods import TRAINERS, Entry
from mpiopt.methods.linked import contracts

if TYPE_CHECKING:
    from mpiopt.jobs.cli.train_options import Train

THROUGH = {
    **dict.fromkeys(("rule", "momentum", "decay", "clip", "group"), "rule"),
    **dict.fromkeys(("clients", "dead"), "clients"),
}
WHY = {"rule": "makes steps of its own ({rule})", "clients": "needs all workers in every round"}
DIVIDING = ("model_parallel",)  # whose workers have parts of matrices, which no rule knows by name
RULE = "momentum"  # of methods that take any


def strangers(method: str) -> list[str]:
    """The options that do not reach a method; none where it is not known, or solves convex problems."""
    entry = TRAINERS.get(method)
    if entry is None:
        return []
    divided = ["group"] if method in DIVIDING else []
    return [option for option, name in THROUGH.items() if name not in entry.parameters or option in divided]


def demand_reach(job: "Train", entry: Entry) -> None:
    """Raise UsageError for an option that would be passed over in silence."""
    for option in strangers(entry.name):
        value, name = getattr(job, option), THROUGH[option]
        if value and not (option == "rule" and value == entry.rule):
            stranger = name not in entry.parameters
            why = WHY[name].format(rule=entry.rule) if stranger else "divides every matrix among its workers"
            able = ", ".join(other.name for other in TRAINERS.values() if option not in strangers(other.name))
            raise UsageError(f"{entry.name} {why}, and --{option} does not reach it: leave that out, or use one of {able}")
    if entry.steady and (job.schedule != "constant" or job.warmup or job.lr_range):
        raise UsageError(f"{entry.name} needs a step size that stays the same: give --schedule constant --warmup 0")


@contextmanager
def advised(job: "Train") -> Iterator[None]:
    """Name in a divergence the options that might help and that the job does not use."""
    try:
        yield
    except NumericalError as error:
        unused = [f"--{option}" for option in ("warmup", "clip") if not getattr(job, option) and _able(job, option)]
        if job.compress is not None and job.link == "plain" and job.compress != "vote" and _contracts(job.compress):
            unused.append("--error-feedback")
        raise NumericalError(f"{error}; not in use yet: {', '.join(unused)}" if unused else str(error)) from error


def _contracts(compress: str) -> bool:
    found = find(compress)
    return not isinstance(found, Compressor) or contracts(found)  # PowerSGD is made for error feedback


def _able(job: "Train", option: str) -> bool:
    entry = TRAINERS[job.method]
    return option not in strangers(job.method) and not (option == "warmup" and entry.steady)


def rule_for(job: "Train", entry: Entry) -> str:
    """The name of the local rule that a job runs."""
    return entry.rule or job.rule or RULE
