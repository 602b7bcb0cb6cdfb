"""A source of rows: a data set on disk or a generator, of which every rank reads only its own part."""

from pathlib import Path
from typing import Literal, NamedTuple, Protocol

import numpy as np

from mpiopt.comm.world import World
from mpiopt.io.dataset.labels import Labels
from mpiopt.io.dataset.sparse_rows import SparseRows
from mpiopt.kernels.csr import CSR


class RowSource(Protocol):
    """Rows with labels, whatever a row is. Nothing but opening one is collective."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def content(self) -> str:
        """The same for the same rows, and for no others."""

    @property
    def rows(self) -> int:
        """How many there are."""

    @property
    def labels(self) -> Labels:
        """The labels of all rows."""

    def blocks(self, workers: int) -> np.ndarray:
        """Row bounds (workers + 1,) int64 of contiguous blocks that are about equally much work; blocks may be empty."""


class Source(RowSource, Protocol):
    """Sparse rows; blocks have about equally many nonzeros."""

    @property
    def cols(self) -> int:
        """How many features there are."""

    @property
    def nnz(self) -> int:
        """Stored entries of all rows."""

    @property
    def values(self) -> Literal["float32", "float64"]:
        """As what they are stored."""

    def read(self, lo: int, hi: int, dtype: np.typing.DTypeLike | None = None) -> SparseRows:
        """Rows lo <= i < hi with values of ``dtype``.

        dtype : float32 or float64; None for the values as they are stored. Holds nothing beyond what it
        returns and a few chunks. Raises DataError.
        """


class Share(NamedTuple):
    """One worker's rows: lo <= i < hi of the whole, raw labels, weights and offsets (hi - lo,) float64."""

    lo: int
    hi: int
    matrix: CSR
    labels: np.ndarray
    weight: np.ndarray | None
    offset: np.ndarray | None = None


def shares(source: Source, world: World, dtype: np.typing.DTypeLike | None = None) -> list[Share]:
    """The rows of every worker that this rank hosts, in worker order; a block may be empty.

    Collective: a share that one rank cannot read raises the same DataError on every rank.
    """
    bounds = source.blocks(world.workers)
    with world.together(f"reading {source.name}"):
        return [_share(source, int(bounds[w]), int(bounds[w + 1]), dtype) for w in world.hosted]


def _share(source: Source, lo: int, hi: int, dtype: np.typing.DTypeLike | None) -> Share:
    return Share(lo, hi, *source.read(lo, hi, dtype))


def open_source(name: str | Path, world: World) -> Source:
    """The source called ``name``: DATA.h5, or a generator such as "default" or "rcv1:rows=60000,seed=3".

    Collective. Raises UsageError for an unknown name, DataError for a file that cannot be used, on every rank.
    """
    from mpiopt.io.dataset.reading import Dataset
    from mpiopt.io.dataset.synthetic import PRESETS, from_spec

    if str(name).partition(":")[0] in PRESETS:
        return from_spec(str(name))
    return Dataset.open(name, world)
