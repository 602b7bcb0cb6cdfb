"""Streams: the same name gives the same numbers, another name gives others, and nothing else matters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.numerics.streams import Streams

NAMES = st.tuples(
    st.integers(0, 2**63 - 1), st.sampled_from(["batch", "coin", "sketch"]), st.integers(0, 2**40), st.integers(-1, 2**31)
)


def draw(seed: int, purpose: str, round_: int, worker: int) -> list[int]:
    return Streams(seed)(purpose, round_, worker).integers(0, 2**63, 8).tolist()


@given(NAMES)
def test_a_name_gives_the_same_numbers_whatever_was_drawn_before(name):
    first = draw(*name)
    draw(7, "another", 3, 2)
    assert draw(*name) == first


@given(NAMES, NAMES)
def test_different_names_give_different_numbers(one, other):
    assert (draw(*one) == draw(*other)) == (one == other)


def test_a_stream_does_not_run_into_its_neighbours():
    # a Philox counter counts in its lowest word: rounds and workers own the upper two
    drawn = np.concatenate([Streams(1)("batch", k, w).integers(0, 2**63, 1000) for k in range(3) for w in range(-1, 3)])
    assert len(np.unique(drawn)) == len(drawn)


def test_the_worker_is_left_out_for_a_shared_stream():
    assert Streams(3)("coin", 5).random() == Streams(3)("coin", 5, -1).random()
    assert Streams(3)("coin", 5).random() != Streams(3)("coin", 5, 0).random()


def test_a_later_version_draws_the_same():
    # runs are resumed and compared across versions: these numbers must never change
    assert Streams(7)("batch", 3, 2).bit_generator.random_raw(2).tolist() == [10433694434943281, 6671507628349568435]


def test_numbers_are_uniform():
    means = [Streams(0)("batch", k).random(1000).mean() for k in range(200)]
    assert np.std(means) == pytest.approx(np.sqrt(1 / 12 / 1000), rel=0.2)
    assert np.mean(means) == pytest.approx(0.5, abs=4 * np.sqrt(1 / 12 / 200_000))
