"""A rank's GPU, and dense rows for models there: scaled once and kept, or, where they leave no room, sent by batches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.world import World
from mpiopt.kernels.device.launch import choose_device, free_bytes, library
from mpiopt.problems.examples import Dense, Flat

PIECE = 1 << 26  # bytes of rows that are scaled at once on their way
PART = 0.5  # of the free memory that one set of rows may take


def take_card(world: World) -> int:
    """Choose this rank's GPU by its place on the node. Collective. Raises UsageError, the same on every rank."""
    node = world.by_node()
    place = node.rank
    node.free()
    with world.together("choosing a GPU"):
        return choose_device(place)


@dataclass(frozen=True, eq=False)
class Sent:
    """Rows in the memory of the CPU, of which each batch goes to the GPU; a `Flat`."""

    data: Dense

    @property
    def rows(self) -> int:
        """Rows of this worker."""
        return self.data.rows

    @property
    def features(self) -> int:
        """Values in one row."""
        return self.data.features

    @property
    def y(self) -> np.ndarray:
        """The answers, in the memory of the CPU."""
        return self.data.y

    def flat(self, rows: slice | Array, dtype: np.dtype) -> tuple[Array, Array]:
        """See `Flat.flat`."""
        place = library().asarray
        x, y = self.data.flat(rows, dtype)
        return place(x), place(y)

    def flawed(self) -> int | None:
        """See `Flat.flawed`."""
        return self.data.flawed()


def on_device(sets: Sequence[Dense], sharing: int = 1, dtype: np.typing.DTypeLike = np.float32) -> list[Flat]:
    """The sets on the current GPU, their rows as vectors of ``dtype``; rows that several have in common once.

    sharing : processes that fill this GPU at the same time. A set that takes more than PART of this one's part of the free
    memory becomes `Sent`. Not collective. Raises UsageError without a GPU.
    """
    found: dict[int, Flat] = {}
    dtype = np.dtype(dtype)
    for data in sets:
        if id(data.x) not in found:
            size = dtype.itemsize * data.rows * data.features + data.y.nbytes
            found[id(data.x)] = _kept(data, dtype) if size <= PART * free_bytes() / sharing else Sent(data)
    return [found[id(data.x)] for data in sets]


def _kept(data: Dense, dtype: np.dtype) -> Dense:
    xp = library()
    x = xp.empty((data.rows, data.features), dtype)
    step = max(1, PIECE // max(1, x.itemsize * data.features))
    for lo in range(0, data.rows, step):
        x[lo : lo + step] = xp.asarray(data.flat(slice(lo, min(lo + step, data.rows)), dtype)[0])
    return Dense(x, xp.asarray(data.y))
