"""Cases of mpiopt.comm.blocks; what holds for all inputs stands in tests/laws."""

import numpy as np
import pytest

from mpiopt.comm.blocks import balanced, even, owner


@pytest.mark.parametrize(
    ("total", "owners", "bounds"),
    [(10, 3, [0, 4, 7, 10]), (0, 2, [0, 0, 0]), (2, 4, [0, 1, 2, 2, 2]), (5, 1, [0, 5])],
)
def test_even(total, owners, bounds):
    assert even(total, owners).tolist() == bounds


def test_balanced_cuts_at_the_nearest_row():
    # rows of 9, 1, 1, 9 nonzeros count 10, 2, 2, 10
    assert balanced(np.array([0, 9, 10, 11, 20]), 2).tolist() == [0, 2, 4]
    assert balanced(np.array([0, 9, 10, 11, 20]), 3).tolist() == [0, 1, 3, 4]


def test_one_heavy_row_leaves_others_empty():
    assert balanced(np.array([0, 1000]), 3).tolist() in ([0, 0, 0, 1], [0, 0, 1, 1], [0, 1, 1, 1])


def test_empty_rows_are_shared_out():
    assert balanced(np.zeros(9, np.int64), 4).tolist() == [0, 2, 4, 6, 8]


def test_a_slice_of_row_pointers_needs_no_rebasing():
    pointers = np.array([0, 3, 4, 9, 9, 12])
    assert balanced(pointers + 100, 3).tolist() == balanced(pointers, 3).tolist()


def test_no_rows():
    assert balanced(np.array([0]), 3).tolist() == [0, 0, 0, 0]


def test_the_owner_of_an_item_skips_empty_blocks():
    assert [owner([0, 0, 2, 2, 3], item) for item in range(3)] == [1, 1, 3]
