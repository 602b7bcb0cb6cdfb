"""The options of ``mpiopt slurm``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from mpiopt.jobs.cli.options import Whole


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """Write a batch script for Slurm: mpiopt slurm solve DATA.h5 --l2 1e-6 --nodes 4 --time 8:00:00 --out-script fit.sbatch

    COMMAND is any command of mpiopt that runs on many ranks, with all its options; those below are Slurm's. A command that
    can keep a checkpoint gets one: when its time is nearly up, or it is signalled, it keeps where it stands, queues itself
    again, and goes on bit for bit. --out and --checkpoint are named after the job unless given.

    mpiopt slurm report RUN.h5... prints a table of runs, such as those of an array, which ends with one.
    """

    command: Annotated[
        tuple[str, ...], Parameter(name="--command", metavar="COMMAND...", allow_leading_hyphen=True, show_default=False)
    ] = field(kw_only=False)
    """The command to run, and its options."""
    nodes: Whole = 1
    """Nodes."""
    tasks_per_node: Whole = 1
    """Ranks on each of them."""
    cpus_per_task: Whole = 1
    """Cores, and so threads, of a rank."""
    gpus_per_task: Whole = 0
    """GPUs of a rank; one where the command has --device gpu."""
    time: str = "1:00:00"
    """Time limit of one attempt, as Slurm has it: MINUTES, H:MM:SS, D-H."""
    job_name: str | None = None
    """Name of the job and of its files. [default: the command]"""
    partition: str | None = None
    """Partition."""
    account: str | None = None
    """Account."""
    sbatch: Annotated[tuple[str, ...], Parameter(n_tokens=1, metavar="OPTION[=VALUE]", show_default=False)] = ()
    """Another option of sbatch: mem=16G, constraint=skylake, exclusive; may be repeated."""
    mpi: str | None = None
    """How srun starts MPI: pmi2, pmix; srun --mpi=list names them. [default: as the site has it]"""
    env: Path | None = None
    """Shell file with modules and the virtual environment. [default: env.sh or slurm/env.sh, where there is one]"""
    signal: Literal["USR1", "USR2"] = "USR1"
    """Signal by which Slurm tells the ranks that the time is nearly up."""
    signal_margin: Whole = 120
    """Seconds before the end of the time limit at which it does: several rounds, and a checkpoint."""
    requeues: Whole = 10
    """Times that the job may queue itself again."""
    array: Annotated[str | None, Parameter(metavar="KEY=V1,V2,...")] = None
    """A task for each value of an option, or of a parameter of the method: l2=1e-3,1e-4 or seed=0,1,2."""
    out_script: Path | None = None
    """Write the script to this file. [default: print it]"""
