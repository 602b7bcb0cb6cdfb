"""The CPU kernels under one roof: compiled by numba on first use, cached on disk, one core each, float64 sums.

Every function takes arrays and numbers only and communicates nothing. A GPU counterpart bears the same names.
"""

from mpiopt.kernels.host.bits import CHUNK, TRITS, pack, unpack
from mpiopt.kernels.host.dual import dual_start
from mpiopt.kernels.host.gram import gram, gram_rows, pooled, spread
from mpiopt.kernels.host.hadamard import clip_into, hadamard, pick, place
from mpiopt.kernels.host.margins import bregman, curvature, logistic, plane
from mpiopt.kernels.host.products import dot, hvp, row_squares, squares, tdot
from mpiopt.kernels.host.products_many import dot_many, squares_many, tdot_many
from mpiopt.kernels.host.quantise import (
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
from mpiopt.kernels.host.select import largest, peaks, scatter
from mpiopt.kernels.host.shuffle import estimate, random_signs, sketch, subset

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
    "dot_many",
    "dual_start",
    "estimate",
    "gram",
    "gram_rows",
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
    "pooled",
    "powers",
    "random_signs",
    "row_squares",
    "scatter",
    "signs",
    "sketch",
    "spread",
    "squares",
    "squares_many",
    "subset",
    "tdot",
    "tdot_many",
    "two_means",
    "unpack",
]
