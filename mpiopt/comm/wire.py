"""Arrays of any size between the ranks: MPI counts in 32-bit integers, and takes contiguous memory.

Nothing is counted here and nothing staged: `World` does that.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np

PIECE = 1 << 30  # bytes in one MPI message: counts stay far below 2^31 whatever the datatype


class Wire:
    """A communicator that carries arrays in host memory. Every verb is collective."""

    def __init__(self, mpi, comm) -> None:
        self._mpi, self._comm = mpi, comm

    def sum(self, x: np.ndarray) -> None:
        """The sum over all ranks, in place."""
        with contiguous(x) as flat:
            for piece in _pieces(flat):
                self._comm.Allreduce(self._mpi.IN_PLACE, piece, op=self._mpi.SUM)

    def bcast(self, x: np.ndarray, root: int) -> None:
        """The array of ``root``, in place."""
        with contiguous(x) as flat:
            for piece in _pieces(flat):
                self._comm.Bcast(piece, root)

    def lengths(self, x: np.ndarray) -> np.ndarray:
        """Of every rank's array, along its first axis, (ranks,)."""
        out = np.empty(self._comm.size, np.int64)
        self._comm.Allgather(np.array([len(x)], np.int64), out)
        return out

    def gather(self, x: np.ndarray, lengths: np.ndarray, run: range) -> list[np.ndarray]:
        """The arrays of the ranks of a run, of less than PIECE bytes in all or one; rows of one kind, ``lengths`` of them."""
        if len(run) == 1:
            part = x.copy() if self._comm.rank in run else np.empty((int(lengths[run.start]), *x.shape[1:]), x.dtype)
            self.bcast(part, run.start)
            return [part]
        theirs, counts = lengths[run.start : run.stop], np.zeros(len(lengths), np.int64)
        counts[run.start : run.stop] = row_bytes(x) * theirs
        joined = np.empty((int(theirs.sum()), *x.shape[1:]), x.dtype)
        mine = x if self._comm.rank in run else x[:0]
        starts = np.cumsum(counts) - counts
        self._comm.Allgatherv([mine, mine.nbytes, self._mpi.BYTE], [joined, (counts, starts), self._mpi.BYTE])
        return np.split(joined, np.cumsum(theirs)[:-1])

    def complete(self, total: np.ndarray, bounds: np.ndarray) -> None:
        """Fill in the slices of a flat array that other ranks have; ``bounds`` : (ranks + 1,)."""
        if total.nbytes < PIECE:
            nbytes = np.diff(bounds) * total.itemsize
            self._comm.Allgatherv(self._mpi.IN_PLACE, [total, (nbytes, bounds[:-1] * total.itemsize), self._mpi.BYTE])
            return
        for root, (a, b) in enumerate(pairwise(bounds)):
            self.bcast(total[a:b], root)

    def exchange(self, parts: Sequence[np.ndarray], lengths: np.ndarray | None = None) -> list[np.ndarray]:
        """Send ``parts[r]`` (flat) to rank r; what arrives by rank. lengths : of that, where they are known."""
        size, rank = self._comm.size, self._comm.rank
        if lengths is None:
            lengths = np.empty(size, np.int64)
            self._comm.Alltoall(np.array([len(part) for part in parts], np.int64), lengths)
        incoming = [np.empty(int(n), parts[0].dtype) for n in lengths]
        turns = [((rank - shift) % size, (rank + shift) % size) for shift in range(size)]
        self._pass([(incoming[source], source) for source, _ in turns], [(parts[target], target) for _, target in turns])
        return incoming

    def swap(self, parts: Sequence[np.ndarray], neighbours: Sequence[int], lengths: Sequence[int]) -> list[np.ndarray]:
        """Send ``parts[k]`` to the k-th neighbour and receive ``lengths[k]`` rows of its. Collective among them."""
        incoming = [np.empty((n, *x.shape[1:]), x.dtype) for x, n in zip(parts, lengths, strict=True)]
        flat = [y.reshape(-1) for y in incoming]
        self._pass(
            list(zip(flat, neighbours, strict=True)), [(x.reshape(-1), n) for x, n in zip(parts, neighbours, strict=True)]
        )
        return incoming

    def _pass(self, incoming: Sequence[tuple[np.ndarray, int]], outgoing: Sequence[tuple[np.ndarray, int]]) -> None:
        requests = [self._comm.Irecv(piece, source) for y, source in incoming for piece in _pieces(y)]
        requests += [self._comm.Isend(piece, target) for x, target in outgoing for piece in _pieces(x)]
        self._mpi.Request.Waitall(requests)


def row_bytes(x: np.ndarray) -> int:
    """Bytes of one entry of the first axis."""
    return x.itemsize * int(np.prod(x.shape[1:], dtype=np.int64))


def runs(sizes: np.ndarray, most: int) -> list[range]:
    """Ranks in a row, as many as have no more than ``most`` in all, and at least one."""
    found, total = [range(0, 1)], int(sizes[0])
    for rank, more in enumerate(sizes[1:].tolist(), 1):
        total += more
        if total <= most:
            found[-1] = range(found[-1].start, rank + 1)
        else:
            found.append(range(rank, rank + 1))
            total = more
    return found


@contextmanager
def contiguous(x: np.ndarray) -> Iterator[np.ndarray]:
    """A flat view of an array to receive into; where strides allow none, a copy that is put back."""
    flat = np.ascontiguousarray(x).reshape(-1)
    yield flat
    if not np.may_share_memory(flat, x):
        x[...] = flat.reshape(x.shape)


def _pieces(flat: np.ndarray) -> Iterator[np.ndarray]:
    """Views of a flat array, each below PIECE bytes."""
    step = max(1, PIECE // max(1, flat.dtype.itemsize))
    for start in range(0, flat.size, step):
        yield flat[start : start + step]
