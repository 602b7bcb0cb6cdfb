"""npz archives of pictures packed as JPEG or PNG, unpacked by Pillow (the extra ``images``)."""

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from math import prod
from pathlib import Path

import numpy as np

from mpiopt.errors import DataError, UsageError
from mpiopt.io.images.npz import Member, look
from mpiopt.io.images.sources import class_numbers, spans

_MODES = ("L", "RGB")


@dataclass(frozen=True)
class Pictures:
    """Picture i is header + payload[offsets[i] : offsets[i + 1]], a JPEG or PNG file, and of class labels[i]."""

    header: Member
    payload: Member
    offsets: Member
    labels: Member
    shape: tuple[int, ...] = ()
    stored: str = "uint8"

    @property
    def path(self) -> Path:
        """The archive."""
        return self.payload.path

    @property
    def files(self) -> tuple[Path, ...]:
        """The archive alone."""
        return (self.path,)

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.labels.shape[0]

    def blocks(self, lo: int, hi: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `Pack.blocks`."""
        header = self.header.whole().tobytes()
        offsets, labels = self.offsets.whole(), self.labels.whole()
        with self.payload.at(int(offsets[lo])) as file:
            for start, stop in spans(lo, hi, prod(self.shape)):
                x = np.empty((stop - start, *self.shape), np.uint8)
                for i in range(start, stop):
                    packed = self.payload.take(file, int(offsets[i + 1] - offsets[i]))
                    x[i - start] = self._sized(decode(header + packed.tobytes(), i, self.path), i)
                yield x, class_numbers(labels[start:stop], self.path, start)

    def _sized(self, picture: np.ndarray, number: int) -> np.ndarray:
        if picture.shape != self.shape:
            raise DataError(f"{self.path}: picture {number} has the shape {picture.shape}, but picture 0 has {self.shape}")
        return picture


def open_pictures(path: Path) -> Pictures:
    """The packed pictures of an archive, as yet unread but for the first. Raises DataError, UsageError."""
    header, payload, offsets, labels = (look(path, name) for name in ("header", "payload", "offsets", "labels"))
    pack = Pictures(header, payload, offsets, labels)
    bytes_only = header.dtype == payload.dtype == np.uint8 and len(header.shape) == len(payload.shape) == 1
    if not bytes_only or offsets.dtype.kind not in "iu" or labels.dtype.kind not in "iu":
        raise DataError(f"{path}: header and payload are to be bytes, offsets and labels whole numbers")
    if offsets.shape != (pack.rows + 1,) or labels.shape != (pack.rows,):
        raise DataError(f"{path}: there are {pack.rows} labels and {offsets.shape[0]} offsets: there is to be one offset more")
    ends = offsets.whole().astype(np.int64)
    if ends[0] < 0 or (np.diff(ends) <= 0).any() or ends[-1] > payload.shape[0]:
        raise DataError(f"{path}: the offsets do not ascend from 0 to at most the {payload.shape[0]} bytes of the payload")
    with payload.at(int(ends[0])) as file:
        first = payload.take(file, int(ends[1] - ends[0])) if pack.rows else np.empty(0, np.uint8)
    shape = decode(header.whole().tobytes() + first.tobytes(), 0, path).shape if pack.rows else (1,)
    return Pictures(header, payload, offsets, labels, shape)


def decode(data: bytes, number: int, path: Path) -> np.ndarray:
    """The pixels of a JPEG or PNG file, uint8 (height, width) in grey or (height, width, 3). Raises DataError, UsageError."""
    try:
        from PIL import Image
    except ImportError as error:
        raise UsageError(f"{path} holds compressed pictures, which need Pillow: pip install 'mpiopt[images]'") from error
    try:
        with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as picture:
            if picture.mode not in _MODES:
                raise ValueError(f"it is neither grey nor RGB but {picture.mode}")
            return np.asarray(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: picture {number} cannot be decoded: {error}") from error
