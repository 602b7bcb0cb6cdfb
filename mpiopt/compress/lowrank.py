"""PowerSGD: every matrix of the model as the product of two thin ones, found by one step of power iteration a round.

An exchange drives it, since its message goes in two sums:

    plan = PowerSgd(rank=2).on(blocks);  right = plan.start(x.dtype, stream)     one stream for all
    left = mean over workers of plan.left(x_w, right)                          P = M Q, and what is not compressed
    plan.orthogonalise(left)
    right = mean over workers of plan.right(x_w, left)                         Q = M^T P, kept for the next round
    agreed = plan.decode(left, right, out)                                     M ~ P Q^T

Both sums are linear in x, so that the result is that of the workers' mean. Products are made where x is; the thin left
factors, which come from the sum, are made orthonormal on the CPU.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array, Shaped, namespace, on_host
from mpiopt.comm.staging import returned
from mpiopt.compress.compressor import demand, demand_vector, peak
from mpiopt.errors import DataError, UsageError
from mpiopt.kernels.replicated import inner, length


class MatrixPart(NamedTuple):
    """A block's place in x, and as a matrix; rank 0: not compressed. Offsets of its factors in the messages."""

    first: int
    rows: int
    columns: int
    rank: int
    left: int
    right: int

    @property
    def size(self) -> int:
        """Entries of x."""
        return self.rows * self.columns

    @property
    def left_size(self) -> int:
        """Entries of the first message."""
        return self.rows * self.rank if self.rank else self.size


@dataclass(frozen=True)
class PowerSgd:
    """Approximation of every matrix by one of low rank, warm-started; vectors are sent as they are.

    Vogels, Karimireddy, Jaggi, PowerSGD: practical low-rank gradient compression for distributed optimization, 2019,
    algorithm 1. A block of more than two axes is a matrix of its first axis against the others; a matrix that would not
    become smaller is sent as it is. Biased: it needs error feedback.
    """

    rank: int = 1

    def __post_init__(self) -> None:
        demand(self.rank >= 1, "the rank", self.rank, "at least 1")

    def on(self, blocks: Sequence[Shaped]) -> "FactorPlan":
        """The messages for a model of these blocks. Raises UsageError for a model without matrices to compress."""
        parts, first, left, right = [], 0, 0, 0
        for block in blocks:
            part = self._part(block, first, left, right)
            parts.append(part)
            first, left, right = first + part.size, left + part.left_size, right + part.columns * part.rank
        if not any(part.rank for part in parts):
            raise UsageError(
                f"powersgd of rank {self.rank} finds no matrix to compress among the blocks "
                f"{', '.join(f'{block.name} {block.shape}' for block in blocks)}: take a smaller rank or another compressor"
            )
        return FactorPlan(tuple(parts), first, left, right)

    def _part(self, block: Shaped, first: int, left: int, right: int) -> MatrixPart:
        rows, columns = (*block.shape[:1], prod(block.shape[1:])) if len(block.shape) > 1 else (prod(block.shape), 1)
        rank = min(self.rank, rows, columns)
        worth = len(block.shape) > 1 and rank * (rows + columns) < rows * columns
        return MatrixPart(first, rows, columns, rank if worth else 0, left, right)


@dataclass(frozen=True)
class FactorPlan:
    """Where the factors of a model's matrices are in the two messages."""

    parts: tuple[MatrixPart, ...]
    dim: int
    left_size: int
    right_size: int

    def nbytes(self, dtype: np.typing.DTypeLike = np.float32) -> int:
        """Exact length of both messages of one worker."""
        return (self.left_size + self.right_size) * np.dtype(dtype).itemsize

    def start(self, dtype: np.typing.DTypeLike, stream: np.random.Generator) -> Array:
        """Q before the first round: (right_size,) standard normal numbers, from a stream that all workers share."""
        return stream.standard_normal(self.right_size).astype(dtype)

    def left(self, x: Array, right: Array) -> Array:
        """P = M Q of every matrix, and the blocks that are not compressed: (left_size,), a new array.

        Raises NumericalError if x has entries that are not finite.
        """
        self._demand(x, self.dim)
        self._demand(right, self.right_size)
        peak(x)
        xp = namespace(x)
        out = xp.empty(self.left_size, x.dtype)
        for part, m, p, q in self._views(x, out, right):
            if part.rank:
                xp.matmul(m, q, out=p)
            else:
                p[:] = m
        return out

    def orthogonalise(self, left: Array) -> None:
        """Make the columns of every P orthonormal, in place, also those that depend on others."""
        self._demand(left, self.left_size)
        for part in self.parts:
            if part.rank:
                p = left[part.left : part.left + part.left_size].reshape(part.rows, part.rank)
                p[:] = returned(orthonormal(on_host(p)), p)

    def right(self, x: Array, left: Array) -> Array:
        """Q = M^T P of every matrix: (right_size,), a new array."""
        self._demand(x, self.dim)
        self._demand(left, self.left_size)
        xp = namespace(x)
        out = xp.empty(self.right_size, x.dtype)
        for part, m, p, q in self._views(x, left, out):
            if part.rank:
                xp.matmul(m.T, p, out=q)
        return out

    def decode(self, left: Array, right: Array, out: Array | None = None) -> Array:
        """P Q^T of every matrix, and the blocks that were not compressed: (dim,)."""
        xp = namespace(left)
        out = xp.empty(self.dim, left.dtype) if out is None else out
        self._demand(left, self.left_size)
        self._demand(right, self.right_size)
        for part, m, p, q in self._views(out, left, right):
            if part.rank:  # column by column: every rank does it for itself, and BLAS is not the same on all CPUs
                xp.multiply(p[:, :1], q[:, 0], out=m)
                for k in range(1, part.rank):
                    m += p[:, k : k + 1] * q[:, k]
            else:
                m[:] = p
        return out

    def add(self, left: Array, right: Array, out: Array, scale: float = 1.0) -> None:
        """out += scale decode(left, right), one block at a time."""
        self._demand(left, self.left_size)
        self._demand(right, self.right_size)
        for part, m, p, q in self._views(out, left, right):
            m += (p @ q.T if part.rank else p) * out.dtype.type(scale)

    def _views(self, x: Array, left: Array, right: Array) -> Iterator[tuple[MatrixPart, Array, Array, Array]]:
        """Every part with views of its matrix and factors; for one that is not compressed (rows, columns) twice."""
        for part in self.parts:
            m = x[part.first : part.first + part.size].reshape(part.rows, part.columns)
            p = left[part.left : part.left + part.left_size].reshape(part.rows, part.rank or part.columns)
            q = right[part.right : part.right + part.columns * part.rank].reshape(part.columns, part.rank)
            yield part, m, p, q

    def _demand(self, array: Array, wanted: int) -> None:
        demand_vector(array)
        if array.size != wanted:
            raise DataError(f"{array.size} numbers came where powersgd expects {wanted}: do all ranks hold the same model?")


def orthonormal(p: np.ndarray) -> np.ndarray:
    """The columns of p (rows, rank) made orthonormal one after the other; a unit vector's part for one that depends on others.

    Gram and Schmidt's procedure, in float64 and an order that is the same on all CPUs, as LAPACK's is not: all ranks do this
    for themselves. Twice over is enough: Giraud, Langou, Rozloznik, van den Eshof, Numerische Mathematik 101, 2005.
    """
    columns = np.array(p.T, np.float64, order="C")
    for k in range(len(columns)):
        units = (np.arange(len(p)) == j for j in range(len(p)))
        candidates = (_freed(v, columns[:k]) for v in chain([columns[k]], units))
        columns[k] = next(v for v in candidates if v is not None)
    return columns.T


def _freed(v: np.ndarray, others: np.ndarray) -> np.ndarray | None:
    """v without its parts along ``others``, of length 1; None where next to nothing is left."""
    v = v.astype(np.float64)
    size = length(v)
    for _ in range(2):
        for other in others:
            v -= inner(other, v) * other
    rest = length(v)
    return v / rest if rest > 1e-12 * size else None
