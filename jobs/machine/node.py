"""What one rank finds on its node: cores, threads, memory, GPUs, the place of compiled kernels."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from mpiopt.comm.threads import allowed
from mpiopt.jobs.machine.environment import threads


def rank_facts() -> dict[str, Any]:
    """This rank's host, cores, threads and memory (bytes). Not collective."""
    import psutil

    memory, kernels = psutil.virtual_memory(), cache_folder()
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "cores": cores(),
        "node_cores": os.cpu_count(),
        "threads": threads(),
        "thread_pools": _pools(),
        "memory_node": memory.total,
        "memory_free": memory.available,
        "memory_limit": memory_limit(),
        "resident": resident(),
        "cache": str(kernels),
        "cache_writable": os.access(_existing(kernels), os.W_OK),
    }


def cores() -> list[int]:
    """The cores that this process may run on."""
    return sorted(allowed())


def _pools() -> dict[str, int]:
    """Threads of each library that has a pool of them."""
    import numpy  # noqa: F401 - brings the BLAS that has one
    from threadpoolctl import threadpool_info

    return {pool["internal_api"]: pool["num_threads"] for pool in threadpool_info()}


def resident() -> int:
    """The bytes of memory that this process has now."""
    import psutil

    return psutil.Process().memory_info().rss


def memory_room(root: Path = Path("/")) -> int:
    """Bytes that processes here can still have: what the node has free, or what the control groups leave of that."""
    import psutil

    rooms = [limit - used for limit, used in _limits(root) if used is not None]
    return max(0, min([psutil.virtual_memory().available, *rooms]))


def memory_limit(root: Path = Path("/")) -> int | None:
    """The smallest limit in bytes that a control group sets on this process's memory, if any (Linux)."""
    return min((limit for limit, _ in _limits(root)), default=None)


def _limits(root: Path) -> list[tuple[int, int | None]]:
    """Every limit on this process's memory, and what of it is in use by more than cached files."""
    try:
        groups = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return []
    found = []
    for _, controllers, path in groups:
        old = "memory" in controllers.split(",")
        if old or not controllers:
            top = root / "sys/fs/cgroup" / ("memory" if old else "")
            folder = top / path.lstrip("/")
            found += [_limit(place, old) for place in (folder, *folder.parents) if place.is_relative_to(top)]
    return [(limit, used) for limit, used in found if limit is not None and limit < 1 << 60]


def _limit(group: Path, old: bool) -> tuple[int | None, int | None]:
    limit = _number(group / ("memory.limit_in_bytes" if old else "memory.max"))
    used = _number(group / ("memory.usage_in_bytes" if old else "memory.current"))
    try:
        told = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        told = {}
    cached = sum(int(told.get(f"{'total_' * old}{name}_file", 0)) for name in ("inactive", "active"))
    return limit, None if used is None else max(0, used - cached)


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def cache_folder() -> Path:
    """Where numba keeps compiled kernels: NUMBA_CACHE_DIR, else beside the kernels, else the user's cache."""
    import mpiopt

    if "NUMBA_CACHE_DIR" in os.environ:
        return Path(os.environ["NUMBA_CACHE_DIR"])
    beside = Path(mpiopt.__file__).parent / "kernels" / "host" / "__pycache__"
    if os.access(_existing(beside), os.W_OK):
        return beside
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "numba"


def compiled() -> bool:
    """Whether numba has kept any compiled kernel."""
    return any(cache_folder().rglob("*.nbc"))


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def gpus() -> dict[str, Any]:
    """The GPUs of this node by nvidia-smi, and whether CuPy is installed to use them."""
    found: list[str] = []
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
        found = done.stdout.split("\n")[:-1] if done.returncode == 0 else []
    return {"devices": found, "cupy": importlib.util.find_spec("cupy") is not None}


CUDA_AWARE = """
from mpi4py import MPI
import cupy
sent, got = cupy.arange(1024.0), cupy.zeros(1024)
cupy.cuda.get_current_stream().synchronize()
MPI.COMM_SELF.Sendrecv(sent, 0, 0, got, 0, 0)
assert (sent == got).all()
"""
LAUNCHED = ("PMI", "PMIX", "OMPI", "PRTE", "MPI_", "MV2", "SLURM", "HYDRA", "HYDI", "PALS", "FLUX")  # variables of launchers


def cuda_aware(found: dict[str, Any]) -> str:
    """Whether MPI takes the memory of a GPU, in a few words; tried in another process, for where it does not, it crashes.

    found : what `gpus` says.
    """
    if not found["devices"] or not found["cupy"]:
        return "not tested: there is no " + ("CuPy" if found["devices"] else "GPU")
    alone = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHED)}
    try:
        done = subprocess.run([sys.executable, "-P", "-c", CUDA_AWARE], env=alone, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "no: a message between GPU buffers hangs"
    return "yes" if done.returncode == 0 else "no: messages go by way of host memory"
