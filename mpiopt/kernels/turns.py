"""Turns of this user's processes on a node, by name: who has one makes a thing that the others find ready when theirs comes."""

import fcntl
import os
from functools import cache
from hashlib import blake2b
from tempfile import gettempdir
from time import monotonic, sleep

PATIENCE = 120.0  # seconds after which a process goes on without its turn


def take(name: str) -> bool:
    """Wait for the turn; False where there are no locks, and after PATIENCE. A turn ends with its process at the latest."""
    end, nap = monotonic() + PATIENCE, 1e-3
    while monotonic() < end:
        had = at_once(name)
        if had is not False:
            return had is True
        sleep(nap)
        nap = min(2 * nap, 0.05)
    return False


def at_once(name: str) -> bool | None:
    """The turn, if no other process has it; None where there are no locks: every process then compiles for itself."""
    try:
        fcntl.lockf(_file(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(name))
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True


def give_back(name: str) -> None:
    """End the turn, if it was had."""
    try:
        fcntl.lockf(_file(), fcntl.LOCK_UN, 1, _place(name))
    except OSError:  # without locks there was no turn
        pass


def _place(name: str) -> int:
    """The byte of the file that stands for a name."""
    return int.from_bytes(blake2b(name.encode(), digest_size=7).digest())


@cache
def _file() -> int:
    """One for all names, open until the process ends: closing any would let go of every lock in it.

    On the node's own disk: thousands of processes may share a home over a network.
    """
    path = os.path.join(gettempdir(), f"mpiopt-{os.getuid()}.lock")
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
