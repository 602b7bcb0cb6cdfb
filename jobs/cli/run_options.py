"""The options that every run has, a solve as well as a training: where it ends, what it keeps, who watches."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from cyclopts import Parameter

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.flags import flag
from mpiopt.jobs.cli.options import MaybeWhole, Plugins, Whole

Job = TypeVar("Job", bound="RunOptions")
EVERY = 300.0  # seconds between checkpoints where nothing is said
OWN = ("bytes", "seconds", "every_seconds", "margin")  # of these options, the numbers that may not be negative


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a run is asked whatever it computes. In --help they follow the options of what is computed."""

    bytes: float | None = None
    """Stop after so many bytes sent, summed over all ranks."""
    seconds: float | None = None
    """Stop after so many seconds, recording and examinations left out."""
    graph: str | None = None
    """Who hears whom in a method without a centre: ring, torus:rows=3, geometric:radius=0.3,seed=1, ... (mpiopt methods
    graphs), or a file with an edge a line, two workers, from 0 on. [default: ring]"""
    graph_every: MaybeWhole = None
    """Agreements after which the graph changes: a random one is drawn anew, any other has its nodes renamed. [default: it
    stays]"""
    workers: MaybeWhole = None
    """Workers that the rows are divided among, at least one a rank. [default: one a rank]"""
    deterministic: bool = False
    """Same bits for any rank count (with --workers fixed), by ordered sums."""
    seed: Whole = 0
    """Seed of everything random."""
    checkpoint: Path | None = None
    """Keep where the run stands in this file (HDF5), the generation before in FILE.1; both are replaced only if they are
    checkpoints."""
    every_rounds: MaybeWhole = None
    """Write the checkpoint at the first record after so many rounds; it is written at the end of a run anyway."""
    every_seconds: float | None = None
    """Write it at the first record after so many seconds. [default: 300 unless --every-rounds is given]"""
    resume: Literal["auto", "must", "never"] = "auto"
    """Go on from the checkpoint where there is one, or fail where there is none, or start anew."""
    device: Literal["cpu", "gpu"] = "cpu"
    """gpu: one NVIDIA GPU a rank, by its number on the node; ranks share where there are fewer (extra: cuda13 or cuda12)."""
    margin: float = 60.0
    """Seconds before the end of a Slurm job at which to stop."""
    watchdog: float | None = None
    """Warn of ranks that keep the others waiting for so many seconds, and say what they are doing."""
    watchdog_abort: float | None = None
    """End the run with exit code 1 where a rank waits for so many seconds."""
    strict: bool = False
    """Exit with 3 where the run ends before it reaches what it was to reach: a tolerance, or an accuracy."""
    out: Path | None = None
    """Run file to write (HDF5): history, solution, configuration; none for no file. [default: NAME-METHOD-K.h5 in the
    working folder, NAME the data set's, K the first number that is free]"""
    overwrite: bool = False
    """Replace an existing run file, and a file of --log; nothing else is."""
    log: Annotated[tuple[str, ...], Parameter(metavar="jsonl:FILE|tensorboard:DIR|mlflow:URI")] = ()
    """Also tell every record to a file of JSON lines, to TensorBoard or to MLflow (extras: tensorboard, mlflow); may be
    repeated."""
    from_: Annotated[Path | None, Parameter(name="--from")] = None
    """Start from the solution of this run file."""
    plugin: Plugins = ()
    config: Path | None = None
    """Job file (TOML with the names of these options), or a run file to repeat; the command line comes first. What says
    where to write (out, checkpoint, overwrite, resume) is never taken from a run file."""

    @property
    def also_read(self) -> dict[str, Path]:
        """Files that are read beside those that every run may be given, by the options that name them."""
        return {}

    @property
    def edges(self) -> Path | None:
        """The file of edges that --graph names, where it is no name of a graph."""
        from mpiopt.graphs.topology import FAMILIES, LIST

        if self.graph is None or self.graph.partition(":")[0].strip() in (*FAMILIES, LIST):
            return None
        return Path(self.graph) if Path(self.graph).exists() else None

    @property
    def neighbourhood(self) -> dict[str, str | int]:
        """What of the graph is given, as methods without a centre take it. Raises DataError for a file that is none."""
        from mpiopt.graphs.topology import written
        from mpiopt.io.text.edges import graph_file

        every: dict[str, str | int] = {} if self.graph_every is None else {"graph_every": self.graph_every}
        graph = self.graph if self.edges is None else written(graph_file(self.edges))
        return every if graph is None else {"graph": graph, **every}


def demand_not_negative(job: RunOptions, *names: str) -> None:
    """Raise UsageError where one of these options, or of those that every run has, is a negative number or none."""
    for name in (*names, *OWN):
        value = getattr(job, name)
        if value is not None and not value >= 0:
            raise UsageError(f"{flag(name)} {value:g}: give a number that is not negative")


def kept(job: Job) -> Job:
    """A job with its default for --every-seconds. Raises UsageError for options about a checkpoint that is not named."""
    given = [name for name in ("every_rounds", "every_seconds") if getattr(job, name) is not None]
    if job.every_rounds is not None and job.every_rounds < 1:
        raise UsageError(f"--every-rounds {job.every_rounds}: give a whole number of at least 1")
    if job.checkpoint is not None:
        return job if given else replace(job, every_seconds=EVERY)
    for name in given + ["resume"] * (job.resume == "must"):
        raise UsageError(f"{flag(name)} is about a checkpoint: give --checkpoint FILE too")
    return job


def repeatable(job: Job) -> Job:
    """The job for a run file to repeat: without the checkpoint and the logs, which are this run's own."""
    return replace(job, checkpoint=None, every_rounds=None, every_seconds=None, resume="auto", log=())
