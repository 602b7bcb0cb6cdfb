"""A copy of all workers' rows with every rank, for losses of several classes: workers then share the classes out."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.csr import CSR
from mpiopt.problems.problem import Team
from mpiopt.problems.several import Separable


def shared_rows(team: Team[Separable]) -> Separable:
    """The loss of all rows, in worker order, the same on every rank. Collective: entries travel as they are stored, column
    numbers in the fewest bytes that hold them."""
    losses = [site.loss for site in team.sites]
    cols = losses[0].features
    own = [_packed(loss.matrix) for loss in losses]
    lengths = _brought(team, [np.diff(each.indptr).astype(np.int32) for each in own])
    indices = _brought(team, [each.indices.astype(np.min_scalar_type(cols)) for each in own])
    data = _brought(team, [each.data for each in own])
    beside = {name: _brought(team, [getattr(loss, name) for loss in losses]) for name in ("y", "weights")}
    with team.world.together("copying the rows"):
        matrix = CSR.empty(len(lengths), len(data), cols, data.dtype)
        np.cumsum(lengths, out=matrix.indptr[1:])
        matrix.indices[:], matrix.data[:] = indices, data
        return replace(losses[0], matrix=matrix, **beside)


def _packed(matrix: Any) -> CSR:
    """Rows with nothing before them."""
    begin, end = int(matrix.indptr[0]), int(matrix.indptr[-1])
    return CSR(matrix.indptr - begin, matrix.indices[begin:end], matrix.data[begin:end], matrix.shape)


def _brought(team: Team, parts: Sequence[Array]) -> Array:
    """All workers' arrays one after the other. Collective."""
    return np.concatenate(team.world.gather(np.concatenate(parts), "rows"))
