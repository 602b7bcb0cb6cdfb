"""Where rows hold what is no finite number: told as that, and not as a divergence that another step size might mend."""

from collections.abc import Iterable

from mpiopt.arrays import Array, namespace
from mpiopt.errors import DataError
from mpiopt.problems.optional import Inspected
from mpiopt.problems.problem import Team
from mpiopt.problems.protocols import offers


def finite(rows: Array) -> Array:
    """Whether each of the rows (b, ...) is finite, (b,) bool."""
    xp = namespace(rows)
    if rows.dtype.kind not in "fc":
        return xp.ones(len(rows), bool)
    return xp.isfinite(rows.reshape(len(rows), -1)).all(axis=1)


def first(parts: Iterable[Array]) -> int | None:
    """The number of the first row that is not fine, of parts (b,) bool in order."""
    at = 0
    for fine in parts:
        if not fine.all():
            return at + int(fine.argmin())
        at += len(fine)
    return None


def demand_sound(team: Team) -> None:
    """Raise DataError on every rank where a worker's rows hold what is not finite. Collective; a pass over all rows."""
    found = [(site.worker, row) for site in team.sites if (row := _flawed(site.loss)) is not None]
    told = [(worker, row, rank) for rank, some in enumerate(team.world.tell_all(found)) for worker, row in some]
    if told:
        worker, row, rank = told[0]
        raise DataError(
            f"row {row} of worker {worker} (rank {rank}) holds a value that is not a finite number: the data are "
            "at fault, not the step size; take such rows out, or fill in what is missing"
        )


def _flawed(loss: object) -> int | None:
    return loss.flawed() if offers(loss, Inspected) else None
