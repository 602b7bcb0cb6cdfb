"""Text with a row a line and something between values: CSV and TSV (Shafranovich, RFC 4180, 2005), Criteo's click logs.

Ranks divide a file by lines, as other text; a value that goes over lines, in quotes, is refused. pyarrow takes the lines apart.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mpiopt.errors import DataError
from mpiopt.io.tables.arrow import arrow
from mpiopt.io.tables.plan import CellType, Layout
from mpiopt.io.tables.sheet import TableFormat, TableRows
from mpiopt.io.text.parts import MARK, Part, blocks, divisible, where

DELIMITERS = "\t,;|"
BLOCK = 1 << 22  # bytes taken apart at a time, so that a category is looked up once in many rows
LOOK = 1 << 20  # bytes of the first file by which types are told
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "#N/A", "n/a", "<NA>")
_AT = re.compile(r"CSV column #(\d+): (?:Row #(\d+): )?(.*)", re.DOTALL)


@dataclass(frozen=True)
class Delimited(TableFormat):
    """layout : that is known beforehand, for a format that has no line of names."""

    layout: Layout | None = None

    def types(self, path: Path, layout: Layout) -> tuple[dict[str, CellType], Layout]:
        """By the first lines of a file: numbers where all values are, else texts."""
        first = next(blocks(Part(0, path, 0, LOOK if divisible(path) else None)), None)
        text = b"" if first is None else first[0][: first[1]].tobytes()
        if not text.strip():
            raise DataError(f"{path}: there are no rows")
        line = text[: text.find(b"\n")].lstrip()
        layout = self.layout or _laid(path, line, layout.header)
        body = text[text.find(b"\n") + 1 :] if layout.header else text
        if not body.strip():
            raise DataError(f"{path}: there are no rows below the names of the columns")
        found = _read(path, body, text.find(b"\n") + 1 if layout.header else 0, layout, {})
        types = arrow("pyarrow.types")
        flags = tuple(name for name in layout.names if types.is_boolean(found[name].type))
        numbers = (types.is_integer, types.is_floating, types.is_boolean, types.is_null)
        told: dict[str, CellType] = {
            name: "number" if any(of(found[name].type) for of in numbers) else "text" for name in layout.names
        }
        return told, layout._replace(flags=flags)

    def size(self, path: Path) -> int | None:
        """In bytes, unless it is compressed."""
        return divisible(path)

    def batches(self, part: Part, wanted: Mapping[str, CellType], layout: Layout) -> Iterator[TableRows]:
        """See `TableFormat`: some `BLOCK` bytes at a time."""
        pa = arrow()
        as_type = {name: pa.string() if kind == "text" else pa.float64() for name, kind in wanted.items()}
        as_type |= {name: pa.bool_() for name in layout.flags if wanted.get(name) == "number"}
        for text, end, at in blocks(part, BLOCK):
            body = text[:end].tobytes()
            if at == 0 and layout.header:
                start = body.find(b"\n") + 1
                _demand_names(part.path, body[:start], layout)
                body, at = body[start:], start
            if not body.strip():
                continue
            found = _read(part.path, body, at, layout, as_type)
            yield TableRows(
                {name: found[name] for name in wanted},
                found.num_rows,
                end,
                partial(_where, part.path, body, at),
            )


def _laid(path: Path, line: bytes, header: bool) -> Layout:
    """The layout that the first line tells of. Raises DataError."""
    try:
        shown = line.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}, line 1 is no text in UTF-8 ({error.reason})") from error
    delimiter = max(DELIMITERS, key=shown.count)
    fields = next(csv.reader([shown], delimiter=delimiter))
    if not header:
        return Layout(tuple(str(k) for k in range(1, len(fields) + 1)), delimiter, False)
    names = tuple(name.strip() for name in fields)
    for k, name in enumerate(names):
        if not name or name in names[:k]:
            what = f"is called {name!r} like another" if name else "has no name"
            raise DataError(f"{path}, line 1: column {k + 1} {what}: give each its own name, or say that there is no `header`")
    return Layout(names, delimiter, True)


def _demand_names(path: Path, line: bytes, layout: Layout) -> None:
    found = _laid(path, line.removeprefix(MARK).strip(), True)
    if found.names != layout.names:
        raise DataError(f"{path}, line 1: the columns are not those of the first file, {', '.join(layout.names)[:80]}")


def _read(path: Path, body: bytes, at: int, layout: Layout, as_type: Mapping[str, Any]) -> Any:
    """Whole lines as an Arrow table. Raises DataError naming file and line."""
    pa, reader = arrow(), arrow("pyarrow.csv")
    _demand_closed(path, body, at)
    try:
        return reader.read_csv(
            pa.BufferReader(body),
            reader.ReadOptions(use_threads=False, column_names=list(layout.names), block_size=max(len(body) + 1, BLOCK)),
            reader.ParseOptions(delimiter=layout.delimiter),
            reader.ConvertOptions(
                column_types=dict(as_type),
                include_columns=list(as_type),
                strings_can_be_null=True,
                null_values=MISSING,
                timestamp_parsers=[],
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(_complaint(path, body, at, layout, as_type, str(error))) from error


def _demand_closed(path: Path, body: bytes, at: int) -> None:
    """Refuse values over several lines: what would become of them would hang on where ranks divide a file. Raises DataError."""
    if b'"' not in body:
        return
    text = np.frombuffer(body, np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    open_at = np.flatnonzero(np.cumsum(text == ord('"'))[ends] % 2)
    if len(open_at):
        line = where(path, at + (int(ends[open_at[0] - 1]) + 1 if open_at[0] else 0))
        raise DataError(f"{line} has a quote that is not closed: a value may not go over lines")


def _complaint(path: Path, body: bytes, at: int, layout: Layout, as_type: Mapping[str, Any], said: str) -> str:
    rows = [line for line in body.split(b"\n")]
    position = at
    for line in rows:
        if line.strip():
            wrong = _wrong(line, layout, as_type)
            if wrong:
                return f"{where(path, position)} {wrong}"
        position += len(line) + 1
    match = _AT.search(said)
    return f"{path} cannot be read ({match[3] if match else said})"


def _wrong(line: bytes, layout: Layout, as_type: Mapping[str, Any]) -> str:
    """What is wrong with a line, "" for nothing."""
    try:
        fields = next(csv.reader([line.decode().rstrip("\r")], delimiter=layout.delimiter))
    except UnicodeDecodeError as error:
        return f"is no text in UTF-8 ({error.reason})"
    except csv.Error as error:
        return f"cannot be taken apart ({error})"
    if len(fields) != len(layout.names):
        return f"has {len(fields)} values, and there are {len(layout.names)} columns"
    for name, value in zip(layout.names, fields, strict=True):
        if name in as_type and str(as_type[name]) == "double" and value.strip() not in MISSING:
            try:
                float(value)
            except ValueError:
                shown = value if len(value) <= 40 else value[:37] + "..."
                return f"has {shown!r} in the column {name!r}, which is no number: name that in `categorical` or in `drop`"
    return ""


def _where(path: Path, body: bytes, at: int, row: int) -> str:
    for line in body.split(b"\n"):
        if line.strip(b"\r"):
            if not row:
                break
            row -= 1
        at += len(line) + 1
    return where(path, at)


CSV = Delimited()
CRITEO = Delimited(Layout(("label", *(f"I{k}" for k in range(1, 14)), *(f"C{k}" for k in range(1, 27))), "\t", False))
