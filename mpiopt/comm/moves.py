"""Arrays and small objects from rank to rank."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from mpiopt.comm import wire
from mpiopt.comm.ranks import Ranks
from mpiopt.comm.staging import brought, landed, landing, returned

BATCH = 1 << 26  # bytes that are held at a time of what many ranks send


class Moves(Ranks):
    """What brings something as it is to where it was not."""

    def gather(self, x: np.ndarray, name: str = "gather") -> list[np.ndarray]:
        """Every rank's array, in rank order; lengths of the first axis may differ, all else must agree. Collective."""
        return list(self.each(x, name, wire.PIECE))

    def each(
        self, x: np.ndarray, name: str = "gather", most: int = BATCH, check: Callable[[np.ndarray], None] = lambda lengths: None
    ) -> Iterator[np.ndarray]:
        """The same one after the other, of which no more than ``most`` bytes, or one, are held at a time.

        check : sees the lengths of all ranks' arrays, (ranks,), before any is sent, and may raise.
        Collective: all ranks go through it to its end, or to the same place.
        """
        staged = np.ascontiguousarray(brought(x))
        with self._call(name, x.nbytes):
            lengths = self._wire.lengths(staged)
            check(lengths)
            first, *others = wire.runs(wire.row_bytes(staged) * lengths, most)
            parts = self._wire.gather(staged, lengths, first)
        yield from (returned(part, x) for part in parts)
        for run in others:
            with self._call(name, 0):
                parts = self._wire.gather(staged, lengths, run)
            yield from (returned(part, x) for part in parts)

    def pieces(self, nbytes: np.ndarray) -> int:
        """In how many collectives `each` brings so many bytes of every worker, (workers,). Not collective."""
        return len(wire.runs(np.add.reduceat(nbytes, self._bounds[:-1]), BATCH))

    def alltoall(self, parts: Sequence[np.ndarray], name: str = "alltoall") -> list[np.ndarray]:
        """Send ``parts[r]`` to rank r, receive what each rank sent here; 1-D arrays of one dtype. Collective."""
        staged = [np.ascontiguousarray(brought(part)) for part in parts]
        with self._call(name, sum(part.nbytes for part in parts)):
            arrived = self._wire.exchange(staged)
        return [returned(part, parts[0]) for part in arrived]

    def bcast(self, x: np.ndarray, root: int = 0, name: str = "bcast") -> np.ndarray:
        """Fill ``x`` in place with rank ``root``'s values and return it; shapes and dtypes agree. Collective."""
        staged = brought(x) if self.rank == root else landing(x)
        with self._call(name, x.nbytes if self.rank == root else 0, vector=x.ndim > 0 and x.size > 1):
            self._wire.bcast(staged, root)
        return x if self.rank == root else landed(staged, x)

    def tell(self, message, root: int = 0):
        """Rank ``root``'s small Python object on every rank (set-up only: never in a round). Collective."""
        with self._call("tell"):
            return self._comm.bcast(message, root)

    def tell_all(self, message) -> list:
        """Every rank's small Python object, in rank order, on every rank (set-up only). Collective."""
        with self._call("tell_all"):
            return self._comm.allgather(message)

    def swap(
        self, parts: Sequence[np.ndarray], neighbours: Sequence[int], lengths: Sequence[int] | None = None, name: str = "swap"
    ) -> list[np.ndarray]:
        """Send ``parts[k]`` to the k-th of the neighbouring ranks and receive what that sends here, in the order given.

        lengths : of the first axis of what is received; all else is as it is sent. None where that is as long as what is sent.
        Collective among neighbours: the relation must be symmetric. Counts a vector round.
        """
        staged = [np.ascontiguousarray(brought(part)) for part in parts]
        lengths = [len(part) for part in staged] if lengths is None else lengths
        with self._call(name, sum(part.nbytes for part in staged), vector=True):
            incoming = self._wire.swap(staged, neighbours, lengths)
        return [returned(y, like) for y, like in zip(incoming, parts, strict=True)]
