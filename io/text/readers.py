"""The readers of rows by name, and which one is meant: the one that is named, or by suffix and content."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpiopt.errors import DataError, UsageError
from mpiopt.io.text.blocks import BlockParser, Read
from mpiopt.io.text.intake import Intake
from mpiopt.io.text.parsed_rows import RunStore
from mpiopt.io.text.svmlight import Order, Parser
from mpiopt.registry.entry import Registered
from mpiopt.registry.registry import Registry


@dataclass(frozen=True)
class Reader(Registered):
    """One named format. build : path -> iterator of `RowBlock`, or for text that is divided by lines its parser.

    suffixes, magic : how names of its files end, and with which bytes they begin.
    """

    suffixes: tuple[str, ...] = ()
    magic: bytes = b""
    lines: bool = False  # whether ranks may divide a file among them

    def parser(self, store: RunStore, values: np.dtype, base: int, limit: int | None, weighted: bool, order: Order) -> Intake:
        """What reads parts of the sources on one rank; weighted, order : as of `Parser`. Raises UsageError."""
        if self.lines:
            return self.build(store, values, base, limit, weighted, order)
        if weighted or order != "refuse":
            given = "weights=label" if weighted else f"indices={order}"
            raise UsageError(f"`{given}` is about svmlight text, and the sources are read by {self.name}: leave it out")
        return BlockParser(self.build, store, values, base, limit)

    def knows(self, path: Path) -> bool:
        """Whether a file is of this format, by its name or its first bytes. Raises DataError where it cannot be read."""
        if self.suffixes and path.name.endswith(self.suffixes):
            return True
        if not self.magic or not path.is_file():
            return False
        try:
            with path.open("rb") as file:
                return file.read(len(self.magic)) == self.magic
        except OSError as error:
            raise DataError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error


SVMLIGHT = Reader(Parser, "Joachims, Making large-scale SVM learning practical, 1999", name="svmlight", lines=True)
READERS: Registry[Reader] = Registry("reader", (SVMLIGHT,), "mpiopt.readers")


def register(paper: str, *, suffixes: Sequence[str] = (), magic: bytes = b"") -> Callable[[Read], Read]:
    """The decorator that makes a function, path -> iterator of `RowBlock`, known as the reader of its name.

    It is given whole files, each on one rank. suffixes, magic : by which its files are known where no reader is named.
    Raises UsageError for a name that is taken.
    """

    def known(read: Read) -> Read:
        READERS.add(Reader(read, paper, suffixes=tuple(suffixes), magic=magic))
        return read

    return known


def reader_of(name: str | None, sources: Sequence[Path]) -> Reader | None:
    """The reader that is named, or that knows all sources; None where none does. Not collective. Raises UsageError."""
    if name is not None:
        return READERS.find(name)
    found = [next((reader for reader in READERS.all().values() if reader.knows(path)), None) for path in sources]
    if len(set(map(id, found))) > 1:
        told = ", ".join(
            f"{path} is {'not known' if one is None else one.name}" for path, one in zip(sources, found, strict=True)
        )
        raise UsageError(f"the sources are of different formats: {told}; convert them one after the other, or name the reader")
    return found[0]
