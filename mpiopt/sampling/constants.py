"""What sampling theory asks of the rows of a worker: how smooth each is, and how large its gradient at the optimum."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Bounds = np.ndarray  # (blocks + 1,) row numbers


@dataclass(frozen=True)
class RowConstants:
    """Of n rows with losses f_i, penalty included, of which f is the mean.

    whole : L of f. each : (n,) the L_i. squares : (n,) |grad f_i|^2, at the optimum. mean : |grad f|^2 there, 0 but for
    rounding where the rows are all there are. blocks, block_squares : bounds (k + 1,) -> L of the mean over the rows of each
    block (k,), and the squared length of the sum of its gradients (k,).
    """

    whole: float
    each: np.ndarray
    squares: np.ndarray
    mean: float
    blocks: Callable[[Bounds], np.ndarray]
    block_squares: Callable[[Bounds], np.ndarray]
