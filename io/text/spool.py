"""Text that comes through a pipe: it can be read once, by one process, and so rank 0 first puts it into a file."""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import copyfileobj

from mpiopt.comm.world import World
from mpiopt.errors import DataError

OWN = ("/dev", "/proc")  # what is here is another file for every process


def is_stream(path: Path) -> bool:
    """Whether a path leads to what can be read but once, such as /dev/stdin; not if it leads nowhere. Not collective."""
    if not path.exists() or path.is_dir():
        return False
    return not path.is_file() or any(path.absolute().is_relative_to(place) for place in OWN)


def spooled(world: World, sources: Sequence[Path], folder: Path) -> list[Path]:
    """The files to read in place of ``sources``: copies in ``folder`` of those that are streams on rank 0. Collective.

    Raises DataError on every rank for devices, which may never end; rank 0 may raise OSError.
    """
    files = []
    with world.together(f"reading {', '.join(map(str, sources))}"):
        if world.rank == 0:
            files = [
                _copied(source, folder / f"source-{k}") if is_stream(source) else source for k, source in enumerate(sources)
            ]
    return world.tell(files)


def _copied(source: Path, copy: Path) -> Path:
    with source.open("rb") as stream, copy.open("xb") as file:
        if stat.S_ISCHR(os.fstat(stream.fileno()).st_mode) and not stream.isatty():
            raise DataError(f"{source} is a device: give a file or a pipe")
        copyfileobj(stream, file, 1 << 20)
    return copy


@contextmanager
def told_of(files: Sequence[Path], sources: Sequence[Path]) -> Iterator[None]:
    """Have a DataError speak of the source where it speaks of its copy."""
    try:
        yield
    except DataError as error:
        said = str(error)
        for file, source in zip(files, sources, strict=True):
            said = said.replace(str(file), str(source))
        raise DataError(said) from error
