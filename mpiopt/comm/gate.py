"""The one way into MPI: what is counted and who watches hang here, and nowhere else."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol

from mpiopt.comm.tally import Tally

WHOLE, GROUP, ALONE = "", " of a group", " of a window"  # who comes to a call: all ranks, some of them, this one for itself


class Onlooker(Protocol):
    """Somebody who wants to know where this rank stands."""

    def entered(self, name: str, who: str) -> None:
        """This rank comes to a call; calls may lie within each other."""

    def left(self, who: str) -> None:
        """It has done with the innermost one."""


class Gate:
    """Every call of one World, or of what was made of it, passes here.

    tally : where bytes and seconds are added up. watches : shared by all Worlds and windows that were made of one another,
    so that whoever watches the first sees the others too. who : comes to the calls.
    """

    def __init__(self, tally: Tally, watches: list[Onlooker], who: str = WHOLE) -> None:
        self.tally, self.watches, self.who = tally, watches, who

    def beside(self, who: str, tally: Tally | None = None) -> "Gate":
        """The gate of something that was made of this one's World; a tally of its own unless it is to share this one."""
        return Gate(self.tally if tally is None else tally, self.watches, who)

    @contextmanager
    def __call__(self, name: str, nbytes: int | None = None, vector: bool = False) -> Iterator[None]:
        """One call of ``nbytes`` sent; None: set-up and control, which are watched but not counted."""
        for watch in self.watches:
            watch.entered(name, self.who)
        start = perf_counter()
        try:
            yield
        finally:
            if nbytes is not None:
                self.tally.add(name, nbytes, vector, perf_counter() - start)
            for watch in self.watches:
                watch.left(self.who)
