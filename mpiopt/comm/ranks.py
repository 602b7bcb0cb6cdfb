"""The ranks of a communicator and the workers that they host: what every verb of a World needs."""

import socket
from functools import cached_property
from typing import Any

import numpy as np

from mpiopt.comm.alone import SelfComm
from mpiopt.comm.blocks import even, owner
from mpiopt.comm.gate import Gate, Onlooker
from mpiopt.comm.tally import Tally
from mpiopt.comm.wire import Wire
from mpiopt.errors import LaunchError, UsageError
from mpiopt.words import counted


class Ranks:
    """A private duplicate of a communicator, and the workers hosted by this rank.

    Parameters
    ----------
    comm : an mpi4py intracommunicator; None stands for all ranks of the job; or `SelfComm`, one process that starts no MPI.
    workers : total number of workers, at least one per rank; None for one per rank. Blocks are contiguous.
    deterministic : reduce in worker order, bit for bit the same for any rank count.
    expected : the rank count that the launcher promised, where known; another size raises LaunchError.

    Collective. Raises LaunchError or UsageError on every rank.
    """

    def __init__(
        self, comm=None, *, workers: int | None = None, deterministic: bool = False, expected: int | None = None
    ) -> None:
        if isinstance(comm, SelfComm):
            mpi: Any = comm
        else:
            from mpi4py import MPI as mpi
        self._mpi = mpi
        self._comm = (mpi.COMM_WORLD if comm is None else comm).Dup()
        self._wire = Wire(mpi, self._comm)
        self.rank, self.size = self._comm.rank, self._comm.size
        if expected is not None and expected != self.size:
            raise LaunchError(
                f"the launcher promised {expected} ranks, but MPI sees {self.size}: the launcher does not belong to "
                f"the MPI library in use ({mpi.Get_library_version().splitlines()[0].strip()}); "
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

    @property
    def tally(self) -> Tally:
        """What this rank has sent."""
        return self._call.tally

    @property
    def watches(self) -> list[Onlooker]:
        """Who is told of every call of this World and of what is made of it; add to it, and take away again."""
        return self._call.watches

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
        return owner(self._bounds, worker)

    def whole(self, size: int) -> int:
        """The length of a vector of which a rank has so many entries: all, but where ranks have parts (`comm.parted`)."""
        return size

    def slices(self, size: int) -> list[slice]:
        """The even share of a vector's entries that each hosted worker sees to where all ranks hold the vector."""
        return [slice(w * size // self.workers, (w + 1) * size // self.workers) for w in self.hosted]
