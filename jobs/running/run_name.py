"""Where a run file goes: where --out says, nowhere for none, or else under the next free name in the working folder."""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from mpiopt.io.disk.held_name import partial
from mpiopt.io.runs.run_file import run_of

if TYPE_CHECKING:
    from mpiopt.jobs.cli.path_options import PathOptions
    from mpiopt.jobs.cli.play_options import Play
    from mpiopt.jobs.cli.solve_options import Solve
    from mpiopt.jobs.cli.train_options import Train

NOWHERE = Path("none")  # as --out: no run file
LONGEST = 80  # characters of a data set's name that go into that of a run


def candidates(job: "Solve | Train | Play | PathOptions", run_id: str) -> Iterator[Path]:
    """Names to try, one after the other, since another job may take one meanwhile; none for a run without a file.

    Of a run that goes on from a checkpoint the first is the one that it has. Not collective.
    """
    if job.out is not None:
        yield from () if job.out == NOWHERE else (job.out,)
        return
    if job.checkpoint is not None:
        yield from (path for path in used(job) if run_of(path) == run_id)
    yield from (path for path in _numbered(job) if not (path.exists() or partial(path).exists()))


def used(job: "Solve | Train | Play | PathOptions") -> list[Path]:
    """The files that are there, of those that a job may have written: what --out names, or the numbered ones."""
    if job.out is not None:
        return [job.out]
    here = re.compile(re.escape(_stem(job)) + r"-\d+\.h5")
    return sorted(path for path in Path().iterdir() if here.fullmatch(path.name))


def _numbered(job: "Solve | Train | Play | PathOptions") -> Iterator[Path]:
    return (Path(f"{_stem(job)}-{k}.h5") for k in count(1))


def _stem(job: "Solve | Train | Play | PathOptions") -> str:
    """NAME-METHOD: of a file its name, of a generator what it is called by."""
    name = Path(job.inputs[0] or "run").name.removesuffix(".h5")
    return f"{re.sub(r'[^A-Za-z0-9_.+-]+', '_', name)[:LONGEST]}-{job.method}"
