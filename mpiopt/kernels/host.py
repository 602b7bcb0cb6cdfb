"""The CPU kernels under one roof: compiled by numba on first use, cached on disk, one core each, float64 sums.

Every function takes arrays and numbers only and communicates nothing. A GPU counterpart bears the same names.
"""

from mpiopt.kernels.dual import dual_epochs, dual_squares_epochs, dual_start
from mpiopt.kernels.margins import bregman, curvature, logistic, plane, plane_squares
from mpiopt.kernels.products import dot, hvp, row_squares, squares, tdot

__all__ = [
    "bregman",
    "curvature",
    "dot",
    "dual_epochs",
    "dual_squares_epochs",
    "dual_start",
    "hvp",
    "logistic",
    "plane",
    "plane_squares",
    "row_squares",
    "squares",
    "tdot",
]
