"""Laws of mpiopt.comm.blocks: blocks are a partition, and as fair as whole rows allow."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.comm.blocks import balanced, even, owner

OWNERS = st.integers(1, 12)
LENGTHS = st.lists(st.integers(0, 30), max_size=40)


def pointers(lengths: list[int]) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


def is_partition(bounds: np.ndarray, total: int, owners: int) -> bool:
    return len(bounds) == owners + 1 and bounds[0] == 0 and bounds[-1] == total and bool((np.diff(bounds) >= 0).all())


@given(st.integers(0, 200), OWNERS)
def test_even_blocks_partition_and_differ_by_at_most_one(total, owners):
    bounds = even(total, owners)
    sizes = np.diff(bounds)
    assert is_partition(bounds, total, owners)
    assert sizes.max() - sizes.min() <= 1 and (np.diff(sizes) <= 0).all()


@given(LENGTHS, OWNERS)
def test_balanced_blocks_partition(lengths, owners):
    assert is_partition(balanced(pointers(lengths), owners), len(lengths), owners)


@given(LENGTHS, OWNERS)
def test_no_balanced_block_exceeds_its_fair_share_by_more_than_a_row(lengths, owners):
    bounds = balanced(pointers(lengths), owners)
    cost = np.array(lengths, float) + 1
    heaviest = max((cost[a:b].sum() for a, b in pairwise(bounds)), default=0.0)
    assert heaviest <= cost.sum() / owners + cost.max(initial=0.0) + 1e-9


@given(LENGTHS, OWNERS)
def test_every_cut_is_the_row_boundary_nearest_to_its_target(lengths, owners):
    bounds = balanced(pointers(lengths), owners)
    cost = np.concatenate(([0.0], np.cumsum(np.array(lengths, float) + 1)))
    for k, cut in enumerate(bounds):
        target = cost[-1] * k / owners
        assert abs(cost[cut] - target) <= np.abs(cost - target).min() + 1e-9


@given(LENGTHS.filter(bool), OWNERS)
def test_every_row_has_the_owner_whose_block_holds_it(lengths, owners):
    bounds = balanced(pointers(lengths), owners)
    for row in range(len(lengths)):
        k = owner(bounds, row)
        assert bounds[k] <= row < bounds[k + 1]
