"""Rows to apply models to: a data set, a generator, or text or tables, converted as the model's own data were."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.io.dataset.beside import OFFSET
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.shuffle import Shuffle
from mpiopt.io.dataset.source import Share, Source, open_source, shares
from mpiopt.io.disk.file_kind import DATA, schema_of
from mpiopt.io.runs.class_fitted import AnyFitted, read_fitted
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.console import Console
    from mpiopt.jobs.cli.raw_options import RawRows


def models(paths: Sequence[Path], world: "World") -> list[AnyFitted]:
    """The models of run files, read by one rank. Collective. Raises DataError, UsageError on every rank."""
    with world.together(f"reading {', '.join(map(str, paths))}"):
        found = [read_fitted(path) for path in paths] if world.rank == 0 else []
    return world.tell(found)


@contextmanager
def rows(
    files: Sequence[Path], model: AnyFitted, world: "World", console: "Console", job: "RawRows", *, unlabelled: bool = False
) -> Iterator[Source]:
    """The rows of a data set or generator, or of text, in whose place a data set stands meanwhile. Collective.

    model : whose columns they are to have. unlabelled : whether a table may lack its labels. Raises DataError, UsageError on
    every rank.
    """
    like = model.path
    if not _is_text(files, world):
        job.demand_none(files[0])
        if len(files) > 1:
            raise UsageError(f"{files[1]}: give one data set, or files of text")
        yield _told(open_source(str(files[0]), world), model, console)
        return
    from mpiopt.io.tables.plan import TableOptions
    from mpiopt.io.text.convert import convert
    from mpiopt.io.text.options import TextOptions
    from mpiopt.io.text.readers import READERS, SVMLIGHT, reader_of
    from mpiopt.io.text.sources import expanded

    with world.together(f"looking at {files[0]}"):
        found = expanded(files) if world.rank == 0 else []
        reader = reader_of(job.reader, found) if world.rank == 0 else None
    files, name = world.tell((found, None if reader is None else reader.name))
    with world.together("making a scratch folder"):
        folder = Path(mkdtemp(prefix="mpiopt-", dir=Path.cwd())) if world.rank == 0 else None
    folder = world.tell(folder)
    reader = SVMLIGHT if name is None else READERS.find(name)
    columns = TableOptions(label=job.label, header=job.header, layer=job.layer, unlabelled=unlabelled)
    beside = {name: value for name, value in job.given().items() if name in ("weights", "offset", "indices")}
    options = TextOptions(shuffle=None, like=like, reader=reader, table=columns, **beside)
    try:
        index = convert(world, files, folder / "rows.h5", options, console)
        if index.numbering is not None and (dropped := index.numbering.dropped):
            console.note(f"note: {counted(dropped, 'entry', 'entries')} of features that {like} does not know left out")
        yield _told(open_source(folder / "rows.h5", world), model, console)
    finally:
        world.barrier()
        if world.rank == 0:
            rmtree(folder, ignore_errors=True)


def _told(source: Source, model: AnyFitted, console: "Console") -> Source:
    """The source; said once where a model of rows with offsets is applied to rows without."""
    if model.offset and not (isinstance(source, Dataset) and OFFSET in source.index.beside):
        console.note(f"note: {model.path} was fitted to rows with offsets, and these have none: they count as 0")
    return source


def _is_text(files: Sequence[Path], world: "World") -> bool:
    """Whether the first file is one that is no data set; what does not exist is a generator's name, or will be missed."""
    with world.together(f"looking at {files[0]}"):
        found = files[0].exists() and schema_of(files[0]) != DATA if world.rank == 0 else False
    return world.tell(found)


def stacked(source: Source, world: "World") -> Share:
    """The rows of this rank, which is one worker. Collective."""
    return shares(source, world)[0]


def in_order(values: Array, share: Share, source: Source, world: "World") -> Array:
    """Values of this rank's rows, (rows,) or several each, for the rows of its block of the source's own order. Collective."""
    return back_in_order(values, share.lo, source.rows, source.index.shuffle if isinstance(source, Dataset) else None, world)


def back_in_order(values: Array, lo: int, rows: int, seed: int | None, world: "World") -> Array:
    """The same of this rank's values, of the rows from ``lo`` on. rows : of all ranks. seed : of their order. Collective."""
    if seed is None:
        return values
    bounds = np.array([*world.tell_all(lo), rows])
    places = Shuffle(rows, seed)(lo, len(values))
    order = np.argsort(places)
    asked = np.split(places[order], np.searchsorted(places[order], bounds[1:-1]))
    answers = world.alltoall([values[wanted - lo].reshape(-1) for wanted in world.alltoall(asked, "order")], "order")
    out = np.empty_like(values)
    out[order] = np.concatenate(answers).reshape(values.shape)
    return out
