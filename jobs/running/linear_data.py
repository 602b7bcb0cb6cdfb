"""The rows that a solve is given."""

from dataclasses import replace
from math import inf, isfinite
from typing import TYPE_CHECKING

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.io.dataset.source import Source, open_source
from mpiopt.io.dataset.synthetic import Synthetic
from mpiopt.jobs.cli.solve_options import DEFAULT
from mpiopt.problems.grouped import GroupLasso
from mpiopt.problems.penalties import Box, ElasticNet
from mpiopt.problems.per_feature import PerFeature
from mpiopt.problems.protocols import Penalty

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.solve_options import Solve


def penalty_of(
    job: "Solve",
    l2: float | None = None,
    margins: int = 1,
    factors: Array | None = None,
    groups: Array | None = None,
) -> Penalty:
    """The penalty of a job, perhaps with another l2; margins : of a row, each with an intercept of its own; factors :
    (features,), where features have such; groups : (features,), where they are in such.

    Raises UsageError for one that cannot be. Not collective.
    """
    l2, free = job.l2 if l2 is None else l2, margins * int(job.intercept)
    if factors is not None:
        return PerFeature(job.l1, l2, factors, free)
    if groups is not None:
        return GroupLasso(job.group_l1, l2, groups, free)
    if job.lower is None and job.upper is None:
        return ElasticNet(job.l1, l2, free=free)
    if job.l1 > 0:
        raise UsageError(
            f"--l1 {job.l1:g} and {'--lower' if job.upper is None else '--upper'} do not go together: leave one of them out"
        )
    lower, upper = (-inf if job.lower is None else job.lower), (inf if job.upper is None else job.upper)
    if not (isfinite(lower) or isfinite(upper)) or not lower <= 0 <= upper:
        raise UsageError(
            f"coefficients begin at 0, and --lower {lower:g} --upper {upper:g} do not allow it: give numbers around 0"
        )
    return Box(lower, upper, l2, free)


def opened(job: "Solve", world: "World") -> tuple["Solve", Source]:
    """The source of a job's rows, and the job with the type of its values, which is that of the source if none is given.

    Collective. Raises DataError or UsageError on every rank.
    """
    source = open_source(job.data or DEFAULT, world)
    with world.together(f"opening {job.data}"):
        job = replace(job, values=job.values or source.values)
        if isinstance(source, Synthetic):
            source.ready(job.values)
        return job, source
