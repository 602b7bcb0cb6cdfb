"""The CPU kernels under one roof: compiled by numba on first use, cached on disk, one core each, float64 sums.

Every function takes arrays and numbers only and communicates nothing. A GPU counterpart bears the same names.
"""

from mpiopt.kernels.bits import CHUNK, TRITS, pack, unpack
from mpiopt.kernels.dual import dual_start
from mpiopt.kernels.hadamard import clip_into, hadamard, pick, place
from mpiopt.kernels.margins import bregman, curvature, logistic, plane
from mpiopt.kernels.products import dot, hvp, row_squares, squares, tdot
from mpiopt.kernels.quantise import (
    EUCLIDEAN,
    MEAN,
    choose,
    dither,
    grid,
    look_up,
    measure,
    powers,
    signs,
    two_means,
)
from mpiopt.kernels.select import largest, peaks, scatter
from mpiopt.kernels.shuffle import estimate, random_signs, sketch, subset

__all__ = [
    "CHUNK",
    "EUCLIDEAN",
    "MEAN",
    "TRITS",
    "bregman",
    "choose",
    "clip_into",
    "curvature",
    "dither",
    "dot",
    "dual_start",
    "estimate",
    "grid",
    "hadamard",
    "hvp",
    "largest",
    "logistic",
    "look_up",
    "measure",
    "pack",
    "peaks",
    "pick",
    "place",
    "plane",
    "powers",
    "random_signs",
    "row_squares",
    "scatter",
    "signs",
    "sketch",
    "squares",
    "subset",
    "tdot",
    "two_means",
    "unpack",
]
