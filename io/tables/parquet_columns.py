"""Columns of Parquet, written block after block."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from mpiopt.arrays import Array
from mpiopt.io.tables.arrow import arrow


def columns_of(path: Path) -> tuple[str, ...]:
    """The columns of a file; none where it is no Parquet."""
    pa = arrow()
    try:
        return tuple(arrow("pyarrow.parquet").read_schema(path).names)
    except (OSError, pa.ArrowException):
        return ()


class ParquetColumns:
    """A file of the columns ``names``, numbers or texts in bytes; their types are those of the first block.

    Raises CapabilityError without pyarrow, OSError.
    """

    def __init__(self, file: BinaryIO, names: Sequence[str]) -> None:
        self._file, self._names, self._parquet = file, names, arrow("pyarrow.parquet")
        self._writer: Any = None

    def add(self, columns: Mapping[str, Array]) -> None:
        """Append rows, a row group: columns (rows,)."""
        pa = arrow()
        held = [pa.array(columns[name]) for name in self._names]
        texts = [column.cast(pa.string()) if pa.types.is_binary(column.type) else column for column in held]
        table = pa.table(texts, list(self._names))
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """Write what belongs behind the rows."""
        if self._writer is not None:
            self._writer.close()
