"""What errors of coefficients ask of a problem, and what its rows say at a point."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import CapabilityError, DataError
from mpiopt.kernels.csr import CSR
from mpiopt.problems.problem import Team
from mpiopt.problems.protocols import Columns

Kind = Literal["hessian", "sandwich", "cluster"]
NAMED = 5  # columns that a sentence names


class RowsAt:
    """What the rows of one worker say at a point; residuals and curvatures with their weights."""

    def __init__(self, loss: Columns, x: Array) -> None:
        seen = loss.shifted(loss.margins(x))
        self.bends = loss.family.curvature(seen, loss.y, loss.weights)
        self.slopes = loss.family.value_residual(seen, loss.y, loss.weights)[1]
        self.squares = float(self.slopes @ loss.family.value_residual(seen, loss.y, loss.weights[:0])[1])


def demand_errors(team: Team[Columns], kind: Kind) -> None:
    """Raise CapabilityError where there are no such errors. Not collective: all ranks see the same."""
    penalty, loss = team.penalty, team.sites[0].loss
    if not penalty.smooth:
        raise CapabilityError(
            "a penalty with kinks chooses among the features, and errors of what is left would be too small: leave it out, or "
            "fit again on other rows with the features that were chosen"
        )
    if not isinstance(loss.matrix, CSR):
        raise CapabilityError("standard errors are computed on the CPU: leave `device=gpu` out")
    if kind == "hessian" and loss.family.link is None:
        raise CapabilityError(
            f"the {loss.family.name} loss is no likelihood, of which the Hessian tells errors: ask for the sandwich"
        )


def clusters_of_all(team: Team, clusters: Sequence[Array]) -> Array:
    """The numbers of all workers' clusters, ascending. Collective. Raises DataError for a single one."""
    known = np.unique(np.concatenate([found for found in team.world.tell_all(np.unique(np.concatenate(clusters)))]))
    if known.size < 2:
        raise DataError("there is one cluster of rows alone: errors by cluster need at least 2")
    return known


def few_clusters(team: Team, clusters: int) -> float:
    """The factor for few of them."""
    return clusters / (clusters - 1) * (team.rows - 1) / max(team.rows - team.dim, 1)


def places(ids: Array, some: Array) -> tuple[Array, int]:
    """Where each of ``ids`` is among ``some``, ascending; -1 for nowhere; and how many these are."""
    at = np.minimum(np.searchsorted(some, ids), some.size - 1)
    return np.where(some[at] == ids, at, -1), some.size


def dispersion(team: Team[Columns], rows: Sequence[RowsAt]) -> float:
    """The variance of the errors where the likelihood has one, else 1. Collective: a number."""
    if not team.sites[0].loss.family.dispersed:
        return 1.0
    if team.rows <= team.dim:
        raise DataError(f"{team.rows:,} rows leave no error to see with {team.dim:,} coefficients: give more rows")
    return float(team.world.total([np.array([each.squares]) for each in rows])[0]) / (team.rows - team.dim)


def singular(dependent: Sequence[int], diagonal: Array, name: Callable[[int], str]) -> str:
    """A sentence that names columns."""
    empty = [j for j in dependent if not diagonal[j] > 0]
    which = empty or list(dependent)
    told = ", ".join(name(j) for j in which[:NAMED]) + (f" and {len(which) - NAMED:,} more" if len(which) > NAMED else "")
    why = "never occur in rows that count" if empty else "are combinations of columns before them"
    return f"the Hessian is singular, so that there are no standard errors: {told} {why}; leave them out, or give `l2` above 0"
