"""The rows that a solve is given."""

from dataclasses import replace
from typing import TYPE_CHECKING

from mpiopt.io.dataset.source import Source, open_source
from mpiopt.jobs.cli.solve_options import DEFAULT

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.solve_options import Solve


def opened(job: "Solve", world: "World") -> tuple["Solve", Source]:
    """The source of a job's rows, and the job with the type of its values, which is that of the source if none is given.

    Collective. Raises DataError or UsageError on every rank.
    """
    source = open_source(job.data or DEFAULT, world)
    with world.together(f"opening {job.data}"):
        return replace(job, values=job.values or source.values), source
