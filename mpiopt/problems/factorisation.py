"""Low-rank matrix completion: minimise the mean over observed (i, j) of (u_i.v_j - M_ij)^2 / 2 over U (n, r), V (m, r).

A row of the problem is one observed entry, so that workers share out the entries and all hold U and V. x is U and then V.
The minima form orbits (U A, V A^-T), so that an average of two good points can be a bad one.
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import DataError, UsageError
from mpiopt.kernels.host.entries import factor_errors, factor_gradient
from mpiopt.problems.buffers import Buffers
from mpiopt.problems.flaws import finite, first
from mpiopt.problems.model import Block, ScoreSums, split
from mpiopt.problems.problem import Point


class Entries(NamedTuple):
    """Observed entries of a matrix: i, j (entries,) int64, values (entries,)."""

    i: Array
    j: Array
    values: Array

    def part(self, lo: int, hi: int) -> "Entries":
        """Entries lo <= k < hi, views."""
        return Entries(*(array[lo:hi] for array in self))


def planted(
    stream: np.random.Generator,
    shape: tuple[int, int] = (60, 60),
    rank: int = 4,
    observed: float = 0.5,
    noise: float = 0.0,
) -> Entries:
    """Entries of a random matrix of this rank, with values of variance 1 and normal noise, in random order.

    observed : fraction of the entries. noise : standard deviation. Raises UsageError.
    """
    if min(*shape, rank) < 1 or not 0 < observed <= 1 or not noise >= 0:
        raise UsageError(
            f"a matrix of shape {shape} and rank {rank}, observed {observed:g}, noise {noise:g} cannot be made: sizes are at "
            "least 1, observed is above 0 and at most 1, noise is not negative"
        )
    u, v = (stream.standard_normal((size, rank)) for size in shape)
    i, j = np.divmod(stream.permutation(prod(shape))[: max(1, round(observed * prod(shape)))], shape[1])
    values = np.einsum("kr,kr->k", u[i], v[j]) / rank**0.5
    return Entries(i, j, values + noise * stream.standard_normal(i.size))


@dataclass(frozen=True, eq=False)
class Completion:
    """One worker's observed entries, on the CPU; a `Model`.

    shape : (n, m) of the matrix. rank : columns of U and V. Raises UsageError for sizes below 1, DataError for entries
    outside the matrix.
    """

    entries: Entries
    shape: tuple[int, int]
    rank: int
    buffers: ClassVar[Buffers] = {}

    def __post_init__(self) -> None:
        if min(*self.shape, self.rank) < 1:
            raise UsageError(f"a matrix of shape {self.shape} cannot have factors of rank {self.rank}: all are at least 1")
        for axis, index in enumerate(self.entries[:2]):
            if index.size and not 0 <= index.min() <= index.max() < self.shape[axis]:
                raise DataError(
                    f"the entries have {'rows' if axis == 0 else 'columns'} {index.min()} to {index.max()}, but the matrix has "
                    f"the shape {self.shape}: count from 0 and give a shape that holds them"
                )

    @property
    def rows(self) -> int:
        """Observed entries of this worker."""
        return self.entries.values.size

    @property
    def weight(self) -> float:
        """Every entry weighs 1."""
        return float(self.rows)

    @property
    def form(self) -> str:
        """See `Model.form`."""
        return f"{self.shape} {self.rank}"

    def flawed(self) -> int | None:
        """See `Model.flawed`."""
        return first([finite(self.entries.values)])

    @property
    def dim(self) -> int:
        """(n + m) r."""
        return sum(self.shape) * self.rank

    @property
    def blocks(self) -> tuple[Block, ...]:
        """U and V."""
        return Block("U", (self.shape[0], self.rank)), Block("V", (self.shape[1], self.rank))

    def point(self, x: Array) -> Point:
        """x (dim,) alone."""
        return Point(x)

    def value_grad(self, at: Point, rows: Array | None = None) -> tuple[float, Array]:
        """See `Model.value_grad`. Rows of U and V without an entry among ``rows`` have gradient 0."""
        rows = self._numbers(rows)
        gradient = np.zeros_like(at.x)
        value = factor_gradient(*self.entries, rows, *split(at.x, self.blocks), *split(gradient, self.blocks))
        gradient /= max(rows.size, 1)
        return value / max(rows.size, 1), gradient

    def initial(self, stream: np.random.Generator) -> Array:
        """Normal factors whose products have a standard deviation of 1/10, float64."""
        return stream.normal(0, (0.01 / self.rank) ** 0.25, self.dim)

    def evaluate(self, x: Array, rows: Array | None = None) -> ScoreSums:
        """See `Model.evaluate`; an entry is right if it is less than 1/2 off."""
        rows = self._numbers(rows)
        errors = np.empty(rows.size)
        factor_errors(*self.entries, rows, *split(x, self.blocks), errors)
        return ScoreSums(0.5 * float(errors @ errors), int((abs(errors) < 0.5).sum()), rows.size)

    @cached_property
    def _all(self) -> Array:
        return np.arange(self.rows)

    def _numbers(self, rows: Array | None) -> Array:
        """Row numbers that the unchecked loops may use. Raises UsageError."""
        if rows is None:
            return self._all
        if rows.size and not 0 <= rows.min() <= rows.max() < self.rows:
            raise UsageError(f"rows {rows.min()} to {rows.max()} were asked for, but there are {self.rows}, counted from 0")
        return rows
