"""Schedules: the numbers they promise, monotone where they promise it, composed, and their refusals."""

from itertools import pairwise
from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.errors import UsageError
from mpiopt.numerics.schedules import Constant, Cosine, Inverse, Later, Piecewise, WarmUp, scheduled

rates = st.floats(0, 10, allow_subnormal=False)
lengths = st.integers(1, 40)
falling = st.one_of(
    st.builds(Constant, rates),
    st.builds(lambda low, rise, n: Cosine(low + rise, n, low), rates, rates, lengths),
    st.builds(Inverse, rates, st.floats(0.1, 100)),
    st.builds(
        lambda values, at: Piecewise(tuple(sorted(values[: len(at) + 1], reverse=True)), tuple(sorted(at))),
        st.lists(rates, min_size=5, max_size=5),
        st.sets(lengths, max_size=4),
    ),
)


@given(falling, lengths)
def test_they_fall_and_stay_finite_numbers(schedule, n):
    values = [schedule(step) for step in range(n + 45)]
    assert all(type(value) is float and 0 <= value < inf for value in values)
    assert all(a >= b for a, b in pairwise(values))


@given(falling, lengths, rates)
def test_a_warm_up_is_a_straight_line_to_what_it_wraps(inner, n, start):
    warm = WarmUp(inner, n, start)
    assert [warm(step) for step in range(n, n + 5)] == [inner(step) for step in range(n, n + 5)]
    rises = [warm(step + 1) - warm(step) for step in range(n)]
    assert rises == pytest.approx([(inner(n) - start) / (n + 1)] * n, abs=1e-12)
    assert warm(0) == pytest.approx(start + (inner(n) - start) / (n + 1))


@given(falling, lengths, lengths)
def test_delays_add_up(inner, a, b):
    twice, once = Later(Later(inner, a), b), Later(inner, a + b)
    assert [twice(step) for step in range(99)] == [once(step) for step in range(99)]
    assert {once(step) for step in range(a + b + 1)} == {inner(0)}


@given(falling)
def test_no_warm_up_and_no_delay_change_nothing(inner):
    assert [WarmUp(Later(inner, 0), 0)(step) for step in range(50)] == [inner(step) for step in range(50)]


def test_warm_up_around_a_cosine_begins_the_cosine_at_its_peak():
    schedule = WarmUp(Later(Cosine(0.4, 100, 0.04), 9), 9)
    assert [schedule(step) for step in (0, 4, 9)] == pytest.approx([0.04, 0.2, 0.4])
    assert [schedule(step) for step in (59, 109, 500)] == pytest.approx([0.22, 0.04, 0.04])


def test_milestones_count_from_the_first_step():
    schedule = WarmUp(Piecewise((0.1, 0.01, 0.001), (150, 250)), 5)
    assert [schedule(step) for step in (5, 149, 150, 249, 250)] == [0.1, 0.1, 0.01, 0.01, 0.001]


def test_the_inverse_schedule_of_stich():
    mu, shift = 0.5, 16.0
    assert Inverse(4 / mu, shift)(4) == pytest.approx(4 / (mu * 20))


def test_a_number_is_a_constant_schedule():
    assert scheduled(0.3) == Constant(0.3) and scheduled(Inverse(1, 2)) == Inverse(1, 2)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Constant(-1), "constant schedule is -1: give a finite number"),
        (lambda: Constant(nan), "is nan"),
        (lambda: scheduled(inf), "is inf"),
        (lambda: Cosine(0.1, 0), "length of a cosine schedule is 0"),
        (lambda: Cosine(0.1, 10, 0.2), "floor of a cosine schedule is 0.2: give 0 to its start 0.1"),
        (lambda: Piecewise((1.0, 0.1), ()), "number of values of a piecewise schedule is 2: give 1"),
        (lambda: Piecewise((1.0, 0.1, 0.2), (5, 5)), "increasing order"),
        (lambda: Piecewise((1.0, -0.1), (5,)), "is -0.1"),
        (lambda: Inverse(1.0, 0.0), "b of an inverse schedule is 0"),
        (lambda: Inverse(nan, 1.0), "a of an inverse schedule is nan"),
        (lambda: WarmUp(Constant(1), -1), "length of a warm-up is -1"),
        (lambda: WarmUp(Constant(1), 1, -0.5), "start of a warm-up is -0.5"),
        (lambda: Later(Constant(1), -2), "delay of a schedule is -2"),
    ],
)
def test_refusals(make, says):
    with pytest.raises(UsageError, match=says):
        make()
