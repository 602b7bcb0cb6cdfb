"""``mpiopt doctor``: what this job's ranks have under them, and what will slow or stop them."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

import platform
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mpiopt.jobs.cli.console import Console, size
from mpiopt.jobs.machine.environment import detect, process_manager
from mpiopt.jobs.machine.node import cuda_aware, gpus, rank_facts

if TYPE_CHECKING:
    from mpiopt.comm.world import World


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Show launcher, ranks, hosts, threads, MPI, GPU, HDF5 locking and memory, and warn of what is amiss."""

    folder: Path = Path(".")
    """Folder in which an HDF5 file is written, locked and read back."""


SKEW = 5.0  # seconds that clocks of hosts may differ, more than ranks take to leave a barrier


def run(job: Doctor, world: "World", console: Console) -> dict[str, Any]:
    """Look around on every rank; rank 0 tells. Collective."""
    from mpiopt.comm.runtime import facts
    from mpiopt.io.disk.folder import hdf5_version

    with world.together("looking at its node"):
        mine = rank_facts()
        here = _shared(job) if world.rank == 0 else None
    world.barrier()
    mine["clock"] = time.time()
    ranks = [{"rank": rank, **found} for rank, found in enumerate(world.tell_all(mine))]
    launch = detect()
    found = {
        "launcher": launch.launcher,
        "process_manager": process_manager(),
        "promised_ranks": launch.size,
        "ranks": world.size,
        "hosts": dict(Counter(rank["host"] for rank in ranks)),
        "mpi": facts(world)._asdict(),
        "hdf5": hdf5_version(),
        "python": platform.python_version(),
        **world.tell(here),
        "per_rank": ranks,
    }
    found["warnings"] = warnings(found)
    console.show(_page(found))
    return found


def _shared(job: Doctor) -> dict[str, Any]:
    """What one rank finds for all."""
    from mpiopt.io.disk.folder import probe

    cards = gpus()
    return {"folder": probe(job.folder)._asdict(), "gpu": {**cards, "cuda_aware_mpi": cuda_aware(cards)}}


def warnings(found: dict[str, Any]) -> list[str]:
    """What is amiss, a sentence each."""
    out = []
    if found["promised_ranks"] not in (None, found["ranks"]):
        offers = f" and offers {found['process_manager']}" if found["process_manager"] else ""
        library = found["mpi"]["library"]
        out.append(
            f"{found['launcher']} started {found['promised_ranks']} processes{offers}, but MPI sees {found['ranks']}: that "
            f"does not belong to this MPI library ({library}); use the library's own mpiexec, or {_cure(library)}"
        )
    clocks = [rank["clock"] for rank in found["per_rank"]]
    if max(clocks) - min(clocks) > SKEW:
        late = min(found["per_rank"], key=lambda rank: rank["clock"])
        out.append(
            f"the clocks of the hosts differ by {max(clocks) - min(clocks):.0f} s ({late['host']} is behind): results "
            "do not depend on them, but times of files and the end of a Slurm job do"
        )
    for host in found["hosts"]:
        out += _node_warnings(host, [rank for rank in found["per_rank"] if rank["host"] == host])
    if found["folder"]["problem"]:
        out.append(f"folder {found['folder']['path']}: {found['folder']['problem']}")
    if found["gpu"]["devices"] and not found["gpu"]["cupy"]:
        out.append("there is a GPU, but not CuPy to use it: pip install 'mpiopt[cuda12]' or 'mpiopt[cuda13]'")
    return out


def _cure(library: str) -> str:
    """How srun is to start this MPI library."""
    kinds = (("Open MPI", "srun --mpi=pmix"), ("MPICH", "srun --mpi=pmi2"), ("Intel", "srun --mpi=pmi2"))
    return next((cure for name, cure in kinds if name in library), "srun --mpi=pmix or --mpi=pmi2; srun --mpi=list names all")


def _node_warnings(host: str, ranks: list[dict[str, Any]]) -> list[str]:
    out = []
    same = Counter(tuple(rank["cores"]) for rank in ranks)
    cores, many = max(same.items(), key=lambda entry: entry[1] / len(entry[0]))
    if many > len(cores) < ranks[0]["node_cores"]:
        out.append(
            f"host {host}: {many} ranks are bound to the same {len(cores)} of {ranks[0]['node_cores']} cores: give "
            "mpiexec --bind-to core or none, or srun --cpu-bind=cores"
        )
    wanted = sum(_widest(rank) for rank in ranks)
    there = len(set().union(*(rank["cores"] for rank in ranks)))
    if wanted > there:
        cure = "set OMP_NUM_THREADS=1" if wanted > len(ranks) else "start fewer ranks"
        out.append(
            f"host {host}: {len(ranks)} ranks have {wanted} threads on the {there} cores that they may use: {cure}, "
            "or let them use more cores (mpiexec --bind-to none, srun --cpus-per-task)"
        )
    elif crowded := [rank for rank in ranks if _widest(rank) > len(rank["cores"])]:
        names = ", ".join(str(rank["rank"]) for rank in crowded)
        out.append(
            f"host {host}: ranks {names} have more threads than cores that they are bound to: set "
            "OMP_NUM_THREADS=1, or mpiexec --bind-to none, or srun --cpus-per-task"
        )
    if not all(rank["cache_writable"] for rank in ranks):
        out.append(
            f"host {host}: compiled kernels cannot be kept in {ranks[0]['cache']}, so that every run compiles "
            "them again: set NUMBA_CACHE_DIR to a folder that you may write"
        )
    return out


def _widest(rank: dict[str, Any]) -> int:
    return max([rank["threads"], *rank["thread_pools"].values()])


def _page(found: dict[str, Any]) -> str:
    mpi, folder, gpu, first = found["mpi"], found["folder"], found["gpu"], found["per_rank"][0]
    promised = f", {found['promised_ranks']} processes" if found["promised_ranks"] else ""
    manager = found["process_manager"]
    limit = f", limit {size(first['memory_limit'])}" if first["memory_limit"] else ""
    lines = (
        ("launcher", (found["launcher"] or "none seen") + promised + (f", {manager}" if manager else "")),
        ("ranks", f"{found['ranks']} on " + ", ".join(f"{host} ({n})" for host, n in found["hosts"].items())),
        ("MPI", f"{mpi['library']}, standard {mpi['standard']}, threads {mpi['threads']}"),
        ("Python", f"{found['python']}, mpi4py {mpi['mpi4py']}, HDF5 {found['hdf5']}"),
        (
            "folder",
            f"{folder['path']}: {'writable' if folder['writable'] else 'not writable'}, "
            f"{'locks work' if folder['locks'] else 'no locks'}",
        ),
        ("GPU", ("; ".join(gpu["devices"]) or "none") + f", CuPy {'installed' if gpu['cupy'] else 'not installed'}"),
        ("CUDA", f"messages from GPU memory {gpu['cuda_aware_mpi']}"),
        ("memory", f"{size(first['memory_free'])} free of {size(first['memory_node'])} a node{limit}"),
        ("kernels", f"kept in {first['cache']}"),
    )
    head = "\n".join(f"{name:9s} {value}" for name, value in lines)
    ranks = "\n".join(_rank_line(rank) for rank in found["per_rank"])
    ends = "\n".join(f"WARNING: {warning}" for warning in found["warnings"]) or "Nothing amiss."
    return f"{head}\n\n{ranks}\n\n{ends}"


def _rank_line(rank: dict[str, Any]) -> str:
    pools = ", ".join(f"{name} {count}" for name, count in rank["thread_pools"].items())
    return (
        f"rank {rank['rank']:<3d} {rank['host']}, pid {rank['pid']}, cores {_ranges(rank['cores'])} of "
        f"{rank['node_cores']}, threads {rank['threads']}{f' ({pools})' if pools else ''}, "
        f"{size(rank['resident'])} resident"
    )


def _ranges(cores: list[int]) -> str:
    """0-3,8 for 0, 1, 2, 3, 8."""
    starts = [core for core in cores if core - 1 not in cores]
    ends = [core for core in cores if core + 1 not in cores]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
