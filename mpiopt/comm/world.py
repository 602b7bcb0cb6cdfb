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

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep

import numpy as np

from mpiopt.comm.agreements import Agreements
from mpiopt.comm.blocks import even, owner
from mpiopt.comm.gate import ALONE, GROUP
from mpiopt.comm.moves import Moves
from mpiopt.comm.sums import Sums
from mpiopt.comm.threads import share_cores
from mpiopt.comm.window import Window
from mpiopt.errors import UsageError
from mpiopt.words import counted

SHORTEST, LONGEST = 1e-4, 1e-2  # seconds asleep between two looks whether all have come
LATE = 0.02  # of the time waited that may be slept too long, by all who pass on that the last one has come


class World(Sums, Moves, Agreements):
    """A private duplicate of a communicator, its verbs, and what is made of it: parts and windows.

    Parameters and errors are those of `Ranks`. Of all ranks of a job, those of one node share its cores (`comm.threads`).
    Collective.
    """

    def __init__(
        self, comm=None, *, workers: int | None = None, deterministic: bool = False, expected: int | None = None
    ) -> None:
        super().__init__(comm, workers=workers, deterministic=deterministic, expected=expected)
        if comm is None:
            share_cores(self._mpi, self._comm)
        self._windows: dict[str, Window] = {}
        self._groups: dict[int | None, World] = {}

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
            part = self.by_node() if groups is None else self.split(owner(bounds, self.rank))
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

    def barrier(self) -> None:
        """Wait for every rank. Collective."""
        with self._call("barrier"):
            self._comm.Barrier()

    def rest(self, waiting: Callable[[float], None] = lambda seconds: None) -> None:
        """Wait for every rank as `barrier` does, but asleep: MPI's own waiting keeps a core busy. Collective.

        waiting : told again and again for how many seconds it has been; not collective.
        """
        with self._call("rest"):
            meeting, start, late = self._comm.Ibarrier(), monotonic(), LATE / max(1, (self.size - 1).bit_length())
            while not meeting.Test():
                waited = monotonic() - start
                sleep(min(max(SHORTEST, late * waited), LONGEST))
                waiting(waited)

    @contextmanager
    def waiting(self, name: str) -> Iterator[None]:
        """While windows are looked into until they say something: watchers see one wait, not many calls. Not collective."""
        with self._call.beside(ALONE)(name):
            yield

    def abort(self, code: int = 1) -> None:
        """End every rank at once. Not collective; does not return."""
        self._comm.Abort(code)

    def free(self) -> None:
        """Give the private communicator, windows and groups back. Collective; the World cannot be used afterwards."""
        held: list[Window | World] = [*self._windows.values(), *self._groups.values()]
        for one in held:
            one.free()
        self._windows.clear()
        self._groups.clear()
        with self._call("free"):
            self._comm.Free()
