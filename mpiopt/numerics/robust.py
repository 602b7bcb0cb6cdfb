"""Middles of many vectors that a few wild ones cannot lead away. Pure; the vectors are rows.

median              of every coordinate                                            Yin, Chen, Kannan, Bartlett 2018
trimmed:0.2         mean of every coordinate without that share at either end      the same
clipped:radius=1    v + mean of the rows less v, each cut to a length              Karimireddy, He, Jaggi 2021
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.registry.entry import Spelt
from mpiopt.registry.registry import Registry

Lengths = Callable[[np.ndarray], np.ndarray]  # parts of some squared lengths (n,) -> the lengths of the whole vectors (n,)


class Middle(Protocol):
    """A rule. Its vectors may be parts of longer ones; lengths are then those of the whole."""

    def __call__(self, rows: np.ndarray, last: np.ndarray, lengths: Lengths) -> np.ndarray:
        """The middle (d,) of rows (n, d); last (d,) : the one before. Raises UsageError for too few rows."""


@dataclass(frozen=True)
class Median:
    """The median of every coordinate.

    Of an even number of rows the mean of the two in the middle.
    """

    def __call__(self, rows: np.ndarray, last: np.ndarray, lengths: Lengths) -> np.ndarray:
        """See `Middle`."""
        return np.median(rows, axis=0).astype(rows.dtype, copy=False)


@dataclass(frozen=True)
class Trimmed:
    """The mean without the largest and smallest.

    Of every coordinate by itself; without ``share`` n numbers at either end, rounded down. Raises UsageError.
    """

    share: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.share < 0.5:
            raise UsageError(f"the share that is trimmed at either end is {self.share:g}: give one of at least 0 and below 0.5")

    def __call__(self, rows: np.ndarray, last: np.ndarray, lengths: Lengths) -> np.ndarray:
        """See `Middle`."""
        cut = int(self.share * len(rows) + 1e-9)
        return np.sort(rows, axis=0)[cut : len(rows) - cut].mean(axis=0).astype(rows.dtype, copy=False)


@dataclass(frozen=True)
class Clipped:
    """Centred clipping about the last middle.

    So many times v + mean of (x - v) min(1, radius / |x - v|). Raises UsageError.
    """

    radius: float = 1.0
    times: int = 3

    def __post_init__(self) -> None:
        if not self.radius > 0 or self.times < 1:
            raise UsageError(
                f"clipping to {self.radius:g}, {self.times} times, is not possible: give a radius above 0, once at least"
            )

    def __call__(self, rows: np.ndarray, last: np.ndarray, lengths: Lengths) -> np.ndarray:
        """See `Middle`."""
        v = last
        for _ in range(self.times):
            apart = rows - v
            far = lengths((apart.astype(np.float64) ** 2).sum(axis=1))
            shrink = np.minimum(1.0, self.radius / np.maximum(far, np.finfo(np.float64).tiny))
            v = v + (apart * shrink[:, None]).mean(axis=0).astype(rows.dtype)
        return v


_HISTORY = "Karimireddy, He, Jaggi, Learning from history for Byzantine robust optimization, ICML 2021"
_YIN = "Yin, Chen, Kannan, Bartlett, Byzantine-robust distributed learning, ICML 2018"
MIDDLES: Registry[Spelt] = Registry(
    "middle",
    (
        Spelt(Median, _YIN, name="median"),
        Spelt(Trimmed, _YIN, "share", name="trimmed"),
        Spelt(
            Clipped,
            _HISTORY,
            "radius",
            name="clipped",
        ),
    ),
)


def middle(text: str) -> Middle:
    """The rule that a text describes, as trimmed:0.2. Raises UsageError."""
    head, _, rest = text.strip().partition(":")
    return MIDDLES.find(head).spelt(rest)
