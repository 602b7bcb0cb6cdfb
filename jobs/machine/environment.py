"""What the environment says about this process: which launcher started it, as which rank, and among how many.

Pure functions of the environment's variables: they work before MPI starts, and where it cannot.
"""

import os
from collections.abc import Mapping
from typing import NamedTuple

# The launcher nearest to the process comes first: mpirun inside a Slurm job inherits the variables of both.
LAUNCHERS = (
    ("Open MPI mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("MVAPICH mpirun", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
    ("PALS", "PALS_RANKID", "PALS_SIZE"),
    ("Flux", "FLUX_TASK_RANK", "FLUX_JOB_SIZE"),
    ("MPICH or Intel mpiexec", "PMI_RANK", "PMI_SIZE"),
    ("Slurm srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class Launch(NamedTuple):
    """A launcher's name, this process's rank and the number of processes; None where the environment is silent."""

    launcher: str | None
    rank: int | None
    size: int | None

    @property
    def first(self) -> bool:
        """Whether this process speaks for all, as far as the environment knows."""
        return not self.rank


def detect(environment: Mapping[str, str] = os.environ) -> Launch:
    """The launcher that started this process, from its environment.

    A batch script's shell has a rank (0) and the job's task count, but no step: no launcher ran there, and neither did
    one that was asked for a single task (``srun -n 1 mpirun ...`` starts its ranks elsewhere).
    """
    for launcher, rank, size in LAUNCHERS:
        if rank in environment and environment.get(size, "").isdigit():
            found = Launch(launcher, int(environment[rank]), int(environment[size]))
            if not (launcher == "Slurm srun" and found.size == 1):
                return found
    return Launch(None, None, None)


def process_manager(environment: Mapping[str, str] = os.environ) -> str:
    """What the launcher offers for ranks to find each other by: PMIx, PMI, Slurm's --mpi type, or ""."""
    kinds = [
        name
        for name, variables in (("PMIx", ("PMIX_RANK", "PMIX_NAMESPACE")), ("PMI", ("PMI_RANK", "PMI_FD")))
        if any(variable in environment for variable in variables)
    ]
    slurm = environment.get("SLURM_MPI_TYPE", "")
    return ", ".join([*kinds, *([f"srun --mpi={slurm}"] if slurm else [])])


def threads(environment: Mapping[str, str] = os.environ) -> int:
    """Threads that one rank may use: what OMP_NUM_THREADS or Slurm's --cpus-per-task say, else one."""
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        if environment.get(name, "").isdigit():
            return max(1, int(environment[name]))
    return 1


def limit_threads() -> None:
    """Hold BLAS, OpenMP and numba to `threads` unless told otherwise; call before numpy is imported.

    Libraries start one thread per core by default, in every rank: that slows all ranks and costs memory.
    """
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, str(threads()))
