"""Calls that take no word while they last, solvers of others above all: made in a copy of this process, which a clock ends.

The copy (by fork) finds in memory what is there, asks nothing of MPI and leaves without MPI's end, so that no rank notices.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

LATE = int(signal.SIGALRM)  # by which the clock ends a copy

Say = Callable[[Any], None]


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """End this process, a copy, by `LATE` if what is inside takes longer."""
    if isfinite(seconds):
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def copied(work: Callable[[Say], None]) -> tuple[list[Any], int]:
    """What ``work(say)`` said in a copy of this process, and the signal that ended it, 0 if none did. Raises what it raised."""
    fork = get_context("fork")
    heard, told = fork.Pipe(duplex=False)
    copy = fork.Process(target=_tell, args=(work, told))
    copy.start()
    told.close()  # the copy's is the only one left: no more is heard once it has ended
    said = list(_all(heard))
    copy.join()
    if said and isinstance(said[-1], BaseException):
        raise said[-1]
    return said, max(-(copy.exitcode or 0), 0)


def _tell(work: Callable[[Say], None], told: Connection) -> None:
    for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        work(told.send)
    except Exception as error:
        told.send(error)


def _all(heard: Connection) -> Iterator[Any]:
    with heard:
        while True:
            try:
                yield heard.recv()
            except EOFError:
                return
