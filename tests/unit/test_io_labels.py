"""Labels as given, as counted and as a problem wants them."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.labels import FEW, Labels, Tallied, binary_labels, sides


def counted(*values: float) -> Labels:
    tally = Tallied()
    tally.add(np.array(values, float))
    return tally.summary(float(np.mean(values)))


@pytest.mark.parametrize("pair", [(-1, 1), (0, 1), (1, 2), (-3, -2), (0.5, 2.25)])
def test_of_two_labels_the_larger_is_positive(pair):
    raw = np.array([pair[0], pair[1], pair[1]], float)
    assert_array_equal(binary_labels(raw, counted(*raw)), [-1, 1, 1])


def test_the_whole_set_decides_and_not_the_rank():
    assert_array_equal(binary_labels(np.array([1.0, 1.0]), counted(1, 2)), [-1, -1])
    assert len(binary_labels(np.empty(0), counted(1, 2))) == 0


@pytest.mark.parametrize(
    "positive, wanted", [("3", [-1, -1, 1]), (" <= 2 ", [1, 1, -1]), ("!=1", [-1, 1, 1]), (">1.5", [-1, 1, 1])]
)
def test_a_class_or_a_rule_against_the_rest(positive, wanted):
    assert_array_equal(binary_labels(np.array([1.0, 2.0, 3.0]), counted(1, 2, 3), positive), wanted)


@pytest.mark.parametrize(
    "values, positive, wanted",
    [
        ((1, 2), None, ("2", "1")),
        ((1, 2), "1", ("1", "2")),
        ((1, 2, 3), "3", ("3", "the rest")),
        ((1, 2, 3), "!= 3", ("!= 3", "3")),
        ((1, 2, 3), " <=1.5", ("1", "the rest")),
        (range(99), ">= 50", (">= 50", "the rest")),
    ],
)
def test_the_two_sides_are_named(values, positive, wanted):
    assert sides(counted(*values), positive) == wanted


@pytest.mark.parametrize(
    "values, positive, error, pattern",
    [
        ((2, 2), None, DataError, "every row has the label 2"),
        ((2, 2), "2", DataError, "every row has the label 2"),
        ((1, 2, 3), None, UsageError, r"3 classes \(1, 2, 3\).*`positive`"),
        (tuple(range(20)), None, UsageError, r"20 classes \(0, 1, 2, \.\.\., 19\)"),
        (tuple(k / 7 for k in range(FEW + 1)), None, UsageError, r"real numbers \(real numbers from 0 to"),
        ((1, 2, 3), "4", UsageError, "holds for no row: the labels are 1, 2, 3"),
        ((1, 2, 3), "<=3", UsageError, "holds for every row"),
        ((1, 2, 3), "yes", UsageError, "neither a label nor a rule"),
        ((1, 2, 3), "=>2", UsageError, "neither a label nor a rule"),
    ],
)
def test_what_cannot_be_mapped_is_one_sentence(values, positive, error, pattern):
    with pytest.raises(error, match=pattern):
        binary_labels(np.array(values, float), counted(*values), positive)


def test_many_labels_are_real_numbers_with_a_rule():
    values = np.arange(FEW + 1) / 7
    assert_array_equal(binary_labels(values, counted(*values), ">2"), np.where(values > 2, 1, -1))
    assert counted(*values).distinct is None and counted(*values[:FEW]).counts == (1,) * FEW
