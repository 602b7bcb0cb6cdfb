"""Inner products in a plane: of a point with the directions that span it, and of these with each other.

(k, k + 1) float64: x.d_i in the first column, d_i.d_j behind it, NaN where nobody has asked yet. Vectors are as long as x, so
that each product is a pass over two of them; of the last steps most follow from what is known of the plane before, since
a step is a sum of its directions. Sums in a fixed order of numbers that came out of a collective: the same on every rank.
"""

import numpy as np

from mpiopt.arrays import Array
from mpiopt.numerics.newton import inner

CANCEL = 1e-6  # of a sum's longest term, squared: of a shorter sum too few digits are left


def unknown(k: int) -> Array:
    """Nothing is known."""
    return np.full((k, k + 1), np.nan)


def asked(products: Array) -> list[tuple[int, int]]:
    """Places (i, j) with i < j, (i, 0) first, that are not known yet."""
    k = len(products)
    places = [(i, 0) for i in range(k)] + [(i, 1 + j) for i in range(k) for j in range(i, k)]
    return [place for place in places if np.isnan(products[place])]


def filled(products: Array, places: list[tuple[int, int]], values: Array) -> Array:
    """With the values (places,) that were asked for."""
    products = products.copy()
    for (i, j), value in zip(places, values.tolist(), strict=True):
        products[i, j] = value
        if j:
            products[j - 1, i + 1] = value
    return products


def widened(kept: Array, fresh: int) -> Array:
    """Those of the steps alone, with ``fresh`` new directions before them."""
    products = unknown(fresh + len(kept))
    products[fresh:, 0], products[fresh:, 1 + fresh :] = kept[:, 0], kept[:, 1:]
    return products


def carried(products: Array, c: Array, fresh: int, turn: int) -> Array:
    """Those of the point x + s and its last steps, s = sum_k c_k d_k in the place ``turn`` among them; NaN where s cancels."""
    bent = np.array([inner(row, c) for row in products[:, 1:]])  # s.d_i
    square = inner(c, bent)
    kept = np.delete(products[fresh:], range(1, 1 + fresh), axis=1)
    kept[:, 0] += bent[fresh:]
    if turn == len(kept):
        kept = np.pad(kept, ((0, 1), (0, 1)))
    told = np.append(bent[fresh:], 0.0)[: len(kept)]
    told[turn] = square
    if not square > CANCEL * max(c * c * np.diag(products[:, 1:])):
        told[:] = np.nan
    kept[turn, 1:] = kept[:, 1 + turn] = told
    kept[turn, 0] = inner(products[:, 0], c) + told[turn]
    return kept
