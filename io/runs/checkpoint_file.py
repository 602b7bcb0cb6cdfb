"""One checkpoint file: HDF5 lays it out, the arrays are written straight to their places, and a seal closes it."""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Any
from zlib import crc32

import h5py
import numpy as np

from mpiopt.io.disk import sealed_file
from mpiopt.io.disk.memory_pages import Pages

Form = tuple[tuple[int, ...], str]  # shape and type of an array


def stored(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape that an array's dataset has: HDF5 gives a scalar no place in the file."""
    return tuple(shape) or (1,)


class Draft:
    """A checkpoint under way in an open, empty ``file``; held by one rank. Not collective; every method may raise OSError.

    attributes, index : what to say of it. columns : the history. forms : dataset names with what will be written there.
    """

    def __init__(
        self,
        file: FileIO,
        attributes: Mapping[str, Any],
        index: Any,
        columns: Mapping[str, list],
        forms: Mapping[str, Form],
    ) -> None:
        self._file, pages = file.fileno(), Pages()
        self._pieces: list[tuple[int, int, int]] = []
        with h5py.File(pages, "w", libver=("earliest", "v110")) as plan:
            plan.attrs.update(attributes)
            plan["index"] = json.dumps(index)
            for name, column in columns.items():
                plan[f"history/{name}"] = column
            places = [
                plan.create_dataset(name, stored(shape), kind, dcpl=reserved()).id.get_offset()
                for name, (shape, kind) in forms.items()
            ]
        self._places = dict(zip(forms, places, strict=True))
        for at, content in pages.written():  # from its beginning on, by which it is known as ours
            sealed_file.write(self._file, content, at)
        os.ftruncate(self._file, pages.length)
        self._thread = ThreadPoolExecutor(1)
        self._checksum: tuple[int, int, Future[int]] | None = None

    def put(self, name: str, content: np.ndarray, start: int = 0) -> None:
        """Write bytes (n,) uint8 of the dataset ``name`` from byte ``start`` on; the checksum is found meanwhile.

        ``content`` is read until the next call is over.
        """
        if content.size:
            at, before = self._places[name] + start, self._checksum
            self._checksum = (at, at + content.size, self._thread.submit(crc32, content.data))
            sealed_file.write(self._file, content, at)
            self._settle(before)

    def _settle(self, piece: tuple[int, int, Future[int]] | None) -> None:
        if piece is not None:
            start, stop, checksum = piece
            self._pieces.append((start, stop, checksum.result()))

    def finish(self) -> None:
        """Seal the file and see it on disk."""
        self._settle(self._checksum)
        sealed_file.seal(self._file, self._pieces)
        os.fsync(self._file)

    def close(self) -> None:
        """Stop; the file stays open. Closing twice is harmless."""
        self._thread.shutdown()


class Content:
    """The bytes of datasets in a sound file; held by one rank. Not collective; use as a context manager."""

    def __init__(self, path: Path, names: Iterable[str]) -> None:
        with h5py.File(path, "r", locking=False) as file:
            self._places = {name: file[name].id.get_offset() for name in names}
        self._file = path.open("rb", buffering=0)
        self.failed = ""

    def __enter__(self) -> "Content":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, name: str, out: np.ndarray, start: int = 0) -> None:
        """Fill ``out`` (n,) uint8 with the bytes of ``name`` from byte ``start`` on; what goes wrong is put into ``failed``."""
        view, done = out.data, 0
        try:
            while done < out.size and not self.failed:
                count = os.preadv(self._file.fileno(), [view[done:]], self._places[name] + start + done)
                self.failed, done = "" if count else "it has become shorter", done + count
        except OSError as error:
            self.failed = str(error)


def reserved() -> h5py.h5p.PropDCID:
    """A dataset whose place in the file is fixed at once and which nobody fills."""
    made = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    made.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    made.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    return made
