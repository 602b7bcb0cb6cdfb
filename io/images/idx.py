"""idx files (LeCun, The MNIST database of handwritten digits, 1998): unsigned bytes behind a head of sizes."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from mpiopt.errors import DataError, UsageError
from mpiopt.io.images.sources import exactly, spans, stream
from mpiopt.words import counted

_TYPES = {
    0x08: "unsigned bytes",
    0x09: "signed bytes",
    0x0B: "short integers",
    0x0C: "integers",
    0x0D: "floats",
    0x0E: "doubles",
}


@dataclass(frozen=True)
class Idx:
    """An idx file of unsigned bytes, images in ``path``, and the one with their labels."""

    path: Path
    labels: Path
    rows: int
    shape: tuple[int, ...]
    stored: str = "uint8"

    @property
    def files(self) -> tuple[Path, ...]:
        """Both."""
        return self.path, self.labels

    def blocks(self, lo: int, hi: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `Pack.blocks`."""
        size = prod(self.shape)
        with stream(self.path) as images, stream(self.labels) as labels:
            images.seek(8 + 4 * len(self.shape) + lo * size)
            labels.seek(8 + lo)
            for start, stop in spans(lo, hi, size):
                x = np.frombuffer(exactly(images, (stop - start) * size, self.path), np.uint8)
                y = np.frombuffer(exactly(labels, stop - start, self.labels), np.uint8)
                yield x.reshape(stop - start, *self.shape), y.astype(np.int32)
            for file, path in ((images, self.path), (labels, self.labels)):
                if hi == self.rows and file.read(1):
                    raise DataError(f"{path} goes on after the {self.rows:,} items that its head announces: it is damaged")


def pairs(paths: list[Path]) -> list[Idx]:
    """Images with their labels: the first file of images belongs to the first of labels, and so on."""
    shapes = {path: _shape(path) for path in paths}
    images = [path for path in paths if len(shapes[path]) > 1]
    labels = [path for path in paths if len(shapes[path]) == 1]
    if len(images) != len(labels):
        raise UsageError(
            f"there are {len(images)} idx files of images ({_listed(images)}) and {len(labels)} of labels "
            f"({_listed(labels)}): give one file of labels with each file of images"
        )
    return [_pair(image, shapes[image], label, shapes[label][0]) for image, label in zip(images, labels, strict=True)]


def _pair(images: Path, shape: tuple[int, ...], labels: Path, count: int) -> Idx:
    if shape[0] != count:
        raise DataError(f"{images} has {counted(shape[0], 'image')}, but {labels} has {counted(count, 'label')}: no pair")
    if not prod(shape[1:]):
        raise DataError(f"{images} has images of {' x '.join(map(str, shape[1:]))} pixels: there is nothing in them")
    return Idx(images, labels, count, shape[1:])


def _listed(paths: list[Path]) -> str:
    return ", ".join(map(str, paths)) or "none"


def _shape(path: Path) -> tuple[int, ...]:
    """What the head of an idx file announces: (items, ...)."""
    with stream(path) as file:
        head = exactly(file, 4, path)
        if head[2] != 0x08:
            raise DataError(
                f"{path} has the magic number {head.hex(' ')}: idx files of "
                f"{_TYPES.get(head[2], 'an unknown type')} cannot be read, only of {_TYPES[0x08]} (00 00 08)"
            )
        return struct.unpack(f">{head[3]}I", exactly(file, 4 * head[3], path))
