"""Cases of mpiopt.comm.blocks; what holds for all inputs stands in tests/laws."""

import pytest

from mpiopt.comm.blocks import even, owner


@pytest.mark.parametrize(
    ("total", "owners", "bounds"),
    [(10, 3, [0, 4, 7, 10]), (0, 2, [0, 0, 0]), (2, 4, [0, 1, 2, 2, 2]), (5, 1, [0, 5])],
)
def test_even(total, owners, bounds):
    assert even(total, owners).tolist() == bounds


def test_the_owner_of_an_item_skips_empty_blocks():
    assert [owner([0, 0, 2, 2, 3], item) for item in range(3)] == [1, 1, 3]
