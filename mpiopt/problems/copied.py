"""A copy of all workers' rows with worker 0: sent once, where that is less than the rounds it saves."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import CapabilityError
from mpiopt.kernels.csr import CSR
from mpiopt.problems.problem import Team
from mpiopt.problems.protocols import Columns, offers

ROOT = 0  # the worker that has the copy


def copied(team: Team[Columns], name: str = "this method") -> Columns | None:
    """The loss of all rows, in worker order, on the rank that hosts worker 0; None elsewhere. Collective.

    Entries travel as they are stored, column numbers in the fewest bytes that hold them, and none of rows that are all full.
    Raises CapabilityError on every rank, in the name of a method, for rows that are not in the memory of a CPU.
    """
    with team.world.together("looking at the rows"):
        own = [_packed(site.loss, name) for site in team.sites]
    losses = [site.loss for site in team.sites]
    cols = own[0].shape[1]
    gaps = float(team.world.total([np.array([float(each.nnz < each.shape[0] * cols)]) for each in own], "rows")[0])
    lengths = _brought(team, [np.diff(each.indptr).astype(np.int32) for each in own])
    indices = _brought(team, [_few_bytes(each.indices, cols) for each in own]) if gaps else None
    data = _brought(team, [each.data for each in own])
    beside = {each: _brought(team, [getattr(loss, each) for loss in losses]) for each in ("y", "weights", "offset")}
    with team.world.together("copying the rows"):
        if lengths is None or data is None:
            return None
        matrix = CSR.empty(sum(map(len, lengths)), sum(map(len, data)), cols, data[0].dtype)
        np.cumsum(np.concatenate(lengths), out=matrix.indptr[1:])
        np.concatenate(data, out=matrix.data)
        columns = indices or [np.tile(np.arange(cols, dtype=np.int32), matrix.shape[0])]
        np.concatenate(columns, out=matrix.indices, casting="unsafe")  # from as many bytes, or fewer
        return replace(losses[0], matrix=matrix, **{name: np.concatenate(parts) for name, parts in beside.items() if parts})


def _few_bytes(indices: Array, cols: int) -> Array:
    """Column numbers in the fewest bytes that hold them; themselves where these are as many."""
    kind = np.min_scalar_type(cols)
    return indices.view(kind) if kind.itemsize == indices.itemsize else indices.astype(kind)


def _packed(loss: Columns, name: str) -> CSR:
    """A worker's rows with nothing before them. Raises CapabilityError."""
    matrix = loss.matrix if offers(loss, Columns) else None
    if not isinstance(matrix, CSR):
        raise CapabilityError(
            f"{name} copies rows to another worker, and here are none in the memory of a CPU: leave `form=gathered` out"
        )
    begin, end = int(matrix.indptr[0]), int(matrix.indptr[-1])
    return CSR(matrix.indptr - begin, matrix.indices[begin:end], matrix.data[begin:end], matrix.shape)


def _brought(team: Team, parts: Sequence[Array]) -> list[Array] | None:
    """The workers' arrays, one after the other, where the copy is, None elsewhere. Collective; the root's own do not travel."""
    world, root = team.world, team.world.host_of(ROOT)
    ours = [part for site, part in zip(team.sites, parts, strict=True) if site.worker != ROOT]
    sent = ours[0] if len(ours) == 1 else np.concatenate([parts[0][:0], *ours])
    arrived = world.alltoall([sent if rank == root else sent[:0] for rank in range(world.size)], "rows")
    return [parts[ROOT - world.hosted.start], *arrived] if world.rank == root else None


def returned_to(team: Team[Columns], values: Array) -> list[Array] | None:
    """Of one number for each of all rows, where the copy is, those of each hosted worker's rows; None where there are none.

    values : (rows,) float64 in worker order there, (0,) elsewhere, or everywhere. Collective.
    """
    world, root = team.world, team.world.host_of(ROOT)
    rows = np.array([site.loss.rows for site in team.sites], np.int64)
    told = world.gather(np.append(rows, values.size), "rows")
    if not any(each[-1] for each in told):
        return None
    bounds = np.cumsum([0, *(each[:-1].sum() for each in told)]).tolist()
    parts = [values[a:b] if world.rank == root else values[:0] for a, b in pairwise(bounds)]
    return np.split(world.alltoall(parts, "rows")[root], np.cumsum(rows)[:-1])
