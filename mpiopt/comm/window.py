"""A vector that every rank reads and adds to whenever it likes, without the others' help: MPI's one-sided operations.

The vector is cut into even slices, one in the memory of each rank, so that no rank is the server of all. The window is
open from its making to its end (one shared lock), and every operation completes before it returns: a lock for each
operation would wait until the target happens to be inside MPI.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.blocks import even, owner
from mpiopt.comm.gate import ALONE, Gate
from mpiopt.comm.staging import brought, landed, landing


class Window:
    """``length`` numbers of ``dtype``, zero at first. Make one with `World.window`. Collective.

    Additions to one number are atomic, those to the whole vector are not: a reader may see a part of another's addition.
    It lies in the memory of the CPU; arrays of a GPU are copied there and back.
    """

    def __init__(self, mpi, comm, gate: Gate, name: str, length: int, dtype: np.dtype) -> None:
        self._mpi, self._gate, self._name, self.length, self.dtype = mpi, gate, name, length, np.dtype(dtype)
        self._bounds, self._rank = [int(b) for b in even(length, comm.size)], comm.rank
        item = self.dtype.itemsize
        self._vector = self.dtype.kind == "f"  # whole numbers count, and are no d-vector
        mine = self._bounds[comm.rank + 1] - self._bounds[comm.rank]
        with gate("window"):
            self._win = mpi.Win.Allocate(mine * item, item, comm=comm)
            self._mine = np.frombuffer(self._win.tomemory(), self.dtype, mine)
            self._mine[:] = 0
            self._win.Lock_all(mpi.MODE_NOCHECK)
            comm.Barrier()
        self._call = gate.beside(ALONE)

    def put(self, x: Array) -> None:
        """Set this rank's slice to its part of x (length,). Not collective: barriers around it are the caller's."""
        self._mine[:] = brought(x[self._bounds[self._rank] : self._bounds[self._rank + 1]])
        self._win.Sync()

    def get(self, out: Array | None = None) -> Array:
        """What the vector is now, (length,), into ``out`` where given. Not collective."""
        out = np.empty(self.length, self.dtype) if out is None else out
        staged = landing(out)
        with self._call(f"{self._name} get", out.nbytes, self._vector):
            self._win.Sync()
            for rank, part in self._parts(staged):
                self._win.Get(part, rank)
            self._win.Flush_all()
        return landed(staged, out)

    def add(self, x: Array) -> None:
        """Add x (length,) of the window's type, number by number. Not collective."""
        staged = np.ascontiguousarray(brought(x), self.dtype)
        with self._call(f"{self._name} add", x.nbytes, self._vector):
            for rank, part in self._parts(staged):
                self._win.Accumulate(part, rank, op=self._mpi.SUM)
            self._win.Flush_all()

    def fetch_and_add(self, amount: int, at: int = 0) -> int:
        """Add ``amount`` to whole number ``at`` and return what it was before, in one. Not collective."""
        rank = owner(self._bounds, at)
        given, before = np.array([amount], self.dtype), np.empty(1, self.dtype)
        with self._call(f"{self._name} fetch and add", given.nbytes):
            self._win.Fetch_and_op(given, before, rank, at - self._bounds[rank], self._mpi.SUM)
            self._win.Flush(rank)
        return before[0].item()

    def _parts(self, x: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """The ranks that hold something, and their slices of x."""
        return ((rank, x[lo:hi]) for rank, (lo, hi) in enumerate(pairwise(self._bounds)) if hi > lo)

    def free(self) -> None:
        """Close the window. Collective."""
        del self._mine  # a view of the memory that is given back
        with self._gate("free"):
            self._win.Unlock_all()
            self._win.Free()
