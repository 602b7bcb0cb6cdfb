"""Passes over scores for what depends on their order alone. Nothing is checked and nothing communicates."""

import numpy as np

from mpiopt.kernels.compiling import njit

FEW = 16  # bounds that are compared one after the other

_kernel = njit(cache=True, nogil=True, error_model="numpy")


@_kernel
def stretches(scores, positive, bounds, counts):
    """The stretch of every row, (rows,) uint16: 2 k, or 2 k + 1 for the class, k the bounds below the score; and counts.

    scores : (rows,); positive : (rows,) bool; bounds : (ranks - 1,) ascending; counts : (2 ranks,) int64, filled.
    """
    found = np.empty(scores.size, np.uint16)
    counts[:] = 0
    for i in range(scores.size):  # without a branch, for no processor foresees where a score lies
        low = 0
        if bounds.size <= FEW:
            for k in range(bounds.size):
                low += bounds[k] < scores[i]
        else:
            low = np.searchsorted(bounds, scores[i])
        found[i] = 2 * low + positive[i]
    for at in found:
        counts[at] += 1
    return found


@_kernel
def deal(values, stretch, ends, out):
    """Move every row's value into the part of its stretch. ends : (2 ranks,) where the parts begin; moved to where they end."""
    for i in range(values.size):
        out[ends[stretch[i]]] = values[i]
        ends[stretch[i]] += 1


@_kernel
def rank_sums(positive, negative, up, down, above):
    """Area and precision sums over the groups of ties of two classes' ascending scores.

    up, down : weights of either class's rows, (0,) where all are 1; above : (2,) weight of either class beyond all of these.
    Returns the sum over groups of up * (others above + ties / 2), of up * precision, and the weight of either class.
    """
    true, false = above[0], above[1]
    area, gained = 0.0, 0.0
    i, j = positive.size - 1, negative.size - 1
    while i >= 0:
        at = positive[i]
        while j >= 0 and negative[j] > at:
            false += down[j] if down.size else 1.0
            j -= 1
        mine, ties = 0.0, 0.0
        while i >= 0 and positive[i] == at:
            mine += up[i] if up.size else 1.0
            i -= 1
        while j >= 0 and negative[j] == at:
            ties += down[j] if down.size else 1.0
            j -= 1
        area += mine * (false + 0.5 * ties)
        true += mine
        false += ties
        if mine > 0.0:
            gained += mine * (true / (true + false))
    return area, gained
