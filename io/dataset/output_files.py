"""The files of a data set to be: made under temporary names, put in place by renaming, brought to their end after a kill.

    o.h5.partial        the index; while it is there the names are one conversion's (`disk.held_name`)
    o.shards.partial/   the shards, and scratch files until they are all there
    o.shards.old/       the shards of a set that is being replaced, from the first renaming to the last

A kill between the renamings leaves a set that no reader takes, but all of it: the next conversion completes it first.
Folders that may go have a file MARK, so that only what a conversion has made is ever removed.
"""

import os
import re
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.index import Index, folder, read_index
from mpiopt.io.disk.file_kind import DATA, SIGNATURE, is_of, replaceable, schema_of
from mpiopt.io.disk.hdf5_check import BROKEN, reason
from mpiopt.io.disk.held_name import HeldName, partial
from mpiopt.io.disk.sealed_file import is_sealed

MARK = "of-mpiopt-convert"
SHARD = re.compile(r"\d{4,}\.h5")
SCRATCH = re.compile(r"scratch-\d+\.bin|source-\d+|failed")  # beside the shards while they are made


@contextmanager
def told_plainly(path: Path) -> Iterator[None]:
    """Turn what the file system says into a DataError that names ``path``."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path} cannot be written ({reason(error)}); what was unfinished is removed") from error


class Output:
    """The data set ``target`` (DATA.h5) and DATA.shards, until `publish` under other names. Rank 0 alone moves them.

    Every method may raise OSError.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self._held = HeldName(target, self._settled)
        self._mended = self._made = False

    @property
    def folder(self) -> Path:
        """Where the shards are being written, and scratch files until the shards are there."""
        return partial(folder(self.target))

    @property
    def index(self) -> Path:
        """Where the index is being written."""
        return self._held.partial

    @property
    def names(self) -> tuple[Path, ...]:
        """All that is written, moved or removed."""
        return self.target, self.index, folder(self.target), self.folder, self._old

    @property
    def _old(self) -> Path:
        """Where the shards of a data set that is being replaced wait until the new ones stand."""
        return self.target.with_name(folder(self.target).name + ".old")

    def prepare(self, overwrite: bool) -> None:
        """Have the names, and an empty folder for the shards. Not collective.

        Raises UsageError for a name that cannot be used, DataError where another job has it or something is in the way.
        """
        if self.target.suffix != ".h5":
            raise UsageError(f"the data set is to be called {self.target}, but the name must end in .h5")
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._held.draft()
        self._held.demand()  # the index that a killed conversion had left, if it stands there now
        self._put_back()
        self._check(overwrite)
        for left in (self.folder, self._old):
            clear(left)
        self.folder.mkdir()
        self._made = True
        (self.folder / MARK).touch()

    def _check(self, overwrite: bool) -> None:
        for path in (self.target, folder(self.target)):
            if os.path.lexists(path) and not overwrite:
                how = ", now that a conversion that was killed is brought to its end" if self._mended else ""
                raise UsageError(f"{path} exists{how}: give another name, or `overwrite` to replace it")
        replaceable(self.target, DATA, "a data set of mpiopt")
        listed: list[str] = []
        with suppress(DataError):
            listed = [shard.name for shard in read_index(self.target).shards]
        _no_others(folder(self.target), listed)

    def _settled(self, leftover: Path) -> bool:
        """Whether the index that a killed conversion has left may go; if renaming had begun, it is brought to its end."""
        if not is_of(leftover, DATA):
            return False
        begun = self._old.exists() or not self.folder.exists()
        with suppress(DataError):  # an index that is not whole: nothing was renamed
            if begun and leftover.stat().st_size:
                self._complete(read_index(leftover))
        return True

    def _complete(self, index: Index) -> None:
        final = folder(self.target)
        if not final.exists() and holds(self.folder, index):
            self.folder.rename(final)
        if holds(final, index):
            self.index.replace(self.target)
            self._mended = True
            self._tidy()

    def _put_back(self) -> None:
        """Undo the first renaming where what was to follow has gone."""
        with suppress(DataError):
            if self._old.exists() and not folder(self.target).exists() and holds(self._old, read_index(self.target)):
                self._old.rename(folder(self.target))

    def _tidy(self) -> None:
        clear(self._old)
        (folder(self.target) / MARK).unlink(missing_ok=True)

    def publish(self) -> None:
        """Put the finished files in place by renaming; what they replace is removed only then. Not collective."""
        final = folder(self.target)
        if final.exists():
            (final / MARK).touch()
            final.rename(self._old)
        self.folder.rename(final)
        self._held.publish()
        self._tidy()
        self._held.close()

    def discard(self) -> None:
        """Remove everything unfinished, and let others have the names. Not collective."""
        if self._made:
            with suppress(OSError, DataError):
                clear(self.folder)
        self._held.close()


def clear(place: Path) -> None:
    """Remove a folder that a conversion has made. Raises DataError, and removes nothing, where it is another or has more."""
    if not os.path.lexists(place):
        return
    _no_others(place)
    paths = sorted(place.iterdir(), key=lambda path: path.name == MARK)
    if paths and paths[-1].name != MARK:
        raise DataError(_strange(place))
    for path in paths:
        path.unlink()
    place.rmdir()


def holds(place: Path, index: Index) -> bool:
    """Whether a folder has the shards that an index speaks of, as they were when it was written."""
    try:
        return all(_is(place / shard.name, shard.nbytes, shard.digest) for shard in index.shards)
    except BROKEN:
        return False


def _is(path: Path, nbytes: int, digest: int) -> bool:
    if path.stat().st_size != nbytes:
        return False
    with h5py.File(path, "r", locking=False) as file:
        return file.attrs.get("digest") == digest


def _no_others(place: Path, listed: Collection[str] = ()) -> None:
    """Raise DataError where what should be a folder is none, or has what no conversion makes.

    listed : shards that an index speaks of, known even if they are damaged.
    """
    if not os.path.lexists(place):
        return
    if place.is_symlink() or not place.is_dir():
        raise DataError(_strange(place))
    marked = (place / MARK).is_file()
    for path in place.iterdir():
        if not _usual(path, marked or path.name in listed):
            raise DataError(_strange(path))


def _usual(path: Path, ours: bool) -> bool:
    """Whether a file is what conversions make; in a folder of ``ours`` a shard may be one just begun."""
    if not stat.S_ISREG(path.lstat().st_mode):
        return False
    if SHARD.fullmatch(path.name):
        return _begun(path) if ours else is_sealed(path) and schema_of(path) is None
    return path.name == MARK or bool(SCRATCH.fullmatch(path.name))


def _begun(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SIGNATURE)) in (SIGNATURE, bytes(len(SIGNATURE)), b"")


def _strange(path: Path) -> str:
    return f"{path} was not made by mpiopt convert, which would have to remove it: move it away, or give another name"
