"""Laws of noise on rows, and the radius that a probability of the winning class certifies.

gaussian:0.12      x + e, e normal in every value                    sigma Phi^-1(p), Euclidean
rotation:10        by an angle, uniform within so many degrees       lambda (2 p - 1), degrees
translation:2      by so many pixels, uniform in both directions     lambda (2 p - 1), pixels, l1
scaling:0.2        by a factor from 1 - lambda to 1 + lambda         lambda (2 p - 1)

Cohen, Rosenfeld, Kolter, Certified adversarial robustness via randomized smoothing, ICML 2019, theorem 1; uniform: Yang, Duan,
Hu, Salman, Razenshteyn, Li, Randomized smoothing of all shapes and sizes, ICML 2020, and for parameters of deformations
Alfarra, Bibi, Khan, Torr, Ghanem, DeformRS, AAAI 2022.
"""

from dataclasses import dataclass
from math import inf
from typing import Protocol

import numpy as np
from scipy.special import ndtri

from mpiopt.errors import UsageError
from mpiopt.registry.entry import Spelt
from mpiopt.registry.registry import Registry


class NoiseLaw(Protocol):
    """A law of noise. Not collective."""

    def shaken(self, x: np.ndarray, stream: np.random.Generator) -> np.ndarray:
        """Rows x (b, *shape), each under a draw of its own: a new array of that type. Raises UsageError for no images."""

    def radius(self, p: float) -> float:
        """How far an input may move while a class of probability p > 1/2 stays the likeliest; 0 for p <= 1/2."""


@dataclass(frozen=True)
class Gaussian:
    """Independent normal noise in every value.

    sigma : its standard deviation. Raises UsageError unless sigma > 0.
    """

    sigma: float = 0.12

    def __post_init__(self) -> None:
        _demand("sigma", self.sigma, inf)

    def shaken(self, x: np.ndarray, stream: np.random.Generator) -> np.ndarray:
        """x + sigma e."""
        return x + x.dtype.type(self.sigma) * stream.standard_normal(x.shape, np.float32).astype(x.dtype, copy=False)

    def radius(self, p: float) -> float:
        """sigma Phi^-1(p)."""
        return max(0.0, self.sigma * float(ndtri(p))) if p > 0 else 0.0


@dataclass(frozen=True)
class Uniform:
    """A deformation of images whose parameter is uniform in [-most, most]."""

    most: float

    def __post_init__(self) -> None:
        _demand(f"the largest {type(self).__name__.lower()}", self.most, self.bound)

    @property
    def bound(self) -> float:
        """What ``most`` has to be below."""
        return inf

    def radius(self, p: float) -> float:
        """most (2 p - 1)."""
        return max(0.0, self.most * (2 * p - 1))

    def _draws(self, count: int, stream: np.random.Generator) -> np.ndarray:
        return stream.uniform(-self.most, self.most, count)


@dataclass(frozen=True)
class Rotation(Uniform):
    """A turn about the middle, in degrees.

    Raises UsageError unless the largest is above 0 and at most 180.
    """

    most: float = 10.0

    @property
    def bound(self) -> float:
        """Half a turn, and a little."""
        return np.nextafter(180.0, inf)

    def shaken(self, x: np.ndarray, stream: np.random.Generator) -> np.ndarray:
        """See `NoiseLaw`."""
        angles = np.radians(self._draws(len(x), stream))
        cos, sin = np.cos(angles), np.sin(angles)
        return warped(x, np.moveaxis(np.array([[cos, -sin], [sin, cos]]), 2, 0), np.zeros((len(x), 2)))


@dataclass(frozen=True)
class Translation(Uniform):
    """A shift in both directions, in pixels.

    Raises UsageError unless the largest is above 0.
    """

    most: float = 2.0

    def shaken(self, x: np.ndarray, stream: np.random.Generator) -> np.ndarray:
        """See `NoiseLaw`."""
        return warped(x, np.tile(np.eye(2), (len(x), 1, 1)), self._draws(2 * len(x), stream).reshape(-1, 2))


@dataclass(frozen=True)
class Scaling(Uniform):
    """A change of size about the middle.

    Raises UsageError unless the largest is above 0 and below 1.
    """

    most: float = 0.2

    @property
    def bound(self) -> float:
        """1: no image is turned inside out."""
        return 1.0

    def shaken(self, x: np.ndarray, stream: np.random.Generator) -> np.ndarray:
        """See `NoiseLaw`."""
        factors = 1 / (1 + self._draws(len(x), stream))
        return warped(x, factors[:, None, None] * np.eye(2), np.zeros((len(x), 2)))


def warped(x: np.ndarray, turns: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Images (b, h, w) or (b, h, w, colours), seen at turns (b, 2, 2) (u - middle) + middle - shifts (b, 2) of their pixels u.

    Bilinear, 0 outside. Raises UsageError for rows that are no images.
    """
    if x.ndim not in (3, 4):
        raise UsageError(f"rows of shape {x.shape[1:]} cannot be turned or shifted: give images, or take gaussian noise")
    h, w = x.shape[1:3]
    middle = np.array([(h - 1) / 2, (w - 1) / 2])
    grid = np.stack(np.meshgrid(np.arange(h), np.arange(w), indexing="ij"), axis=-1).reshape(-1, 2) - middle
    at = np.einsum("bij,pj->bpi", turns, grid) + (middle - shifts[:, None, :])
    low = np.floor(at).astype(np.int64)
    part, out = at - low, np.zeros((len(x), h * w, *x.shape[3:]), np.float64)
    for corner in np.ndindex(2, 2):
        place = low + corner
        weight = np.abs(1 - np.array(corner) - part).prod(axis=2) * ((place >= 0) & (place < (h, w))).all(axis=2)
        place = np.clip(place, 0, (h - 1, w - 1))
        values = x[np.arange(len(x))[:, None], place[..., 0], place[..., 1]]
        out += values * (weight if x.ndim == 3 else weight[..., None])
    return out.reshape(x.shape).astype(x.dtype)


def _demand(what: str, value: float, below: float) -> None:
    if not 0 < value < below:
        raise UsageError(f"{what} is {value:g}: give a number above 0" + (f" and below {below:g}" if below < inf else ""))


_DEFORM = "Alfarra, Bibi, Khan, Torr, Ghanem, DeformRS, AAAI 2022"
NOISES: Registry[Spelt] = Registry(
    "noise",
    (
        Spelt(Gaussian, "Cohen, Rosenfeld, Kolter, Certified adversarial robustness, ICML 2019", "sigma", name="gaussian"),
        Spelt(Rotation, _DEFORM, "most", name="rotation"),
        Spelt(Translation, _DEFORM, "most", name="translation"),
        Spelt(Scaling, _DEFORM, "most", name="scaling"),
    ),
)


def noise(text: str) -> NoiseLaw:
    """The law that a text describes, as gaussian:0.12. Raises UsageError."""
    head, _, rest = text.strip().partition(":")
    return NOISES.find(head).spelt(rest)
