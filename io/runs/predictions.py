"""Predictions as a file: HDF5 columns, or text with a line of names and commas between values.

P.h5   attributes   schema="mpiopt-predictions", run, data, version
       NAME         one column a quantity, (rows,), in the order of the source
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import h5py

from mpiopt import __version__
from mpiopt.arrays import Array
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.io.disk.file_kind import PREDICTIONS, is_of
from mpiopt.io.disk.held_name import HeldName
from mpiopt.io.tables.parquet_columns import ParquetColumns, columns_of
from mpiopt.words import storable

CHUNK = 1 << 16  # rows in a chunk of a column


class Sink(ABC):
    """Where columns go, block after block. names : of the columns."""

    def __init__(self, file: BinaryIO, names: Sequence[str]) -> None:
        self.names = names

    @abstractmethod
    def add(self, columns: Mapping[str, Array]) -> None:
        """Append rows: columns (rows,), numbers or bytes. Raises OSError."""

    def close(self) -> None:  # noqa: B027
        """Nothing comes any more: text needs nothing done. Raises OSError."""


class TextSink(Sink):
    """Lines with commas; numbers as Python writes them, which loses nothing."""

    def __init__(self, file: BinaryIO, names: Sequence[str]) -> None:
        super().__init__(file, names)
        self._file = file
        file.write(header(names))

    def add(self, columns: Mapping[str, Array]) -> None:
        """See `Sink`."""
        texts = [[quoted(v) if isinstance(v, bytes) else repr(v) for v in columns[name].tolist()] for name in self.names]
        self._file.write("".join(",".join(line) + "\n" for line in zip(*texts, strict=True)).encode())


class ParquetSink(Sink):
    """A file of Parquet (extra: arrow)."""

    def __init__(self, file: BinaryIO, names: Sequence[str]) -> None:
        super().__init__(file, names)
        self._columns = ParquetColumns(file, names)

    def add(self, columns: Mapping[str, Array]) -> None:
        """See `Sink`."""
        self._columns.add(columns)

    def close(self) -> None:
        """See `Sink`."""
        self._columns.close()


class Hdf5Sink(Sink):
    """An HDF5 file. about : its attributes."""

    def __init__(self, file: BinaryIO, names: Sequence[str], about: Mapping[str, str]) -> None:
        super().__init__(file, names)
        self._file = h5py.File(file, "w", libver="earliest")
        self._file.attrs["schema"] = PREDICTIONS
        self._file.attrs.update({**{name: storable(text) for name, text in about.items()}, "version": __version__})

    def add(self, columns: Mapping[str, Array]) -> None:
        """See `Sink`."""
        for name in self.names:
            new = columns[name]
            if name not in self._file:
                self._file.create_dataset(name, (0,), new.dtype, maxshape=(None,), chunks=(CHUNK,))
            column = self._file[name]
            column.resize((len(column) + len(new),))
            column[len(column) - len(new) :] = new

    def close(self) -> None:
        """See `Sink`."""
        self._file.close()


class Predictions:
    """The file ``path`` under way, .csv, .parquet or .h5; held by one rank. Not collective. Use as a context manager.

    It has its name only once it is whole. overwrite : whether one of the same kind and columns may be replaced; nothing
    else ever is. Raises UsageError, DataError, OSError.
    """

    def __init__(self, path: Path, names: Sequence[str], about: Mapping[str, str], *, overwrite: bool = False) -> None:
        if path.suffix not in (".csv", ".h5", ".parquet"):
            raise UsageError(f"{path} ends in none of .csv, .h5 and .parquet: give the predictions such a name")
        if path.exists() and not (overwrite and ours(path, names)):
            advice = "name another file" if overwrite else "name another file, or give `overwrite` to replace predictions"
            raise UsageError(f"{path} exists{' and has no such predictions' if overwrite else ''}: {advice}")
        self._held = HeldName(path, lambda leftover: True)
        self._file = self._held.draft()
        try:
            self._sheet = self._sink(path.suffix, names, about)
        except CapabilityError:
            self._held.close()
            raise

    def _sink(self, suffix: str, names: Sequence[str], about: Mapping[str, str]) -> Sink:
        if suffix == ".h5":
            return Hdf5Sink(self._file, names, about)
        return TextSink(self._file, names) if suffix == ".csv" else ParquetSink(self._file, names)

    def __enter__(self) -> "Predictions":
        return self

    def add(self, columns: Mapping[str, Array]) -> None:
        """Append rows, see `Sink`."""
        self._sheet.add(columns)

    def __exit__(self, kind: Any, *_: object) -> None:
        try:
            self._sheet.close()
            if kind is None:
                self._held.publish()
        finally:
            self._held.close()


def quoted(text: bytes) -> str:
    """A text as a value of CSV."""
    shown = text.decode()
    return '"' + shown.replace('"', '""') + '"' if set(shown) & set(',"\n\r') else shown


def header(names: Sequence[str]) -> bytes:
    """The first line of text."""
    return (",".join(names) + "\n").encode()


def ours(path: Path, names: Sequence[str]) -> bool:
    """Whether a file is one of predictions with such columns."""
    if path.suffix == ".h5":
        return is_of(path, PREDICTIONS)
    if path.suffix == ".parquet":
        return columns_of(path) == tuple(names)
    with path.open("rb") as file:
        return file.read(len(header(names))) in (header(names), b"")
