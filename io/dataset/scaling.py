"""Moments of features over parsed rows, exact whatever rank has which row, and what scales and means follow from them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from mpiopt.comm.world import World
from mpiopt.kernels.host.fixed_sums import PLACES, add_moments, extremes

Scaling = Literal["none", "max", "std"]


class Stored(Protocol):
    """Some rows, of which the stored entries count."""

    indices: np.ndarray
    data: np.ndarray


@dataclass(frozen=True)
class FeatureMoments:
    """Of features (cols,): how many values are stored, and the largest of them in size.

    total, squares : sums of what values are above the centre, and of its squares.
    """

    count: np.ndarray
    largest: np.ndarray
    centre: np.ndarray
    total: np.ndarray
    squares: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Of the stored values; 0 of none."""
        return self.centre + self.total / np.maximum(self.count, 1)

    def deviation(self, rows: int) -> np.ndarray:
        """The standard deviation over so many rows, zeros included (divided by the rows)."""
        zeros = rows - self.count
        mean = (self.total - zeros * self.centre) / rows
        return np.sqrt(np.maximum((self.squares + zeros * self.centre**2) / rows - mean**2, 0))


def moments(world: World, parts: Callable[[], Iterator[Stored]], cols: int, rows: int) -> FeatureMoments:
    """Those of all ``rows`` rows; NaN does not count. parts : of this rank, which are gone through twice. Collective."""
    least, greatest, count = np.full(cols, np.inf), np.full(cols, -np.inf), np.zeros(cols, np.int64)
    for part in parts():
        extremes(part.indices, part.data, least, greatest, count)
    for low, high in world.tell_all((least, greatest)):
        np.minimum(least, low, out=least)
        np.maximum(greatest, high, out=greatest)
    count = world.total([count])
    least[count == 0], greatest[count == 0] = 0.0, 0.0
    centre = np.where(2 * count > rows, greatest, 0.0)  # near most values, so that little cancels
    exponent = np.frexp(np.maximum(np.abs(least - centre), np.abs(greatest - centre)))[1].astype(np.int64)
    sums = np.zeros((4, cols), np.int64)
    for part in parts():
        add_moments(part.indices, part.data, centre, exponent, sums)
    sums = world.total([sums.reshape(-1)]).reshape(4, cols)
    unit = 2.0**-PLACES
    total, squares = (np.ldexp((sums[k] + sums[k + 1] * unit) * unit, (1 + k // 2) * exponent) for k in (0, 2))
    return FeatureMoments(count, np.maximum(np.abs(least), np.abs(greatest)), centre, total, squares)


def factors(found: FeatureMoments, how: Scaling, rows: int) -> np.ndarray:
    """What the values of each feature are multiplied by, (cols,): 1 where all are 0 or alike."""
    size = found.largest if how == "max" else found.deviation(rows)
    return 1 / np.where(size > 0, size, 1.0)
