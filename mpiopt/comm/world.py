"""World: the ranks, the workers they host, and the few collectives that everything else is made of.

A worker is not a rank. The algorithm speaks of workers; a rank hosts one or more of them (by default one). Verbs
that reduce take one part per hosted worker, fold them in worker order and then go over MPI. With
``deterministic=True`` the sum is taken over all workers in worker order, whatever rank hosts them, so that a result
depends on the number of workers and not on the number of ranks.

All ranks get the same bits from a sum, and may take decisions by them: MPI requires that processes receive identical
results from an allreduce (MPI 4.1, section 6.9.6), and ``deterministic`` sums, each slice by one rank, need no more than
that sent bytes arrive. What a rank finds for itself, from numbers that all have, is alike only where every operation is
exact or rounded in one way only (+, -, *, /, square roots, in a fixed order), which BLAS and exponentials are not.
"""

import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise
from time import monotonic, sleep
from types import MappingProxyType
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm import wire
from mpiopt.comm.blocks import even
from mpiopt.comm.gate import ALONE, GROUP, Gate, Watch
from mpiopt.comm.staging import brought, landed, landing, on_device, reduced, returned
from mpiopt.comm.tally import Tally
from mpiopt.comm.window import Window
from mpiopt.comm.wire import Wire, contiguous
from mpiopt.errors import LaunchError, MpioptError, UnlikeError, UsageError
from mpiopt.words import counted

Pair = tuple[Array, Array]
BATCH = 1 << 26  # bytes that are held at a time of what many ranks send


class World:
    """A private duplicate of a communicator, and the workers hosted by this rank.

    Parameters
    ----------
    comm : an mpi4py intracommunicator; None stands for all ranks of the job.
    workers : total number of workers, at least one per rank; None for one per rank. Blocks are contiguous.
    deterministic : reduce in worker order, bit for bit the same for any rank count.
    expected : the rank count that the launcher promised, where known; another size raises LaunchError.

    Collective. Raises LaunchError or UsageError on every rank.
    """

    def __init__(
        self, comm=None, *, workers: int | None = None, deterministic: bool = False, expected: int | None = None
    ) -> None:
        from mpi4py import MPI  # here, so that importing the library starts no MPI

        self._mpi = MPI
        self._comm = (MPI.COMM_WORLD if comm is None else comm).Dup()
        self._wire = Wire(MPI, self._comm)
        self.rank, self.size = self._comm.rank, self._comm.size
        if expected is not None and expected != self.size:
            raise LaunchError(
                f"the launcher promised {expected} ranks, but MPI sees {self.size}: the launcher does not belong to "
                f"the MPI library in use ({MPI.Get_library_version().splitlines()[0].strip()}); "
                "start the job with that library's own mpiexec, or with srun --mpi=pmi2 or --mpi=pmix"
            )
        self.workers = self.size if workers is None else workers
        if self.workers < self.size:
            raise UsageError(
                f"{self.size} ranks cannot share {counted(self.workers, 'worker')}: every rank hosts at least one; "
                f"give at least {self.size} workers or start fewer ranks"
            )
        self._bounds = even(self.workers, self.size)
        self.deterministic = deterministic
        self._call = Gate(Tally(), [])
        self._windows: dict[str, Window] = {}
        self._groups: dict[int | None, World] = {}

    @property
    def tally(self) -> Tally:
        """What this rank has sent."""
        return self._call.tally

    @property
    def watches(self) -> list[Watch]:
        """Who is told of every call of this World and of what is made of it; add to it, and take away again."""
        return self._call.watches

    # ------------------------------------------------------------------------------------------ who is where
    @cached_property
    def hosted(self) -> range:
        """The workers that this rank hosts."""
        return range(int(self._bounds[self.rank]), int(self._bounds[self.rank + 1]))

    @cached_property
    def host(self) -> str:
        """The name of this rank's node."""
        return socket.gethostname()

    @cached_property
    def hosts(self) -> np.ndarray:
        """The rank that hosts each worker, (workers,)."""
        return np.repeat(np.arange(self.size), np.diff(self._bounds))

    def host_of(self, worker: int) -> int:
        """The rank that hosts ``worker``."""
        return int(np.searchsorted(self._bounds, worker, side="right")) - 1

    # ------------------------------------------------------------------------------------------ sums
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

    def slices(self, size: int) -> list[slice]:
        """The even share of a vector's entries that each hosted worker sees to where all ranks hold the vector."""
        return [slice(w * size // self.workers, (w + 1) * size // self.workers) for w in self.hosted]

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
            outgoing = [flat[0][a:b] if len(flat) == 1 else np.concatenate([part[a:b] for part in flat])
                        for a, b in pairwise(bounds)]  # fmt: skip
            width = mine.stop - mine.start
            incoming = self._wire.exchange(outgoing, width * np.diff(self._bounds))
            total[mine] = 0
            for row in (row for block in incoming for row in block.reshape(-1, width)) if width else ():
                total[mine] += row
            self._wire.complete(total, bounds)
        return out

    # ------------------------------------------------------------------------------------------ moving arrays
    def gather(self, x: np.ndarray, name: str = "gather") -> list[np.ndarray]:
        """Every rank's array, in rank order; lengths of the first axis may differ, all else must agree. Collective."""
        return list(self.each(x, name, wire.PIECE))

    def each(self, x: np.ndarray, name: str = "gather", most: int = BATCH,
             check: Callable[[np.ndarray], None] = lambda lengths: None) -> Iterator[np.ndarray]:  # fmt: skip
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

    # ------------------------------------------------------------------------------------------ agreements
    def extremes(self, v: np.ndarray, name: str = "extremes") -> tuple[np.ndarray, np.ndarray]:
        """Elementwise minimum and maximum of ``v`` over the ranks; NaN counts as -inf and as +inf. Collective."""
        v = np.asarray(v, np.float64)
        both = _no_nan(np.concatenate([-v.reshape(-1), v.reshape(-1)]))
        with self._call(name, both.nbytes):
            self._comm.Allreduce(self._mpi.IN_PLACE, both, op=self._mpi.MAX)
        return -both[: v.size].reshape(v.shape), both[v.size :].reshape(v.shape)

    def best(self, values: Sequence[float], name: str = "best") -> int:
        """Leader election: the worker with the smallest value; NaN counts as +inf, ties go to the lowest worker.

        values : one number per hosted worker. Collective.
        """
        clean = [np.inf if np.isnan(v) else v for v in values]
        at = int(np.argmin(clean))
        mine = np.zeros(1, np.dtype([("value", "f8"), ("worker", "i4")], align=True))
        mine["value"], mine["worker"] = clean[at], self.hosted[at]
        with self._call(name, 12):
            self._comm.Allreduce(self._mpi.IN_PLACE, [mine, 1, self._mpi.DOUBLE_INT], op=self._mpi.MINLOC)
        return int(mine["worker"][0])

    def split(self, colour: int) -> "World":
        """The World of the ranks that gave the same colour, with the workers that they host here. Collective."""
        with self._call("split"):
            return self._part(self._comm.Split(colour, self.rank))

    def by_node(self) -> "World":
        """The World of the ranks that share this rank's memory, with the workers that they host here. Collective."""
        with self._call("by_node"):
            return self._part(self._comm.Split_type(self._mpi.COMM_TYPE_SHARED, self.rank))

    def _part(self, comm) -> "World":
        try:
            counts = comm.allgather(len(self.hosted))
            part = World(comm, workers=sum(counts), deterministic=self.deterministic)
            part._bounds = np.cumsum([0, *counts])
            part._call = self._call.beside(GROUP, part.tally)
            return part
        finally:
            comm.Free()

    def group(self, groups: int | None) -> "World":
        """The part of this rank: one of ``groups`` of neighbouring ranks, or its node where None. It counts in this tally
        and is kept until this World is freed. Collective when it is first asked for. Raises UsageError on every rank."""
        if groups not in self._groups:
            if groups is not None and not 1 <= groups <= self.size:
                raise UsageError(
                    f"{groups} groups of {counted(self.size, 'rank')} cannot be made: give a number from 1 to {self.size}"
                )
            bounds = even(self.size, groups or 1)
            part = self.by_node() if groups is None else self.split(int(np.searchsorted(bounds, self.rank, "right")))
            part._call = self._call.beside(GROUP)
            self._groups[groups] = part
        return self._groups[groups]

    def window(self, name: str, length: int, dtype: np.dtype) -> Window:
        """The one-sided window of this name, made when it is first asked for, or asked for in another length or type; kept
        until the World is freed. Collective where it is made."""
        held = self._windows.get(name)
        if held is None or (held.length, held.dtype) != (length, dtype):
            if held is not None:
                held.free()
            self._windows[name] = Window(self._mpi, self._comm, self._call, name, length, dtype)
        return self._windows[name]

    def swap(self, parts: Sequence[np.ndarray], neighbours: Sequence[int], lengths: Sequence[int] | None = None,
             name: str = "swap") -> list[np.ndarray]:  # fmt: skip
        """Send ``parts[k]`` to the k-th of the neighbouring ranks and receive what that sends here, in the order given.

        lengths : of the first axis of what is received; all else is as it is sent. None where that is as long as what is sent.
        Collective among neighbours: the relation must be symmetric. Counts a vector round.
        """
        staged = [np.ascontiguousarray(brought(part)) for part in parts]
        lengths = [len(part) for part in staged] if lengths is None else lengths
        with self._call(name, sum(part.nbytes for part in staged), vector=True):
            incoming = self._wire.swap(staged, neighbours, lengths)
        return [returned(y, like) for y, like in zip(incoming, parts, strict=True)]

    @contextmanager
    def together(self, doing: str) -> Iterator[None]:
        """Run a block without collectives; if it fails on any rank, raise the same error on every rank.

        ``doing`` ends the sentence "rank 2 on host n1, while ..." for errors that are not ours. Collective at its end.
        """
        error: BaseException | None = None
        try:
            yield
        except Exception as caught:
            error = caught
        self._raise_first(error, doing)

    def _raise_first(self, error: BaseException | None, doing: str) -> None:
        with self._call("together"):
            found = np.array([self.rank if error is not None else self.size], np.int64)
            self._comm.Allreduce(self._mpi.IN_PLACE, found, op=self._mpi.MIN)  # allreduce keeps other threads from running
            failed = int(found[0])
            if failed == self.size:
                return
            ours = isinstance(error, MpioptError)
            told = (type(error) if ours else MpioptError, _sentence(error, self, doing)) if self.rank == failed else None
            kind, sentence = self._comm.bcast(told, failed)
        raise kind(sentence) from error

    def agree(self, values: np.ndarray, name: str = "agree") -> np.ndarray:
        """Elementwise maximum of a small control vector over the ranks; NaN counts as +inf. Collective."""
        out = _no_nan(np.array(values, np.float64))
        with self._call(name, out.nbytes):
            self._comm.Allreduce(self._mpi.IN_PLACE, out, op=self._mpi.MAX)
        return out

    def tallied(
        self, seconds: float, word: str = "", held: Mapping[str, int] = MappingProxyType({}), when: str = ""
    ) -> tuple[int, float, str]:
        """Bytes sent so far, summed over the ranks, the largest of the ranks' ``seconds``, and the ``word`` of the lowest
        rank that has one; ``held`` and ``when`` as in `demand_alike`. Collective. Raises UnlikeError on every rank."""
        with self._call("tallied"):
            told = self._comm.allgather((self.tally.bytes, seconds, word, dict(held)))
        _demand_alike([here for *_, here in told], when)
        words = (word for _, _, word, _ in told if word)
        return sum(sent for sent, *_ in told), max(second for _, second, *_ in told), next(words, "")

    def demand_alike(self, held: Mapping[str, int], when: str) -> None:
        """Raise UnlikeError on every rank unless all have the same numbers under the same names. Collective.

        held : checksums of what must be alike. when : "after round 3", for the sentence.
        """
        _demand_alike(self.tell_all(dict(held)), when)

    def barrier(self) -> None:
        """Wait for every rank. Collective."""
        with self._call("barrier"):
            self._comm.Barrier()

    def rest(self, waiting: Callable[[float], None] = lambda seconds: None) -> None:
        """Wait for every rank as `barrier` does, but asleep: MPI's own waiting keeps a core busy. Collective.

        waiting : told again and again for how many seconds it has been; not collective.
        """
        with self._call("rest"):
            meeting, start = self._comm.Ibarrier(), monotonic()
            while not meeting.Test():
                sleep(0.01)
                waiting(monotonic() - start)

    @contextmanager
    def waiting(self, name: str) -> Iterator[None]:
        """While windows are looked into until they say something: watchers see one wait, not many calls. Not collective."""
        with self._call.beside(ALONE)(name):
            yield

    def abort(self, code: int = 1) -> None:
        """End every rank at once. Not collective; does not return."""
        self._comm.Abort(code)

    def in_order(self, act: Callable[[], None]) -> None:
        """Run ``act`` on one rank after the other. Collective."""
        for turn in range(self.size):
            if turn == self.rank:
                act()
            self.barrier()

    def free(self) -> None:
        """Give the private communicator, windows and groups back. Collective; the World cannot be used afterwards."""
        held: list[Window | World] = [*self._windows.values(), *self._groups.values()]
        for one in held:
            one.free()
        self._windows.clear()
        self._groups.clear()
        with self._call("free"):
            self._comm.Free()


def _no_nan(v: np.ndarray) -> np.ndarray:
    """NaN replaced by +inf: MPI's maximum of a NaN and a number differs from rank to rank."""
    return np.where(np.isnan(v), np.inf, v)


def _demand_alike(held: Sequence[Mapping[str, int]], when: str) -> None:
    odd = unlike(held)
    if odd:
        name, rank, usual = odd
        others = "the others" if len(held) > 2 else f"rank {usual}"
        raise UnlikeError(
            f"rank {rank} has other numbers than {others} in {name} {when}: a bit has flipped in a memory, or something "
            "computes unlike results there; go on from a checkpoint of before, or start anew, and have that machine looked at"
        )


def unlike(held: Sequence[Mapping[str, Any]]) -> tuple[str, int, int] | None:
    """The first name under which ranks hold unlike values, the first rank that differs from most, and the first of those."""
    for name in dict.fromkeys(name for one in held for name in one):
        values = [repr(one.get(name)) for one in held]
        most = Counter(values).most_common(1)[0][0]
        odd = [rank for rank, value in enumerate(values) if value != most]
        if odd:
            return name, odd[0], values.index(most)
    return None


def _sentence(error: BaseException | None, world: World, doing: str) -> str:
    if isinstance(error, MpioptError):
        return str(error)
    return f"rank {world.rank} on host {world.host} failed while {doing}: {type(error).__name__}: {error}"
