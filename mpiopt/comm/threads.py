"""A rank's share of its node's cores.

BLAS and OpenMP start a thread for every core that a process may use. Where several ranks share these cores, that is several
threads a core, which wait for each other: two ranks on two cores take five times as long.
"""

import os
from typing import Any

from threadpoolctl import ThreadpoolController


def share_cores(mpi: Any, comm: Any) -> None:
    """Leave each rank no more threads than its share of the cores; where it has fewer, it keeps these. Collective."""
    if comm.size == 1:
        return
    node = comm.Split_type(mpi.COMM_TYPE_SHARED, comm.rank)
    mine = allowed()
    all_cores = set[int]().union(*node.allgather(mine))
    share = max(1, min(len(mine), len(all_cores) // node.size))
    node.Free()
    for library in ThreadpoolController().lib_controllers:
        if library.num_threads > share:
            library.set_num_threads(share)


def allowed() -> set[int]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))
