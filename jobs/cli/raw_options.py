"""How files that are no data set are read where a model is applied to their rows."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from mpiopt.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class RawRows:
    """Files of text, tables or matrices, otherwise read as those that the model is of. A data set has all of it."""

    files: tuple[Path, ...] = field(kw_only=False)
    """Runs and data, as a command takes them."""
    label: str | None = None
    """A table: the column of the labels, where it is another than in the rows that were fitted; h5ad: a column of obs; npz: a
    file of numbers. Text whose rows have several labels: the one that is 1, and others -1."""
    offset: str | None = None
    """A file of offsets of the rows of text, one number a row, or a column of a table."""
    reader: str | None = None
    """What reads the files, as of mpiopt convert, such as criteo. [default: by suffix and content]"""
    header: bool = True
    """Whether CSV begins with the names of its columns; else these are called 1, 2, 3 ..."""
    layer: str | None = None
    """Of h5ad: this layer in place of X."""
    indices: Literal["refuse", "sort", "sum"] = "refuse"
    """Text: what becomes of indices that do not ascend within a row."""

    def given(self) -> dict[str, Any]:
        """What was said of raw rows, by name."""
        mine = {option.name: option.default for option in fields(self) if option.name in RAW}
        return {name: getattr(self, name) for name, default in mine.items() if getattr(self, name) != default}

    def demand_none(self, source: object) -> None:
        """See that nothing was said of raw rows, where a data set or a generator is the source. Raises UsageError."""
        if given := list(self.given()):
            raise UsageError(f"`{given[0]}` is for text, tables and matrices, and {source} has its own: leave it out")


RAW = ("label", "offset", "weights", "reader", "header", "layer", "indices")
