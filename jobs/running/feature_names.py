"""What the features of a source are called, and which one a text means."""

from collections.abc import Sequence
from typing import NamedTuple

from mpiopt.errors import UsageError
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.source import Source
from mpiopt.io.runs.coefficients import INTERCEPT


class FeatureNames(NamedTuple):
    """names : of all, empty for numbers from ``base`` on."""

    names: Sequence[str]
    base: int
    total: int

    @staticmethod
    def of(source: Source) -> "FeatureNames":
        """Those of a source."""
        index = source.index if isinstance(source, Dataset) else None
        base = 1 if index is None or index.numbering is None else index.numbering.base
        return FeatureNames(() if index is None else index.made.called or (), base, source.cols)

    def name(self, coordinate: int) -> str:
        """What a coefficient is called, by its place; the intercept's is behind all features."""
        if coordinate == self.total:
            return INTERCEPT
        return self.names[coordinate] if self.names else str(coordinate + self.base)

    def place(self, text: str, what: str) -> int:
        """The place of a feature. Raises UsageError, which says ``what`` it was wanted for."""
        if text in self.names:
            return self.names.index(text)
        if not self.names and text.isdecimal() and 0 <= int(text) - self.base < self.total:
            return int(text) - self.base
        known = "a name of the data set" if self.names else f"a number from {self.base} to {self.total - 1 + self.base:,}"
        raise UsageError(f"there is no feature {text} to make {what} of: give {known}")
