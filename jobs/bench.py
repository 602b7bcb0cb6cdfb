"""``mpiopt bench``: speed as ratios to named peers, measured in one run."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import Console

if TYPE_CHECKING:
    from mpiopt.comm.world import World

What = Literal["kernels", "compress", "convert", "solve", "peers", "family", "scaling", "train", "checkpoint", "sums", "gpu"]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure kernels against scipy, convert against scikit-learn, solve against LIBLINEAR (extra: bench), train against
    torch DistributedDataParallel (extra: torch), a checkpoint against a plain file, sums in a fixed order against MPI's own.

    gpu measures the kernels of one GPU against its memory and against cupyx, and a whole solve against torch. family counts
    what methods send on many shapes of problems until they are there; its --csv is also where it goes on after an end. peers
    times the solvers of others that are installed to three accuracies; scaling looks at many workers, and beyond.
    """

    what: What = field(kw_only=False)
    """What to measure."""
    data: str | None = None
    """A generator such as rcv1:rows=50000; for solve also DATA.h5, for convert also a text file, or table:rows=N, for gpu a
    binary one, as kdd2010, for compress a compressor, as topk:0.01; for checkpoint the columns are the length of
    vectors; for train gpt, or images of a DATA.h5."""
    l2: float = 1e-5
    """Lambda of bench solve, peers and scaling (mean loss; C = 1 / (N lambda))."""
    l1: float = 0.0
    """Lambda of an l1 penalty, in the place of l2, for bench peers."""
    target: float = 1e-8
    """Relative suboptimality (F - F*) / (F(0) - F*) that bench solve and family run to, certified gap of bench scaling."""
    largest: float = 1e7
    """Length of the longest vector of bench compress."""
    runs: int = 5
    """Counted runs; medians are shown."""
    shapes: int = 200
    """Shapes of bench family, the first so many of a seed."""
    seed: int = 1
    """What the shapes of bench family follow from."""
    limit: int = 1000
    """Vector rounds that a method may take on a shape of bench family."""
    seconds: float = 60.0
    """Seconds of a CPU that it may take there; in bench peers, seconds after which a fit of a peer is ended."""
    most: int = 256
    """Workers of bench scaling, at most."""
    png: Path | None = None
    """The picture of bench peers (extra: report)."""
    csv: Path | None = None
    """Lines of bench family, one a shape and method, added as they are found; what is there already is not run again, what is
    taken out is."""


def run(job: Bench, world: "World", console: Console) -> dict[str, Any]:
    """Measure and show. Collective. Raises UsageError where a peer is not installed."""
    if job.runs < 1:
        raise UsageError(f"--runs {job.runs}: give at least 1")
    try:
        if job.what == "kernels":
            from mpiopt.jobs.benches.kernels import kernels

            spec = job.data or "rcv1:rows=500000,cols=2400000,per_row=40"
            return kernels(spec, job.runs, console) if world.rank == 0 else {}
        if job.what == "compress":
            from mpiopt.jobs.benches.compress import compressing

            return compressing(job.data, job.largest, job.runs, world, console)
        if job.what == "convert":
            from mpiopt.jobs.benches.convert import converting
            from mpiopt.jobs.benches.convert_tables import converting_tables

            if job.data is not None and job.data.partition(":")[0] == "table":
                return converting_tables(job.data, job.runs, world, console)
            return converting(job.data or "rcv1:rows=100000", job.runs, world, console)
        if job.what == "train":
            from mpiopt.jobs.benches.train import racing

            return racing(job.data, job.runs, world, console)
        if job.what == "checkpoint":
            from mpiopt.jobs.benches.checkpoint import keeping

            return keeping(job.data or "rcv1:rows=2000,cols=20000000,per_row=8", job.runs, world, console)
        if job.what == "sums":
            from mpiopt.jobs.benches.sums import summing

            return summing(job.runs, world, console)
        if job.what == "gpu":
            from mpiopt.jobs.benches.gpu import gpu

            return gpu(job.data or "kdd2010", job.l2, job.target, job.runs, world, console)
        if job.what == "peers":
            from mpiopt.jobs.benches.peers import meeting

            return meeting(job.data or "rcv1", job.l1, job.l2, job.runs, job.seconds, job.png, world, console)
        if job.what == "scaling":
            from mpiopt.jobs.benches.scaling import scaling

            spec = job.data or "rcv1:rows=40000,cols=10000,per_row=30"
            return scaling(spec, job.l2, job.target, job.most, job.runs, world, console)
        if job.what == "family":
            from mpiopt.jobs.benches.family import Limit, surveying

            return surveying(job.shapes, job.seed, job.target, Limit(job.limit, job.seconds), job.csv, world, console)
        from mpiopt.jobs.benches.solve import solving

        return solving(job.data or "rcv1", job.l2, job.target, job.runs, world, console)
    except ModuleNotFoundError as error:
        raise UsageError(f"bench {job.what} needs {error.name}: pip install 'mpiopt[bench]'") from error
