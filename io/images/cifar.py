"""CIFAR batches as published (Krizhevsky, Learning multiple layers of features from tiny images, 2009): pickled in Python.

A pickle can run any program. This reader lets one make nothing but lists, dictionaries, numbers, strings and a plain
array of bytes, for which it has stand-ins of its own; anything else is refused.
"""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mpiopt.errors import DataError
from mpiopt.io.images.sources import class_numbers, spans, stream

_COLOURS, _SIDE = 3, 32
_KEYS = ("labels", "fine_labels")


class _Kind:
    """Stands for numpy.dtype: remembers what it was asked for."""

    def __init__(self, name: Any, *_: Any) -> None:
        self.name = _text(name)

    def __setstate__(self, state: Any) -> None:
        pass


class _Values:
    """Stands for numpy.ndarray."""

    shape: tuple[int, ...] = ()
    data: bytes = b""

    def __setstate__(self, state: Any) -> None:
        _, self.shape, kind, fortran, self.data = state
        if kind.name not in ("u1", "uint8") or fortran:
            raise pickle.UnpicklingError(f"its array is of type {kind.name}, not of bytes in C order")


def _text(name: Any) -> str:
    return name.decode("latin-1") if isinstance(name, bytes) else str(name)


def _encode(text: str, _encoding: str) -> bytes:
    return text.encode("latin-1")


_ALLOWED = {("numpy", "dtype"): _Kind, ("numpy", "ndarray"): _Values, ("_codecs", "encode"): _encode}
_ALLOWED |= {(f"numpy.{core}.multiarray", "_reconstruct"): lambda *_: _Values() for core in ("core", "_core")}


class _Careful(pickle.Unpickler):
    """Knows the names that a CIFAR batch needs, and no others."""

    def find_class(self, module: str, name: str) -> Any:
        """A stand-in of ours. Raises UnpicklingError for every other name."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR batch needs and could run a program")
        return _ALLOWED[module, name]


@dataclass(frozen=True)
class Batch:
    """A batch: read whole (30 MB as published), by the ranks that need rows of it."""

    path: Path
    rows: int
    shape: tuple[int, ...] = (_SIDE, _SIDE, _COLOURS)
    stored: str = "uint8"

    @property
    def files(self) -> tuple[Path, ...]:
        """The one."""
        return (self.path,)

    def blocks(self, lo: int, hi: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `Pack.blocks`."""
        planes, labels = _load(self.path)
        pixels = planes.reshape(-1, _COLOURS, _SIDE, _SIDE).transpose(0, 2, 3, 1)
        for start, stop in spans(lo, hi, planes.shape[1]):
            yield np.ascontiguousarray(pixels[start:stop]), class_numbers(labels[start:stop], self.path, start)


def read_batch(path: Path) -> Batch:
    """The batch in ``path``. Raises DataError if it is something else."""
    return Batch(path, len(_load(path)[0]))


def _load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Planes (rows, 3072) uint8, red, green and blue after each other, and labels (rows,)."""
    try:
        with stream(path) as file:
            content = _Careful(file, encoding="bytes").load()
        return _planes({_text(key): value for key, value in content.items()})
    except DataError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        raise DataError(f"{path} cannot be read as a CIFAR batch: {error}") from error


def _planes(content: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    key = next((key for key in _KEYS if key in content), None)
    if key is None or not isinstance(content.get("data"), _Values):
        raise ValueError(f"it holds {', '.join(sorted(content)) or 'nothing'}, not an array 'data' with 'labels'")
    data, labels = content["data"], np.array(content[key], np.int64)
    if labels.ndim != 1 or data.shape != (len(labels), _COLOURS * _SIDE * _SIDE):
        raise ValueError(f"its data have the shape {data.shape} with {labels.size} labels, not one row of 3072 bytes for each")
    return np.frombuffer(data.data, np.uint8).reshape(data.shape), labels
