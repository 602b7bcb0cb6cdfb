"""The World of a process: all ranks of its job, or itself alone where it is a child, or has no MPI."""

import os
from functools import cache
from multiprocessing import parent_process

from mpiopt.comm.alone import SelfComm
from mpiopt.comm.world import World


def here() -> World:
    """One for all fits of this process. Collective when it is first asked for.

    A child of another process, such as a worker of joblib, computes alone: MPI knows nothing of it.
    """
    return _world(os.getpid())


@cache
def _world(process: int) -> World:
    if parent_process() is not None:
        return World(SelfComm())
    try:
        return World()
    except (ImportError, RuntimeError):  # no mpi4py, or no MPI library that it finds
        return World(SelfComm())
