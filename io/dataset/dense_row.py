"""One row of a dense data set: its shape, how it is stored, and how stored values become numbers to learn from."""

from dataclasses import dataclass
from math import prod

import h5py
import numpy as np

from mpiopt.io.disk.foreign_hdf5 import FLOAT, attribute, column, group
from mpiopt.io.text.vocabulary import Lexicon


@dataclass(frozen=True, kw_only=True)
class Item:
    """What all rows of a dense set have in common.

    shape : of one row, such as (28, 28), (32, 32, 3) with the colours last, or (20,). stored : type of the values in the
    file. scale : what they are divided by when read, 255 for pixels. mean, std : what is then taken off and divided by, one
    number for each of `channels`; None to leave the values as they are. vocabulary : of rows that are tokens of text.
    """

    shape: tuple[int, ...]
    stored: str = "float32"
    scale: float = 1.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    vocabulary: Lexicon | None = None

    @property
    def size(self) -> int:
        """Values in one row."""
        return prod(self.shape)

    @property
    def channels(self) -> int:
        """How many means there are: one a colour of (height, width, colours), one a feature of floats, else one in all."""
        each = len(self.shape) == 3 or (len(self.shape) == 1 and self.stored != "uint8")
        return self.shape[-1] if each else 1

    def text(self) -> str:
        """The shape in a few words: ``28 x 28`` or ``20 features`` or ``128 + 1 tokens of 65 characters``."""
        if self.vocabulary is not None:
            return f"{self.size - 1} + 1 tokens of {len(self.vocabulary):,} {self.vocabulary.kind}"
        return " x ".join(map(str, self.shape)) if len(self.shape) > 1 else f"{self.size} features"

    def scaled(self, x: np.ndarray, dtype=np.float32) -> np.ndarray:
        """Stored rows x : (n, *shape) as (x / scale - mean) / std, a new array of ``dtype``, and of x's shape."""
        out = np.empty(x.shape, dtype)
        self.scale_into(x, out)
        return out

    def scale_into(self, x: np.ndarray, out: np.ndarray) -> None:
        """As `scaled`, into ``out`` : (n, *shape), contiguous, perhaps x itself."""
        rows, stored = out.reshape(len(out), self.size), x.reshape(len(x), self.size)
        np.divide(stored, out.dtype.type(self.scale), out=rows, dtype=out.dtype)
        if self.mean is not None and self.std is not None:
            rows -= self._spread(self.mean, out.dtype)
            rows /= self._spread(self.std, out.dtype)

    def _spread(self, values: tuple[float, ...], dtype: np.dtype) -> np.ndarray:
        """One value for each of the row's: numpy is slow to repeat a few along the last axis."""
        return np.tile(np.array(values, dtype), self.size // len(values))

    def write(self, place: h5py.Group) -> None:
        """Put it into a group. Raises OSError."""
        place.attrs.update(shape=np.array(self.shape, np.int64), stored=self.stored, scale=self.scale)
        if self.mean is not None:
            place["mean"], place["std"] = np.array(self.mean), np.array(self.std)
        if self.vocabulary is not None:
            place["vocabulary"] = np.frombuffer(self.vocabulary.text().encode(), np.uint8)

    @staticmethod
    def read(file: h5py.File, place: str) -> "Item":
        """What a group has. Raises ValueError."""
        item = group(file, place)
        found = set(item)
        mean, std = (
            tuple(column(file, f"{place}/{name}", FLOAT, (None,))[()].tolist()) if name in found else None
            for name in ("mean", "std")
        )
        words = column(file, f"{place}/vocabulary", ("u1",), (None,))[()].tobytes().decode() if "vocabulary" in found else None
        return Item(
            shape=attribute(item, "shape", tuple),
            stored=attribute(item, "stored", str),
            scale=float(attribute(item, "scale", float, int)),
            mean=mean,
            std=std,
            vocabulary=None if words is None else Lexicon.read(words),
        )


@dataclass(frozen=True, eq=False)
class Moments:
    """Number, mean and sum of squared deviations of the values of each channel, merged piece by piece.

    Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979, equation 2.1.
    """

    count: int
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, item: Item) -> "Moments":
        """Of the scaled rows x : (n, *shape), n > 0, in double precision whatever their type."""
        columns = np.ascontiguousarray(x.reshape(-1, item.channels).T)
        mean = columns.mean(axis=1, dtype=np.float64)
        squares = columns.var(axis=1, dtype=np.float64) * columns.shape[1]
        return cls(columns.shape[1], mean / item.scale, squares / item.scale**2)

    def merged(self, other: "Moments") -> "Moments":
        """Those of both pieces together; the order of the pieces decides the last bits."""
        count, away = self.count + other.count, other.mean - self.mean
        squares = self.squares + other.squares + away**2 * (self.count * other.count / count)
        return Moments(count, self.mean + away * (other.count / count), squares)

    @property
    def std(self) -> np.ndarray:
        """Standard deviations, 1 for channels that never change."""
        std = np.sqrt(self.squares / self.count)
        return np.where(std > 1e-12 * np.maximum(1, np.abs(self.mean)), std, 1.0)
