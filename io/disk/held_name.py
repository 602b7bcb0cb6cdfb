"""A file's name as one job's own to write: no other job has it meanwhile, and none is kept out once this one is gone.

The lock is the operating system's, on an open file, and ends with the process however it ends. A name is held by the file
that stands there or, where there is none yet, by the temporary one beside it; what is renamed to a held name has its lock
already, so that there is no moment without one, and nothing but the files themselves is left by a kill. Where a file
system has no locks the name is used without: `lockable` says so.
"""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from errno import EAGAIN, EWOULDBLOCK
from fcntl import LOCK_EX, LOCK_NB, flock
from io import FileIO
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic, sleep

from mpiopt.errors import DataError, UsageError

PATIENCE = 3.0  # seconds in which a job that was killed may still be on its way out


class HeldName:
    """The name ``path`` and its temporary one, PATH.partial; held by one process. Not collective; may raise OSError.

    ours : whether what a killed job left under the temporary name may go. It is called while nobody writes there.
    """

    def __init__(self, path: Path, ours: Callable[[Path], bool]) -> None:
        self.path, self.partial = path, partial(path)
        self._ours = ours
        self._file: FileIO | None = None
        self._draft: FileIO | None = None

    @property
    def taken(self) -> bool:
        """Whether this process has the name."""
        return self._file is not None or self._draft is not None

    def take(self) -> None:
        """Hold the name from now on. Raises DataError where another job has it, or something else is in the way."""
        if self._draft is None:  # else the name is held already, and what stands there since then is somebody else's
            self._file = self._file or _locked(self.path)
        if self._file is None and self._draft is None:
            self._draft = _made(self.partial, self.path, self._ours)
            self._file = _locked(self.path)  # of a job that has ended in between

    def draft(self) -> FileIO:
        """The temporary file, empty and open. Raises as `take`."""
        self.take()
        self._draft = self._draft or _made(self.partial, self.path, self._ours)
        return self._draft

    def publish(self) -> None:
        """Rename the temporary file to the name; it stays open, and holds it.

        Raises DataError where a file has come to stand under the name that is not the one held.
        """
        if os.path.lexists(self.path) and not self.here():
            raise DataError(f"{self.path} was put in the place of this job's file meanwhile, and is not replaced: move it away")
        os.replace(self.partial, self.path)
        self._release()
        self._file, self._draft = self._draft, None

    def retire(self, older: "HeldName") -> None:
        """Give the file that stands under this name, and its lock, to ``older``; this name stays held. Raises as `publish`."""
        if self.here():
            older.demand()
            os.replace(self.path, older.path)
            older._release()
            older._file, self._file = self._file, None

    def demand(self) -> None:
        """Hold the file that stands under the name, if one does. Raises DataError where another job has it."""
        if not self.here():
            self._release()
            self._file = _locked(self.path)

    def discard(self) -> None:
        """Give up what the temporary file has; the name stays held."""
        if self._file is None and self._draft is not None:
            self._draft.truncate(0)
        else:
            self._drop()

    def here(self) -> bool:
        """Whether the file that this process has published still stands under its name."""
        return self._file is not None and _stands(self._file, self.path)

    def close(self) -> None:
        """Let go of the name, without anything temporary; doing so twice is harmless."""
        self._drop()
        self._release()

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _drop(self) -> None:
        if self._draft is not None:
            with suppress(OSError):
                if _stands(self._draft, self.partial):
                    self.partial.unlink()
            self._draft.close()
            self._draft = None


def partial(path: Path) -> Path:
    """Where a file is being written before it gets its name. Raises UsageError where the path has none."""
    return beside(path, ".partial")


def beside(path: Path, ending: str) -> Path:
    """The path whose name is longer by ``ending``. Raises UsageError where the path has no name."""
    if not path.name:
        raise UsageError(f"{path} is a folder, and the name of a file is needed")
    return path.with_name(path.name + ending)


def lockable(folder: Path) -> bool:
    """Whether the file system of a folder has locks. Raises OSError where no file can be made there."""
    with TemporaryFile(dir=folder, buffering=0) as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except OSError:
            return False
    return True


def _locked(path: Path, named: Path | None = None) -> FileIO | None:
    """The file at ``path``, locked; None where there is none. Raises DataError where another process keeps it locked."""
    end = monotonic() + PATIENCE
    while True:
        try:
            file = _opened(path, os.O_RDWR | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        if _lock(file):
            if _stands(file, path):
                return file
            file.close()
            continue
        file.close()
        if monotonic() > end:
            raise DataError(f"{named or path} is being written by another job: give another name, or wait for its end")
        sleep(0.05)


def _made(path: Path, named: Path, ours: Callable[[Path], bool]) -> FileIO:
    """A new file at a temporary name, locked; never one that somebody has put there."""
    while True:
        try:
            file = _opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        except FileExistsError:
            _clear(path, named, ours)
            continue
        if _lock(file) and _stands(file, path):  # else another job has taken it for a leftover
            return file
        file.close()


def _clear(path: Path, named: Path, ours: Callable[[Path], bool]) -> None:
    """Remove what a killed job has left."""
    with suppress(FileNotFoundError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise DataError(f"{path} is in the way of {named}, and no file of mpiopt: move it away, or give another name")
    file = _locked(path, named)
    if file is None:
        return
    with file:
        if not ours(path):
            raise DataError(
                f"{path} is in the way of {named}, and no job of mpiopt has left it: move it away, or give another name"
            )
        path.unlink(missing_ok=True)


def _opened(path: Path, how: int) -> FileIO:
    file = os.open(path, how | os.O_CLOEXEC, 0o666)
    return FileIO(file, "r+")


def _lock(file: FileIO) -> bool:
    """Lock a file for this process alone; False where another has it. A file system without locks lets everybody in."""
    try:
        flock(file, LOCK_EX | LOCK_NB)
    except OSError as error:
        return error.errno not in (EAGAIN, EWOULDBLOCK)
    return True


def _stands(file: FileIO, path: Path) -> bool:
    """Whether an open file is the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except OSError:  # no such name, something else in a folder's place, a file whose server has forgotten it
        return False
