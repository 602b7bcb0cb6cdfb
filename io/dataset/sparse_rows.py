"""What is read of sparse rows."""

from typing import NamedTuple

import numpy as np

from mpiopt.kernels.csr import CSR


class SparseRows(NamedTuple):
    """Some rows: their raw labels (rows,) float64, and beside them weights and offsets (rows,), if there are any."""

    matrix: CSR
    labels: np.ndarray
    weight: np.ndarray | None = None
    offset: np.ndarray | None = None
