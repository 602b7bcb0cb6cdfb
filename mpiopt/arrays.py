"""The one array type: flat vectors of float32 or float64, in the memory of the CPU or of a GPU."""

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import cupy

    Array: TypeAlias = np.ndarray | cupy.ndarray  # flat (d,), contiguous
else:
    Array = np.ndarray  # what annotations see at run time, where cupy need not be there


class Shaped(Protocol):
    """A named part of a flat vector."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape; its entries are those of the vector in order."""


CARD = "__cuda_array_interface__"  # what arrays on a GPU have


def is_array(x: object) -> bool:
    """Whether something is an array, on the CPU or on a GPU."""
    return isinstance(x, np.ndarray) or hasattr(x, CARD)


def begins(x: Array) -> int:
    """The address of its first entry."""
    return int((getattr(x, CARD, None) or x.__array_interface__)["data"][0])


def namespace(x: Array) -> ModuleType:
    """The module, numpy or cupy, whose functions work on ``x``."""
    if isinstance(x, np.ndarray):
        return np
    import cupy

    return cupy


def on_host(x: Array) -> np.ndarray:
    """``x`` itself, or its copy in the memory of the CPU."""
    return x if isinstance(x, np.ndarray) else namespace(x).asnumpy(x)


def beside(x: Array, shape: int | tuple[int, ...], fill: float | None = None) -> Array:
    """A new array in the memory that ``x`` is in, uninitialised unless ``fill`` is given.

    float64 on the CPU whatever ``x``, of the type of ``x`` on a GPU.
    """
    out = np.empty(shape) if isinstance(x, np.ndarray) else namespace(x).empty(shape, x.dtype)
    if fill is not None:
        out[...] = fill
    return out


def norm(x: Array) -> float:
    """Euclidean length of a flat vector."""
    return roomy(lambda v: float(namespace(v).sqrt(v @ v)), lambda v: float(abs(v).max()) if v.size else 0.0, x)


def roomy(length: Callable[[Array], float], largest: Callable[[Array], float], x: Array) -> float:
    """``length`` of a vector, in units of its largest entry where the squares of its entries have no room."""
    size = length(x)
    if 0 < size < np.inf:
        return size
    top = largest(x)
    return top * length(x / top) if 0 < top < np.inf else top


def pull(x: Array, towards: Array, strength: float) -> None:
    """x <- x + strength (towards - x) in place, for strength 1 to the last bit."""
    if strength == 1:
        x[:] = towards
    else:
        x += strength * (towards - x)
