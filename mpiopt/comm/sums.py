"""Sums over all workers, the same bits on every rank: see `comm.world`."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.blocks import even
from mpiopt.comm.ranks import Ranks
from mpiopt.comm.staging import on_device, reduced
from mpiopt.comm.wire import contiguous

Pair = tuple[Array, Array]


class Sums(Ranks):
    """What adds up; parts are one per hosted worker, folded in worker order before they go over MPI."""

    def sum(self, parts: Sequence[np.ndarray], name: str = "sum", out: np.ndarray | None = None) -> np.ndarray:
        """Sum of d-vectors over all workers, the same on every rank. Collective; counts a vector round.

        parts : one (d,) array per hosted worker, left unchanged. out : where to put the sum, perhaps ``parts[0]``.
        """
        return self._reduce(parts, name, True, out)

    def total(self, parts: Sequence[np.ndarray], name: str = "total") -> np.ndarray:
        """Sum of a few numbers over all workers; as `sum`, but not counted as a vector round. Collective."""
        return self._reduce(parts, name, False, None)

    @property
    def summands(self) -> int:
        """How many parts this rank hands over for a sum: where their order counts each worker's, else what they add up to."""
        return len(self.hosted) if self.deterministic else 1

    def shares(self, pairs: Sequence[Pair]) -> list[np.ndarray]:
        """What each hosted worker adds to the inner products of ``pairs``, (pairs,) each: those of its slice. Not collective.

        For a sum that is taken anyway; `dots` takes one. pairs : vectors that are the same on all ranks.
        """
        found = [[float(x[cut] @ y[cut]) for cut in self.slices(x.size)] for x, y in pairs]
        return list(np.array(found).reshape(len(pairs), len(self.hosted)).T)

    def dots(self, pairs: Sequence[Pair], name: str = "dots") -> list[float]:
        """The inner products of ``pairs`` of vectors that all ranks hold, the same number on every rank. Collective.

        BLAS on unlike CPUs finds unlike last bits. A number that decides what ranks do next must not be found by each for
        itself, but come out of a sum like this one, of which every worker computes its slice.
        """
        return self.total(self.shares(pairs), name).tolist()

    def _reduce(self, parts: Sequence[np.ndarray], name: str, vector: bool, out: np.ndarray | None) -> np.ndarray:
        if on_device(parts[0]):
            return self._reduce_staged(parts, name, vector, out)
        if self.deterministic:
            return self._ordered(parts, name, vector, out)
        if out is None:
            out = np.array(parts[0], copy=True, order="C")
        elif out is not parts[0]:
            out[...] = parts[0]
        for part in parts[1:]:
            out += part
        with self._call(name, out.nbytes, vector):
            self._wire.sum(out)
        return out

    def _reduce_staged(self, parts: Sequence[Array], name: str, vector: bool, out: Array | None) -> Array:
        """The same for arrays of a GPU; a lone rank's do not leave it, and count as if they had."""

        def reduce(staged: Sequence[np.ndarray], into: np.ndarray) -> np.ndarray:
            return self._reduce(staged, name, vector, into)

        if self.size == 1 and not self.deterministic:
            with self._call(name, parts[0].nbytes, vector):
                return reduced(reduce, parts, out, ordered=False, alone=True)
        return reduced(reduce, parts, out, ordered=self.deterministic, alone=False)

    def _ordered(self, parts: Sequence[np.ndarray], name: str, vector: bool, out: np.ndarray | None) -> np.ndarray:
        """Each rank adds up one slice over all workers in order, then the slices are gathered."""
        flat = [np.ascontiguousarray(part).reshape(-1) for part in parts]
        out = np.empty(parts[0].shape, parts[0].dtype) if out is None else out
        bounds = even(flat[0].size, self.size)
        mine = slice(*bounds[self.rank : self.rank + 2])
        with self._call(name, sum(part.nbytes for part in flat), vector), contiguous(out) as total:
            outgoing = [
                flat[0][a:b] if len(flat) == 1 else np.concatenate([part[a:b] for part in flat]) for a, b in pairwise(bounds)
            ]
            width = mine.stop - mine.start
            incoming = self._wire.exchange(outgoing, width * np.diff(self._bounds))
            total[mine] = 0
            for row in (row for block in incoming for row in block.reshape(-1, width)) if width else ():
                total[mine] += row
            self._wire.complete(total, bounds)
        return out
