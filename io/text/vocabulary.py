"""Text as numbers of tokens: characters, bytes, or pieces of a list of one's own.

characters   every character that occurs, in their order in Unicode
bytes        0 to 255, of UTF-8: takes any text
FILE         a piece a line, as JSON writes a text ("the", "\\n"): the longest that fits is taken, from left to right
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from mpiopt.errors import DataError, UsageError

MOST = 1 << 20  # pieces


@dataclass(frozen=True)
class Lexicon:
    """What the numbers of tokens stand for. pieces : () for bytes."""

    kind: Literal["characters", "bytes", "pieces"]
    pieces: tuple[str, ...] = ()

    def __len__(self) -> int:
        return 256 if self.kind == "bytes" else len(self.pieces)

    @property
    def stored(self) -> str:
        """The least type that holds the numbers."""
        return "uint8" if len(self) <= 1 << 8 else "uint16" if len(self) <= 1 << 16 else "int32"

    def encoded(self, text: str, named: str) -> np.ndarray:
        """The tokens of a text, of type `stored`. Raises DataError for what there is no token for; ``named`` : whose text."""
        if self.kind == "bytes":
            return np.frombuffer(text.encode(), np.uint8)
        numbers = self._numbers
        found = text if self.kind == "characters" else self._longest.findall(text)
        try:
            return np.fromiter((numbers[piece] for piece in found), self.stored)
        except KeyError as fault:
            raise DataError(
                f"{named} has {fault.args[0]!r}, for which there is no token: divide text into bytes, or add a piece for it"
            ) from None

    def decoded(self, tokens: np.ndarray) -> str:
        """The text of tokens (n,); bytes that are no character become a mark."""
        if self.kind == "bytes":
            return tokens.astype(np.uint8).tobytes().decode(errors="replace")
        return "".join(self.pieces[token] for token in tokens.tolist())

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {piece: number for number, piece in enumerate(self.pieces)}

    @cached_property
    def _longest(self) -> re.Pattern[str]:
        """The longest piece that fits, or any character where none does."""
        ordered = sorted(self.pieces, key=len, reverse=True)
        return re.compile("|".join([*map(re.escape, ordered), "."]), re.DOTALL)

    def text(self) -> str:
        """As JSON."""
        return json.dumps({"kind": self.kind, "pieces": list(self.pieces)})

    @staticmethod
    def read(text: str) -> "Lexicon":
        """From JSON. Raises ValueError."""
        told = json.loads(text)
        if told["kind"] not in ("characters", "bytes", "pieces"):
            raise ValueError(f"its tokens are of the kind {str(told['kind'])[:20]}")
        return Lexicon(told["kind"], tuple(map(str, told["pieces"])))


def vocabulary_of(kind: str, texts: list[str]) -> Lexicon:
    """That of ``characters``, ``bytes``, or of a file of pieces, for these texts. Raises UsageError, DataError."""
    if kind == "bytes":
        return Lexicon("bytes")
    if kind == "characters":
        return _sized(Lexicon("characters", tuple(sorted(set().union(*texts)))), "the text")
    try:
        pieces = tuple(json.loads(line) for line in Path(kind).read_text().splitlines() if line.strip())
    except (OSError, ValueError) as fault:
        raise UsageError(
            f"{kind} is no list of tokens: give characters, bytes, or a file with a piece a line, in JSON"
        ) from fault
    if not all(isinstance(piece, str) and piece for piece in pieces) or len(set(pieces)) < len(pieces):
        raise DataError(f"{kind} has a line that is no text, an empty one, or one twice: give every piece once, in quotes")
    return _sized(Lexicon("pieces", pieces), kind)


def _sized(found: Lexicon, named: str) -> Lexicon:
    if not 2 <= len(found) <= MOST:
        raise DataError(f"{named} has {len(found):,} tokens: 2 to {MOST:,} are possible")
    return found
