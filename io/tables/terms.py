"""The features of one column, under numbers that a rank gives them until all ranks agree on others."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from mpiopt.errors import DataError
from mpiopt.io.dataset.recipe import FeatureColumn
from mpiopt.io.tables.hashing import Seen, places


class Terms(ABC):
    """Where the values of a column go, and what to multiply them by; -1 for nowhere."""

    def __init__(self, column: FeatureColumn) -> None:
        self.column = column
        self.missing = 0  # values so far
        self.dropped = 0  # entries of categories that a training set does not have

    @abstractmethod
    def number(self) -> tuple[int, float]:
        """The feature of a number, and what to multiply it by."""

    @abstractmethod
    def absent(self) -> tuple[int, float]:
        """The same of a missing value."""

    @abstractmethod
    def categories(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Those of categories, or of places in a list, (n,) each; -1 for one that is not known."""


class GrowingTerms(Terms):
    """Of a training set: what was not seen yet has the next number. numbers : shared by the columns; most : categories."""

    def __init__(self, column: FeatureColumn, numbers: Iterator[int], most: int) -> None:
        super().__init__(column)
        self.found: dict[str, int] = {}
        self.most, self._numbers = most, numbers
        self.own, self._absent = next(numbers), next(numbers)

    def number(self) -> tuple[int, float]:
        """See `Terms`."""
        return self.own, 1.0

    def absent(self) -> tuple[int, float]:
        """See `Terms`."""
        return self._absent, 1.0

    def categories(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Terms`. Raises DataError for more than ``most``."""
        found, numbers = self.found, self._numbers
        known = [found.get(text, -1) for text in texts]
        features = np.array(known, np.int64)
        for k in np.flatnonzero(features < 0).tolist():
            features[k] = found[texts[k]] = next(numbers)
        if len(found) > self.most:
            raise DataError(too_many(self.column.name, len(found), self.most))
        return features, np.ones(len(texts))


class KnownTerms(Terms):
    """Of a set that is made like another, whose feature names are given."""

    def __init__(self, column: FeatureColumn, names: tuple[str, ...]) -> None:
        super().__init__(column)
        keys = column.keys(names) if column.kind != "number" else []
        self._known = {key: column.first + k for k, key in enumerate(keys)}

    def number(self) -> tuple[int, float]:
        """See `Terms`."""
        return self.column.first, 1.0

    def absent(self) -> tuple[int, float]:
        """See `Terms`."""
        return (self.column.first + self.column.count - 1 if self.column.indicator else -1), 1.0

    def categories(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Terms`."""
        return np.array([self._known.get(text, -1) for text in texts], np.int64), np.ones(len(texts))


class HashedTerms(Terms):
    """By the hashes of names among so many features."""

    def __init__(self, column: FeatureColumn, cols: int, seen: Seen) -> None:
        super().__init__(column)
        self._cols, self._seen = cols, seen

    def number(self) -> tuple[int, float]:
        """See `Terms`."""
        return self._one(self.column.name)

    def absent(self) -> tuple[int, float]:
        """See `Terms`."""
        return self._one(self.column.absent)

    def categories(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Terms`."""
        found = places(self.column.called(texts), self._cols)
        self._seen.add(found.keys)
        return found.features.astype(np.int64), found.signs

    def _one(self, name: str) -> tuple[int, float]:
        found = places([name], self._cols)
        self._seen.add(found.keys)
        return int(found.features[0]), float(found.signs[0])


def too_many(column: str, found: int, most: int) -> str:
    """What is said of a column with too many categories."""
    return (
        f"the column {column!r} has {found:,} categories or more, and `vocabulary={most}` is the most: allow more, leave "
        "it out, or hash (`hash=2**22`)"
    )
