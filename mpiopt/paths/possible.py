"""Features that an l1 penalty keeps at 0 whatever the other coefficients are, since no residuals bring their slope to it.

    |g_j|  <=  top (sum_i w_i |a_ij| + |sum_i w_i y_i a_ij|) / 2      where the rows' slopes are -y_i times 0 to top

as it is for logistic regression, of which rare words are such features: sum_i w_i u_i y_i a_ij lies between the sum of its
terms below 0 and of those above, at u_i = top. Proofs of gaps on the other features are proofs on all.
"""

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.csr import CSR
from mpiopt.problems.abreast import Abreast
from mpiopt.problems.linear import Linear

ROUNDING = 1 + 1e-6


def reach(problem: Abreast) -> Array | None:
    """What no slope of any of the problems is beyond, (features,); None where slopes have no bound.

    Collective: one vector round and a small sum. The first problem has the rows of all others.
    """
    low, top = problem.losses[0].family.dual_range
    if not (problem.losses[0].family.labels.classes and low >= 0 and np.isfinite(top)):
        return None
    parts = [_sums(loss, weights[0]) for loss, weights in zip(problem.losses, problem.weights, strict=True)]
    sizes, signed = problem.world.sum(parts, "reach")
    return ROUNDING * max(problem.factors()) * top * (sizes + abs(signed)) / 2


def _sums(loss: Linear, weights: Array) -> Array:
    """sum_i w_i |a_ij| and sum_i w_i y_i a_ij, (2, features)."""
    matrix = loss.matrix
    sizes = CSR.empty(matrix.shape[0], len(matrix.data), matrix.shape[1], matrix.data.dtype)
    sizes.indptr[:], sizes.indices[:] = matrix.indptr, matrix.indices
    np.abs(matrix.data, out=sizes.data)
    return np.stack([sizes.tdot(weights.copy()), matrix.tdot(weights * loss.y)])
