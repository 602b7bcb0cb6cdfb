"""``mpiopt play``: look for the solution of a game over all ranks, and record how it went."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.flags import flag
from mpiopt.jobs.cli.play_options import Play
from mpiopt.jobs.cli.run_options import demand_not_negative, kept
from mpiopt.jobs.running.job_files import apart, of_run

if TYPE_CHECKING:
    from mpiopt.comm.world import World


def run(job: Play, world: "World", console: Console) -> dict[str, Any]:
    """Make the game, play, record. Collective. Raises MpioptError on every rank."""
    from mpiopt.jobs.running.playing import playing

    return playing(complete(job), world, console)


def complete(job: Play) -> Play:
    """The job with the defaults that depend on other options. Raises UsageError for values that cannot be."""
    demand_not_negative(job, "residual_tol", "distance_tol")
    for name in ("rounds", "record"):
        if not 1 <= getattr(job, name) < inf:
            raise UsageError(f"{flag(name)} {getattr(job, name)}: give a whole number of at least 1")
    for name, default in (("graph", None), ("graph_every", None), ("device", "cpu")):
        if getattr(job, name) != default:
            raise UsageError(
                f"{flag(name)} {getattr(job, name)} does not reach games, which all ranks play on the CPU: leave it out"
            )
    apart(of_run(job))
    if job.residual_tol is None and job.distance_tol is None:
        job = replace(job, residual_tol=1e-10)
    return kept(job)
