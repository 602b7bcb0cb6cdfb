"""What is shown of several runs, whatever they did: a title, tables, curves, a note; on a terminal, a page, in pictures."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import fill
from typing import Any, Literal, NamedTuple

import numpy as np

from mpiopt.io.runs.run_file import RunData
from mpiopt.jobs.cli.console import WIDTH, table

DASH = "-"


class Column(NamedTuple):
    """One column of a table, a cell for each run."""

    head: str
    cells: tuple[str, ...]
    right: bool = True

    @classmethod
    def of(cls, head: str, values: Iterable[Any], form: Callable[[Any], str] = str, *, right: bool = True) -> "Column":
        """A column of values in words; a dash where there is none: None or a number that is not finite."""
        return cls(head, tuple(form(value) if known(value) else DASH for value in values), right)

    @property
    def empty(self) -> bool:
        """Whether no run has a value."""
        return set(self.cells) <= {DASH}


class Grid(NamedTuple):
    """A table with a line for each run; ``caption`` stands above it."""

    columns: tuple[Column, ...]
    caption: str = ""

    @classmethod
    def of(cls, *columns: Column, caption: str = "") -> "Grid":
        """A table without the columns that no run has anything to say in."""
        return cls(tuple(column for column in columns if not column.empty), caption)

    def text(self, names: Sequence[str]) -> str:
        """For a terminal, the runs being called ``names``."""
        rows = [[name, *cells] for name, cells in zip(names, self.cells, strict=True)]
        right = "l" + "".join("r" if column.right else "l" for column in self.columns)
        shown = table(["run", *(column.head for column in self.columns)], rows, right)
        return f"{fill(self.caption, WIDTH)}\n\n{shown}" if self.caption else shown

    @property
    def cells(self) -> list[tuple[str, ...]]:
        """The cells of every run."""
        return list(zip(*(column.cells for column in self.columns), strict=True))


class Curve(NamedTuple):
    """Numbers of a run over its history. x : columns of the history by name, each as long as ``y``."""

    x: Mapping[str, np.ndarray]
    y: np.ndarray
    band: tuple[np.ndarray, np.ndarray] | None = None  # its ends, of a mean over seeds


class Strip(NamedTuple):
    """A row of panels that share one y axis.

    curves : one for each run, perhaps empty. floor : where 0 is drawn, if logarithmic. mark : a horizontal line, what it is.
    """

    label: str
    curves: tuple[Curve, ...]
    scale: Literal["log", "linear"] = "log"
    floor: float = 0.0
    mark: tuple[float, str] | None = None


@dataclass(frozen=True)
class Sheet:
    """Runs side by side.

    details : what each run has of its own, in words, or nothing. tables : for a terminal; wide : for a page. picture : the
    strips; ``heading`` : what they show.
    """

    title: str
    runs: tuple[RunData, ...]
    labels: tuple[str, ...]
    details: tuple[str, ...]
    tables: tuple[Grid, ...]
    wide: tuple[Grid, ...]
    note: str
    heading: str
    picture: tuple[Strip, ...]
    facts: dict[str, Any] = field(repr=False)

    def text(self) -> str:
        """For a terminal, in 80 columns: numbers stand for names that would not fit into the tables."""
        names, details = self.labels, self.details
        if any(len(line) > WIDTH for grid in self.tables for line in grid.text(names).splitlines()):
            details = tuple("; ".join(filter(None, pair)) for pair in zip(names, details, strict=True))
            names = tuple(str(number) for number in range(1, len(names) + 1))
        note = "\n".join(fill(line, WIDTH) for line in self.note.splitlines())
        legend = [_legend(names, details)] if any(details) else []
        return "\n\n".join([fill(self.title, WIDTH), *legend, *(grid.text(names) for grid in self.tables), note])


def _legend(names: Sequence[str], details: Sequence[str]) -> str:
    """Names, and what they stand for."""
    wide = max(map(len, names))
    return "\n".join(
        fill(f"{name:{wide}s}  {detail}", WIDTH, subsequent_indent=" " * (wide + 2))
        for name, detail in zip(names, details, strict=True)
    )


def known(value: Any) -> bool:
    """Whether there is a value: not None, and not a number that is not finite."""
    return value is not None and not (isinstance(value, float) and not np.isfinite(value))
