"""The MPI library and the whole job: what is running, and how every rank ends when one of them fails."""

import time
from typing import Any, NamedTuple

from mpiopt.comm.world import World


class RollCall:
    """A channel beside all others on which ranks that failed find out whether every rank did.

    Make it first on every rank: it starts MPI where it has not started. Collective.
    """

    LENGTH = 2048  # bytes of a rank's answer

    def __init__(self) -> None:
        from mpi4py import MPI  # here, so that importing the library starts no MPI

        self._comm = MPI.COMM_WORLD.Dup()
        self.rank, self.size, self.host = self._comm.rank, self._comm.size, MPI.Get_processor_name()

    def alike(self, what: str, patience: float) -> int | None:
        """The lowest rank that answered as this one does; None when some rank stayed away for ``patience`` seconds.

        Not collective: that is its purpose.
        """
        mine = what.encode(errors="backslashreplace")[: self.LENGTH].ljust(self.LENGTH)
        heard = bytearray(self.LENGTH * self.size)
        request = self._comm.Iallgather(mine, heard)
        end = time.monotonic() + patience
        while not request.Test():
            if time.monotonic() > end:
                return None
            time.sleep(0.01)
        return next(rank for rank in range(self.size) if heard.startswith(mine, rank * self.LENGTH))

    def tell_all(self, message: Any) -> list[Any]:
        """Every rank's small Python object, in rank order, on every rank. Collective."""
        return self._comm.allgather(message)

    def end_mpi(self) -> None:
        """Leave MPI for good, of which this process then uses nothing more. Collective."""
        from mpi4py import MPI

        self._comm.Free()
        MPI.Finalize()

    def abort(self, code: int) -> None:
        """End every rank at once. Not collective; does not return."""
        self._comm.Abort(code)


class Facts(NamedTuple):
    """What the MPI library says about itself."""

    library: str
    standard: str
    threads: str
    mpi4py: str


def facts(world: World) -> Facts:
    """The MPI library that ``world`` runs on. Not collective."""
    import mpi4py

    mpi = world._mpi
    levels = {
        mpi.THREAD_SINGLE: "single",
        mpi.THREAD_FUNNELED: "funnelled",
        mpi.THREAD_SERIALIZED: "serialised",
        mpi.THREAD_MULTIPLE: "multiple",
    }
    version = mpi.Get_library_version().strip().splitlines()[0].strip(" ,\0")
    standard = ".".join(map(str, mpi.Get_version()))
    return Facts(" ".join(version.split()), standard, levels[mpi.Query_thread()], mpi4py.__version__)
