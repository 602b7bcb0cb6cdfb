"""A communicator for one process that starts no MPI: where there is none, or in a child of a process that has one."""

from typing import Any

import numpy as np


class DoneRequest:
    """Of what has happened already."""

    def Test(self) -> bool:
        """It has."""
        return True

    @staticmethod
    def Waitall(requests: list["DoneRequest"]) -> None:
        """Nothing is left to wait for."""


class SelfComm:
    """Stands in the place of an intracommunicator of one rank, and of mpi4py's module: `World(SelfComm())`. No windows."""

    rank, size = 0, 1
    IN_PLACE = SUM = MAX = MIN = MINLOC = BYTE = DOUBLE_INT = COMM_TYPE_SHARED = None
    Request = DoneRequest

    def __init__(self) -> None:
        self._awaited: list[np.ndarray] = []

    def Dup(self) -> "SelfComm":
        """Another one."""
        return SelfComm()

    def Split(self, colour: int, key: int = 0) -> "SelfComm":
        """The part of any colour."""
        return SelfComm()

    Split_type = Split

    def Free(self) -> None:
        """Nothing is held."""

    def Barrier(self) -> None:
        """All are here."""

    def Ibarrier(self) -> DoneRequest:
        """All are here."""
        return DoneRequest()

    def Abort(self, code: int) -> None:
        """End this process. Does not return."""
        raise SystemExit(code)

    def allgather(self, message: Any) -> list[Any]:
        """The message of the one rank."""
        return [message]

    def bcast(self, message: Any, root: int = 0) -> Any:
        """The message."""
        return message

    def Bcast(self, piece: np.ndarray, root: int = 0) -> None:
        """It is there."""

    def Allreduce(self, given: None, total: Any, op: None = None) -> None:
        """A sum of one, in place."""

    def Alltoall(self, given: np.ndarray, taken: np.ndarray) -> None:
        """What is sent comes back."""
        taken[...] = given

    Allgather = Alltoall

    def Allgatherv(self, given: Any, taken: Any) -> None:
        """The one part, in place or joined."""
        if given is not None:
            taken[0].reshape(-1).view(np.uint8)[...] = np.ascontiguousarray(given[0]).reshape(-1).view(np.uint8)

    def Irecv(self, piece: np.ndarray, source: int) -> DoneRequest:
        """Wait for what is sent next."""
        self._awaited.append(piece)
        return DoneRequest()

    def Isend(self, piece: np.ndarray, target: int) -> DoneRequest:
        """Hand it to what has waited longest."""
        self._awaited.pop(0)[...] = piece
        return DoneRequest()
