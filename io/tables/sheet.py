"""A format of tables: its columns, how far a file can be divided, and its rows by column, some at a time."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mpiopt.io.tables.plan import CellType, Layout
from mpiopt.io.text.parts import Part


class TableRows(NamedTuple):
    """Some rows: Arrow arrays by column; nbytes that they took; where : the place of a row of these, for people."""

    columns: Mapping[str, Any]
    rows: int
    nbytes: int
    where: Callable[[int], str]


class TableFormat(ABC):
    """One format. Nothing is collective; everything may raise DataError, and CapabilityError without pyarrow."""

    @abstractmethod
    def types(self, path: Path, layout: Layout) -> tuple[dict[str, CellType], Layout]:
        """The columns of a file, and how it is laid out where that is to be found out."""

    @abstractmethod
    def size(self, path: Path) -> int | None:
        """How many pieces a file can be divided into; None for one that must be read whole."""

    @abstractmethod
    def batches(self, part: Part, wanted: Mapping[str, CellType], layout: Layout) -> Iterator[TableRows]:
        """The rows of the pieces part.start to part.stop of a file, of them the columns that are wanted."""
