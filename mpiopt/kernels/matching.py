"""Which kernels work on an array: those of the CPU or those of the GPU, under the same names."""

from types import ModuleType

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels import device, host


def matching(x: Array) -> ModuleType:
    """`kernels.host` for arrays of NumPy, `kernels.device` for arrays of CuPy."""
    return host if isinstance(x, np.ndarray) else device
