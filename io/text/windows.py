"""Text as rows of tokens: windows of a block and the token after it, one after the other, as a `Pack` of dense rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mpiopt.errors import DataError
from mpiopt.io.images.sources import BLOCK as BYTES
from mpiopt.io.images.sources import stream
from mpiopt.io.text.vocabulary import Lexicon


def read_text(path: Path) -> str:
    """A text in UTF-8, plain or compressed. Raises DataError."""
    with stream(path) as file:
        content = file.read()
    try:
        return content.decode()
    except UnicodeDecodeError as fault:
        raise DataError(f"{path} is no text in UTF-8, from byte {fault.start:,} on: convert it first") from fault


@dataclass(frozen=True)
class TokenWindows:
    """Windows of one text, which is read whole by every rank. rows : all that are full; what is left over is left out."""

    path: Path
    vocabulary: Lexicon
    block: int

    @cached_property
    def _tokens(self) -> np.ndarray:
        return self.vocabulary.encoded(read_text(self.path), str(self.path))

    @cached_property
    def rows(self) -> int:
        """Of block tokens each, and one more."""
        return max(0, (len(self._tokens) - 1) // self.block)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return (self.block + 1,)

    @property
    def stored(self) -> str:
        """The type of the tokens."""
        return self.vocabulary.stored

    @property
    def files(self) -> tuple[Path, ...]:
        """The text."""
        return (self.path,)

    def blocks(self, lo: int, hi: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `Pack.blocks`; all have the class 0."""
        step = max(1, BYTES // (self.block + 1))
        for first in range(lo, hi, step):
            starts = np.arange(first, min(first + step, hi)) * self.block
            yield self._tokens[starts[:, None] + np.arange(self.block + 1)], np.zeros(len(starts), np.int32)
