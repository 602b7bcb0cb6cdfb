"""Who owns what: pure functions, any number of owners over any number of items."""

from collections.abc import Sequence

import numpy as np


def even(total: int, owners: int) -> np.ndarray:
    """Bounds (owners + 1,) of contiguous blocks whose sizes differ by at most one, the larger first."""
    quotient, remainder = divmod(total, owners)
    sizes = np.full(owners, quotient, dtype=np.int64)
    sizes[:remainder] += 1
    return np.concatenate(([0], np.cumsum(sizes)))


def balanced(indptr: np.ndarray, owners: int) -> np.ndarray:
    """Bounds (owners + 1,) of contiguous row blocks that hold about equally many nonzeros.

    indptr : (rows + 1,) row pointers of the whole matrix. A row counts for its nonzeros and one more, so that
    empty rows are shared out too. Blocks may be empty.
    """
    rows = len(indptr) - 1
    cost = (np.asarray(indptr) - indptr[0]) + np.arange(rows + 1)
    targets = cost[-1] * np.arange(1, owners) / owners
    cuts = np.searchsorted(cost, targets, side="left")
    # the nearer of the two neighbouring row boundaries
    lower = np.maximum(cuts - 1, 0)
    cuts = np.where(targets - cost[lower] < cost[np.minimum(cuts, rows)] - targets, lower, cuts)
    return np.concatenate(([0], cuts, [rows])).astype(np.int64)


def owner(bounds: Sequence[int], item: int) -> int:
    """The owner of ``item`` under ``bounds``."""
    return int(np.searchsorted(np.asarray(bounds), item, side="right")) - 1
