"""Who owns what: pure functions, any number of owners over any number of items."""

from collections.abc import Sequence

import numpy as np


def even(total: int, owners: int) -> np.ndarray:
    """Bounds (owners + 1,) of contiguous blocks whose sizes differ by at most one, the larger first."""
    quotient, remainder = divmod(total, owners)
    sizes = np.full(owners, quotient, dtype=np.int64)
    sizes[:remainder] += 1
    return np.concatenate(([0], np.cumsum(sizes)))


def owner(bounds: Sequence[int] | np.ndarray, item: int) -> int:
    """The owner of ``item`` under ``bounds``."""
    return int(np.searchsorted(np.asarray(bounds), item, side="right")) - 1
