"""What one rank finds on its node: cores, threads, memory, GPUs, the place of compiled kernels."""

import importlib.util
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

from mpiopt.jobs.environment import threads


def rank_facts() -> dict[str, Any]:
    """This rank's host, cores, threads and memory (bytes). Not collective."""
    import psutil

    memory, kernels = psutil.virtual_memory(), cache_folder()
    return {
        "host": socket.gethostname(), "pid": os.getpid(), "cores": cores(), "node_cores": os.cpu_count(),
        "threads": threads(), "thread_pools": _pools(), "memory_node": memory.total, "memory_free": memory.available,
        "memory_limit": memory_limit(), "resident": psutil.Process().memory_info().rss,
        "cache": str(kernels), "cache_writable": os.access(_existing(kernels), os.W_OK),
    }  # fmt: skip


def cores() -> list[int]:
    """The cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _pools() -> dict[str, int]:
    """Threads of each library that has a pool of them."""
    import numpy  # noqa: F401 - brings the BLAS that has one
    from threadpoolctl import threadpool_info

    return {pool["internal_api"]: pool["num_threads"] for pool in threadpool_info()}


def memory_limit(root: Path = Path("/")) -> int | None:
    """The smallest limit in bytes that a control group sets on this process's memory, if any (Linux)."""
    try:
        groups = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return None
    limits = []
    for _, controllers, path in groups:
        old = "memory" in controllers.split(",")
        if old or not controllers:
            top = root / "sys/fs/cgroup" / ("memory" if old else "")
            folder = top / path.lstrip("/")
            limits += [_number(place / ("memory.limit_in_bytes" if old else "memory.max"))
                       for place in (folder, *folder.parents) if place.is_relative_to(top)]  # fmt: skip
    return min((limit for limit in limits if limit is not None and limit < 1 << 60), default=None)


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
    beside = Path(mpiopt.__file__).parent / "kernels" / "__pycache__"
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
