"""Which rows each worker has, by their classes or as to their number: data that differ from client to client.

dirichlet:0.3     of every class shares drawn from Dirichlet(0.3): the smaller, the fewer classes has a worker
classes:2         rows of so many classes each, every class cut into as many pieces as workers have it
sizes:1           rows of any class, but worker k has 1 / (k + 1)^1 of the rows of the first
column:3          by the values of feature 3, from 0 on, such as the number of a client: rows of one value are of one worker

Hsu, Qi, Brown, Measuring the effects of non-identical data distribution for federated visual classification, 2019; by class:
McMahan, Moore, Ramage, Hampson, Aguera y Arcas, Communication-efficient learning of deep networks, AISTATS 2017, section 3.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.numerics.streams import Streams
from mpiopt.registry.entry import Spelt
from mpiopt.registry.registry import Registry

TRIES = 1000


class Split(Protocol):
    """A law by which rows are shared out. Pure: equal arguments give equal shares on every rank."""

    def looks_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """What it looks at of rows x (b, *shape) with class numbers y (b,): one number a row; the class unless it says so."""
        return y

    def __call__(self, y: np.ndarray, workers: int, least: int, streams: Streams) -> list[np.ndarray]:
        """The rows of every worker, ascending, from what it looks at, y (rows,) of all; at least ``least`` each.

        Raises UsageError where that cannot be.
        """


@dataclass(frozen=True)
class Dirichlet(Split):
    """Of every class unequal shares, drawn at random.

    Raises UsageError unless the concentration is above 0.
    """

    concentration: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.concentration < np.inf:
            raise UsageError(f"the concentration of dirichlet is {self.concentration:g}: give a number above 0, as 0.3")

    def __call__(self, y: np.ndarray, workers: int, least: int, streams: Streams) -> list[np.ndarray]:
        """See `Split`; drawn anew until all have enough."""
        for attempt in range(TRIES):
            stream, parts = streams("split", attempt), [np.zeros(0, np.int64)] * workers
            for own in (np.flatnonzero(y == c) for c in np.unique(y)):
                cuts = np.cumsum(stream.dirichlet(np.full(workers, self.concentration)))[:-1] * len(own)
                pieces = np.split(stream.permutation(own), np.rint(cuts).astype(np.int64))
                parts = [np.append(part, piece) for part, piece in zip(parts, pieces, strict=True)]
            if min(map(len, parts)) >= least:
                return [np.sort(part) for part in parts]
        raise UsageError(
            f"dirichlet:{self.concentration:g} left one of {workers} workers with fewer than {least} rows in each of {TRIES} "
            "draws: give a larger number, fewer workers, or smaller batches"
        )


@dataclass(frozen=True)
class ByClass(Split):
    """Rows of ``count`` classes each.

    In a random order of classes worker 0 has the first, worker 1 the next, and so on in a circle. Raises UsageError.
    """

    count: int = 2

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UsageError(f"the number of classes of a worker is {self.count}: give at least 1")

    def __call__(self, y: np.ndarray, workers: int, least: int, streams: Streams) -> list[np.ndarray]:
        """See `Split`."""
        kinds, stream = np.unique(y), streams("split")
        if self.count > len(kinds) or workers * self.count < len(kinds):
            raise UsageError(
                f"classes:{self.count} cannot share out {len(kinds)} classes among {workers} workers: give "
                f"{-(-len(kinds) // workers)} to {len(kinds)}"
            )
        order = stream.permutation(kinds)
        takers: list[list[int]] = [[] for _ in kinds]
        for place in range(workers * self.count):
            takers[place % len(kinds)].append(place // self.count)
        parts = [np.zeros(0, np.int64)] * workers
        for kind, whose in zip(order, takers, strict=True):
            pieces = np.array_split(stream.permutation(np.flatnonzero(y == kind)), len(whose))
            for worker, piece in zip(whose, pieces, strict=True):
                parts[worker] = np.append(parts[worker], piece)
        if min(map(len, parts)) < least:
            raise UsageError(
                f"classes:{self.count} leaves one of {workers} workers with fewer than {least} rows: give smaller batches, "
                "fewer workers, or more classes each"
            )
        return [np.sort(part) for part in parts]


@dataclass(frozen=True)
class BySize(Split):
    """Shares of unlike size, drawn from all rows alike: worker k has 1 / (k + 1)^power of the rows of worker 0.

    A law of ours: the papers have sizes as their data sets do. Raises UsageError unless 0 <= power < infinity.
    """

    power: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.power < np.inf:
            raise UsageError(f"the power of sizes is {self.power:g}: give a number of at least 0, as 1")

    def __call__(self, y: np.ndarray, workers: int, least: int, streams: Streams) -> list[np.ndarray]:
        """See `Split`."""
        parts = np.arange(1, workers + 1, dtype=np.float64) ** -self.power
        cuts = np.rint(np.cumsum(parts / parts.sum())[:-1] * len(y)).astype(np.int64)
        found = np.split(streams("split").permutation(len(y)), cuts)
        if min(map(len, found)) < least:
            raise UsageError(
                f"sizes:{self.power:g} leaves one of {workers} workers with fewer than {least} rows: give a smaller number, "
                "fewer workers, or smaller batches"
            )
        return [np.sort(part) for part in found]


@dataclass(frozen=True)
class ByColumn(Split):
    """Rows by the values of a feature, counted from 0: the commonest value first, each to the worker with the fewest rows.

    A law of ours. The feature stays among those that a model sees. Raises UsageError unless column >= 0.
    """

    column: int = 0

    def __post_init__(self) -> None:
        if self.column < 0:
            raise UsageError(f"the column of a split is {self.column}: give the number of a feature, from 0 on")

    def looks_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See `Split`. Raises UsageError where rows have no such feature."""
        flat = x.reshape(len(x), int(np.prod(x.shape[1:])))
        if self.column >= flat.shape[1]:
            raise UsageError(
                f"column:{self.column} is none of the {flat.shape[1]} features of a row, from 0 on: give one of them"
            )
        return flat[:, self.column]

    def __call__(self, y: np.ndarray, workers: int, least: int, streams: Streams) -> list[np.ndarray]:
        """See `Split`."""
        _, kinds, counts = np.unique(y, return_inverse=True, return_counts=True)
        if len(counts) < workers:
            raise UsageError(
                f"column:{self.column} has {len(counts)} values, which cannot be shared out among {workers} workers"
            )
        loads, whose = np.zeros(workers), np.zeros(len(counts), np.int64)
        for kind in np.argsort(-counts, kind="stable"):
            whose[kind] = loads.argmin()
            loads[whose[kind]] += counts[kind]
        if loads.min() < least:
            raise UsageError(
                f"column:{self.column} leaves one of {workers} workers with fewer than {least} rows: give smaller batches or "
                "fewer workers"
            )
        return [np.flatnonzero(whose[kinds] == worker) for worker in range(workers)]


SPLITS: Registry[Spelt] = Registry(
    "split",
    (
        Spelt(
            Dirichlet, "Hsu, Qi, Brown, Measuring the effects of non-identical data, 2019", "concentration", name="dirichlet"
        ),
        Spelt(ByClass, "McMahan, Moore, Ramage, Hampson, Aguera y Arcas, AISTATS 2017", "count", name="classes"),
        Spelt(BySize, "-", "power", name="sizes"),
        Spelt(ByColumn, "-", "column", name="column"),
    ),
)


def split(text: str) -> Split:
    """The law that a text describes, as dirichlet:0.3. Raises UsageError."""
    head, _, rest = text.strip().partition(":")
    return SPLITS.find(head).spelt(rest)
