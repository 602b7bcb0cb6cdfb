"""Parquet and Arrow files (also called Feather): divided among ranks by their row groups and record batches."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mpiopt.errors import DataError
from mpiopt.io.tables.arrow import arrow, cell_type
from mpiopt.io.tables.plan import CellType, Layout
from mpiopt.io.tables.sheet import TableFormat, TableRows
from mpiopt.io.text.parts import Part

ROWS, VALUES = 1 << 16, 1 << 20  # of a batch at most


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what pyarrow says of a file into a DataError that names it."""
    pa = arrow()
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        said = str(error).split("\n")[0].strip().rstrip(".")
        raise DataError(f"{path} cannot be read ({said}): it is damaged, incomplete or of another format") from error


def at_once(columns: int) -> int:
    """How many rows of so many columns are read at once."""
    return max(1, min(ROWS, VALUES // max(columns, 1)))


class Parquet(TableFormat):
    """Parquet (Apache Parquet format), one piece a row group."""

    def types(self, path: Path, layout: Layout) -> tuple[dict[str, CellType], Layout]:
        """See `TableFormat`."""
        with reading(path):
            schema = arrow("pyarrow.parquet").read_schema(path, memory_map=False)
        return {field.name: cell_type(field.type) for field in schema}, layout

    def size(self, path: Path) -> int | None:
        """In row groups."""
        with reading(path):
            return arrow("pyarrow.parquet").read_metadata(path).num_row_groups

    def batches(self, part: Part, wanted: Mapping[str, CellType], layout: Layout) -> Iterator[TableRows]:
        """See `TableFormat`."""
        with reading(part.path), arrow("pyarrow.parquet").ParquetFile(part.path) as file:
            about, stop = file.metadata, file.metadata.num_row_groups if part.stop is None else part.stop
            demand_columns(part.path, {field.name: field.type for field in file.schema_arrow}, wanted)
            row = sum(about.row_group(k).num_rows for k in range(part.start))
            groups = range(part.start, stop)
            for batch in file.iter_batches(at_once(len(wanted)), groups, list(wanted), use_threads=False) if groups else ():
                yield batch_of(part.path, batch, wanted, row)
                row += batch.num_rows


class ArrowFile(TableFormat):
    """The Arrow file format (IPC, Feather), one piece a record batch."""

    def types(self, path: Path, layout: Layout) -> tuple[dict[str, CellType], Layout]:
        """See `TableFormat`."""
        with reading(path), arrow("pyarrow.ipc").open_file(str(path)) as file:
            return {field.name: cell_type(field.type) for field in file.schema}, layout

    def size(self, path: Path) -> int | None:
        """In record batches."""
        with reading(path), arrow("pyarrow.ipc").open_file(str(path)) as file:
            return file.num_record_batches

    def batches(self, part: Part, wanted: Mapping[str, CellType], layout: Layout) -> Iterator[TableRows]:
        """See `TableFormat`: batches that are not this part's are not looked at, but that their rows are counted."""
        pa, ipc = arrow(), arrow("pyarrow.ipc")
        with reading(part.path), pa.memory_map(str(part.path)) as source, ipc.open_file(source) as file:
            demand_columns(part.path, {field.name: field.type for field in file.schema}, wanted)
            row = 0
            for k in range(file.num_record_batches if part.stop is None else part.stop):
                batch = file.get_batch(k)
                batch.validate(full=True)
                step = at_once(len(wanted))
                for lo in range(0, batch.num_rows, step) if k >= part.start else ():
                    yield batch_of(part.path, batch.slice(lo, step), wanted, row + lo)
                row += batch.num_rows


def demand_columns(path: Path, types: Mapping[str, Any], wanted: Mapping[str, CellType]) -> None:
    """See that a file has the columns that are wanted, of types that can be read so. Raises DataError."""
    for name, kind in wanted.items():
        if name not in types:
            raise DataError(f"{path} has no column {name!r}, which the others have")
        found = cell_type(types[name])
        fits = {"number": ("number",), "text": ("number", "text"), "numbers": ("numbers",), "texts": ("numbers", "texts")}
        if found not in fits[kind]:
            raise DataError(f"{path}: the column {name!r} holds {types[name]}, and {kind} are to be read there")


def batch_of(path: Path, batch: Any, wanted: Mapping[str, CellType], first: int) -> TableRows:
    """A record batch, whose first row is row ``first`` of the file."""
    columns = {name: batch.column(name) for name in wanted}
    nbytes = sum(column.nbytes for column in columns.values())
    return TableRows(columns, batch.num_rows, nbytes, lambda row: f"{path}, row {first + row + 1}")


PARQUET, ARROW_FILE = Parquet(), ArrowFile()
