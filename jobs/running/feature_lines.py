"""Files that say something of features, one a line: FEATURE,WORD or FEATURE WORD, and comments behind #."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mpiopt.errors import DataError


class FeatureLine(NamedTuple):
    """A line: its number, as it stands, and its parts."""

    number: int
    text: str
    feature: str
    word: str


def feature_lines(path: Path) -> Iterator[FeatureLine]:
    """The lines of a file. Raises DataError for one that cannot be read. Not collective."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        feature, _, word = (part.strip() for part in line.rpartition("," if "," in line else " "))
        if line.strip() and not line.lstrip().startswith("#"):
            yield FeatureLine(number, line.strip()[:40], feature, word)
