"""The one array type: flat vectors of float32 or float64, in the memory of the CPU or of a GPU."""

from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import cupy

    Array: TypeAlias = np.ndarray | cupy.ndarray  # flat (d,), contiguous
else:
    Array = np.ndarray  # what annotations see at run time, where cupy need not be there


def namespace(x: Array) -> ModuleType:
    """The module, numpy or cupy, whose functions work on ``x``."""
    if isinstance(x, np.ndarray):
        return np
    import cupy

    return cupy


def norm(x: Array) -> float:
    """Euclidean length of a flat vector."""
    return float(namespace(x).sqrt(x @ x))
