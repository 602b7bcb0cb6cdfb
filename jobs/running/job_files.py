"""The files of a job, all in one list: none is written twice, nor over what the job reads, under whatever name."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mpiopt.errors import UsageError

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.console import Console
    from mpiopt.jobs.cli.path_options import PathOptions
    from mpiopt.jobs.cli.play_options import Play
    from mpiopt.jobs.cli.solve_options import Solve
    from mpiopt.jobs.cli.train_options import Train


class Claim(NamedTuple):
    """What an option means on the disk. said : the option as it was given. paths : files, and folders with all in them."""

    said: str
    paths: tuple[Path, ...]
    written: bool


def of_run(job: "Solve | Train | Play | PathOptions") -> Iterator[Claim]:
    """The files of a solve, a training or a game."""
    from mpiopt.io.dataset import index as layout
    from mpiopt.io.disk.held_name import partial
    from mpiopt.io.runs import checkpoint
    from mpiopt.jobs.running.log_sinks import parted_target
    from mpiopt.jobs.running.run_name import NOWHERE

    if job.out not in (None, NOWHERE):
        yield Claim(f"--out {job.out}", (job.out, partial(job.out)), True)
    if job.checkpoint is not None:
        yield Claim(f"--checkpoint {job.checkpoint}", checkpoint.names(job.checkpoint), True)
    if job.from_ is not None:
        yield Claim(f"--from {job.from_}", (job.from_,), False)
    if job.edges is not None:
        yield Claim(f"--graph {job.graph}", (job.edges,), False)
    for option, file in job.also_read.items():
        yield Claim(f"{option} {file}", (file,), False)
    for file in job.plugin:
        yield Claim(f"--plugin {file}", (file,), False)
    for kind, target in map(parted_target, job.log):
        if kind != "mlflow":
            yield Claim(f"--log {kind}:{target}", (Path(target),), True)
    for name in job.inputs:
        if name is not None and Path(name).exists():  # else it is a generator
            yield Claim(f"the data set {name}", layout.names(Path(name)), False)


def of_conversion(sources: Sequence[Path], like: Path | None, target: Path) -> Iterator[Claim]:
    """The files of a conversion."""
    from mpiopt.io.dataset import index as layout
    from mpiopt.io.dataset.output_files import Output

    yield Claim(f"the data set to write, {target},", Output(target).names, True)
    for source in sources:
        yield Claim(f"the source {source}", (source,), False)
    if like is not None:
        yield Claim(f"--like {like}", layout.names(like), False)


def apart(claims: Iterable[Claim]) -> list[Claim]:
    """The claims, none of which is to write what another one has. Raises UsageError. Not collective."""
    claims = list(claims)
    for one, other in combinations(claims, 2):
        for mine in one.paths if one.written or other.written else ():
            if any(_meet(mine, yours) for yours in other.paths):
                raise UsageError(f"{one.said} and {other.said} would both have {mine}: give them names of their own")
    return claims


def tell_unlocked(claims: Iterable[Claim], world: "World", console: "Console") -> None:
    """Say once where the operating system cannot keep two jobs from writing the same files. Collective."""
    from mpiopt.io.disk.held_name import lockable

    with world.together("looking for locks"), suppress(OSError):  # where nothing can be written, others say so
        if world.rank == 0:
            folders = sorted({_existing(claim.paths[0].parent.resolve()) for claim in claims if claim.written})
            if without := [str(folder) for folder in folders if not lockable(folder)]:
                console.note(
                    f"warning: there are no file locks in {' and '.join(without)}: see to it that no other job "
                    "writes the same files meanwhile"
                )


def _meet(one: Path, other: Path) -> bool:
    """Whether two paths are one, or one is inside the other."""
    if one.exists() and other.exists() and one.samefile(other):
        return True
    return any(a == b or a in b.parents or b in a.parents for a in _places(one) for b in _places(other))


def _places(path: Path) -> set[Path]:
    """Where a path is, and where it leads."""
    return {Path(os.path.realpath(path)), Path(os.path.realpath(path.parent)) / path.name}


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.is_dir())
