"""Laws of mpiopt.comm.blocks: blocks are a partition, even ones, and every item has an owner."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.comm.blocks import even, owner

OWNERS = st.integers(1, 12)


def is_partition(bounds: np.ndarray, total: int, owners: int) -> bool:
    return len(bounds) == owners + 1 and bounds[0] == 0 and bounds[-1] == total and bool((np.diff(bounds) >= 0).all())


@given(st.integers(0, 200), OWNERS)
def test_even_blocks_partition_and_differ_by_at_most_one(total, owners):
    bounds = even(total, owners)
    sizes = np.diff(bounds)
    assert is_partition(bounds, total, owners)
    assert sizes.max() - sizes.min() <= 1 and (np.diff(sizes) <= 0).all()


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(any))
def test_every_item_has_the_owner_whose_block_holds_it(sizes):
    bounds = np.concatenate(([0], np.cumsum(sizes)))
    for item in range(bounds[-1]):
        k = owner(bounds, item)
        assert bounds[k] <= item < bounds[k + 1]
