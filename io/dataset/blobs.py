"""Seeded Gaussian blobs, made row by row: any rank makes any block for itself, the same for any rank count."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.comm.blocks import even
from mpiopt.errors import UsageError
from mpiopt.io.dataset.dense_row import Item
from mpiopt.io.dataset.labels import Labels
from mpiopt.io.dataset.synthetic import named
from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.hashing import draw, mix, unit

_CENTRES = np.uint64(1 << 56)  # apart from every row


@dataclass(frozen=True, kw_only=True)
class Blobs:
    """Dense rows of ``classes`` normal distributions, a `DenseSource` that needs no file and no communication.

    rows, features, classes : sizes; classes are equally frequent. spread : standard deviation of a row about its class's
    centre; centres have standard normal coordinates. first : rows before this one are left out, so that
    first=TRAINING ROWS makes a test set of the same classes. seed : everything follows from it.
    """

    kind: ClassVar[str] = "blobs"
    rows: int = 2000
    features: int = 20
    classes: int = 3
    spread: float = 2.0
    first: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {
            "rows": self.rows >= 1,
            "features": 1 <= self.features < 2**31,
            "classes": 2 <= self.classes < 2**31,
            "spread": 0 <= self.spread < np.inf,
            "first": self.first >= 0,
        }
        for field, fine in limits.items():
            if not fine:
                raise UsageError(
                    f"blobs with {field}={getattr(self, field)} cannot be made: there are at least 1 row and "
                    "feature, 2 classes, and spread and first are at least 0"
                )

    @property
    def name(self) -> str:
        """The specification that `open_dense` reads back."""
        return named(self, Blobs())

    @property
    def content(self) -> str:
        """The specification makes the rows."""
        return self.name

    @property
    def item(self) -> Item:
        """Plain floats."""
        return Item(shape=(self.features,))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return (self.features,)

    @property
    def labels(self) -> Labels:
        """0 to classes - 1, not counted."""
        return Labels(None, None, 0.0, self.classes - 1.0, float("nan"))

    def blocks(self, workers: int) -> np.ndarray:
        """See `DenseSource.blocks`."""
        return even(self.rows, workers)

    def read(self, lo: int, hi: int, dtype=np.float32) -> tuple[np.ndarray, np.ndarray]:
        """See `DenseSource.read`."""
        x, y = np.empty((hi - lo, self.features), dtype or np.float32), np.empty(hi - lo, np.int64)
        _fill(np.uint64(self.seed & 0xFFFFFFFFFFFFFFFF), self.first + lo, x, y, self.classes, self.spread)
        return x, y


@njit(cache=True, inline="always")
def _normal(stream, j):
    """The j-th standard normal number of a stream (Box and Muller, 1958)."""
    radius, angle = unit(draw(stream, np.uint64(2 * j))), unit(draw(stream, np.uint64(2 * j + 1)))
    return np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * angle)


@njit(cache=True, nogil=True)
def _fill(key, lo, x, y, classes, spread):
    """Fill the rows from ``lo`` on and their classes."""
    centres, noise = mix(key ^ _CENTRES), mix(key)
    for i in range(y.size):
        stream = mix(noise + np.uint64(lo + i))
        y[i] = np.int64(unit(draw(stream, np.uint64(0xFFFFFFFF))) * classes)
        centre = mix(centres + np.uint64(y[i]))
        for j in range(x.shape[1]):
            x[i, j] = _normal(centre, j) + spread * _normal(stream, j)
