"""``mpiopt convert``: svmlight text to a data set that every other job reads, by all ranks."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from mpiopt.errors import UsageError
from mpiopt.jobs.console import Console, size
from mpiopt.jobs.describe import facts
from mpiopt.jobs.options import MaybeWhole, Whole

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.io.convert import Options


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Convert svmlight text to DATA.h5 and the shards beside it: mpiopt convert SOURCE... DATA.h5

    Sources are plain or compressed (gzip, bzip2, xz). The same shards come from any number of ranks.
    """

    files: Annotated[tuple[Path, ...], Parameter(name="--file", metavar="SOURCE... DATA.h5")] = field(kw_only=False)
    """The text files, and last the data set to write."""
    normalize: Literal["none", "l2"] = "none"
    """l2: divide each row by its Euclidean norm."""
    shuffle: MaybeWhole = None
    """Seed of the order of the rows. [default: 0]"""
    no_shuffle: Annotated[bool, Parameter(negative=())] = False
    """Keep the order of the text: methods with local models need more rounds where it is sorted."""
    shards: MaybeWhole = None
    """Number of shard files. [default: one per 2^22 nonzeros, at most 256]"""
    base: Literal["auto", "0", "1"] = "auto"
    """Number of the first feature; auto: 1 unless a 0 occurs."""
    features: MaybeWhole = None
    """At least so many features: a test set needs as many as its training set."""
    values: Literal["float32", "float64"] = "float32"
    """Type of the stored values."""
    gzip: MaybeWhole = None
    """Compress the shards at this level, 1 to 9. [default: no compression]"""
    one_label: Annotated[bool, Parameter(negative=())] = False
    """Accept rows that all have the same label, such as data to be scored."""
    memory: Whole = 1024
    """Megabytes of parsed rows that a rank keeps; what is beyond goes through a scratch file beside DATA.h5."""
    overwrite: Annotated[bool, Parameter(negative=())] = False
    """Replace an existing data set."""


def run(job: Convert, world: "World", console: Console) -> dict[str, Any]:
    """Convert and say what came of it. Collective. Raises UsageError and DataError on every rank."""
    from mpiopt.io.convert import convert

    if len(job.files) < 2:
        raise UsageError("convert needs at least one source and, last, the data set to write: mpiopt convert a9a.svm a9a.h5")
    *sources, target = job.files
    options, start = _options(job), perf_counter()
    console(f"converting {', '.join(map(str, sources))} on {world.size} rank{'s' * (world.size > 1)}")
    index = convert(world, sources, target, options, console)
    seconds = perf_counter() - start
    if job.no_shuffle:
        console.note("note: the rows keep the order of the text; if it is sorted, methods with local models need more rounds")
    console.show(f"{target}: {index.rows:,} rows, {index.cols:,} features, {index.nnz:,} nonzeros in {len(index.shards)} "
                 f"shard{'s' * (len(index.shards) > 1)} of {size(sum(s.nbytes for s in index.shards))}, "
                 f"labels {index.labels.text()}; {seconds:.1f} s")  # fmt: skip
    return facts(target, index) | {"seconds": seconds}


def _options(job: Convert) -> "Options":
    from mpiopt.io.convert import Options

    if job.no_shuffle and job.shuffle is not None:
        raise UsageError("--shuffle and --no-shuffle contradict each other: give one of them")
    limits = {"shards": (job.shards, 1, 10**6), "features": (job.features, 1, 2**62), "gzip": (job.gzip, 1, 9),
              "memory": (job.memory, 1, 10**9)}  # fmt: skip
    for name, (value, least, most) in limits.items():
        if value is not None and not least <= value <= most:
            raise UsageError(f"--{name} {value} is not between {least} and {most}")
    return Options(
        normalize=job.normalize, shuffle=None if job.no_shuffle else (job.shuffle or 0), shards=job.shards, base=job.base,
        features=job.features, values=job.values, gzip=job.gzip, one_label=job.one_label, overwrite=job.overwrite,
        memory=job.memory << 20,
    )  # fmt: skip
