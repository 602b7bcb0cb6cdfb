"""The learning-rate range test: a step size that grows by a factor, and what is said of the losses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.running.lr_range import BINS, RangeCurve, advice
from mpiopt.jobs.train import run
from mpiopt.numerics.schedules import Growing
from mpiopt.training.drive import Lesson

WORDS = ["train", "--data", "blobs:rows=400,features=4,spread=3", "--model", "softmax", "--batch", "4", "--method", "sgd"]


def job(*more):
    return parse([*WORDS, *more]).job


@given(st.floats(1e-8, 1e-2), st.floats(1.5, 1e6), st.integers(1, 5000))
def test_the_step_size_grows_by_one_factor_from_end_to_end(start, ratio, steps):
    rate = Growing(start, start * ratio, steps)
    assert rate(0) == start and rate(steps) == rate(steps + 7) == start * ratio
    middle = steps // 2
    assert rate(middle) == pytest.approx(start * ratio ** (middle / steps), rel=1e-7)


def told(curve, losses):
    for step, loss in enumerate(losses, 1):
        curve(Lesson(step, 0.0, loss, 0, 0, 0, 2 * step, 0.0, *[np.nan] * 4, 0, np.nan))


def test_the_advice_is_where_a_made_up_loss_falls_fastest():
    rate = Growing(1e-4, 1.0, 400)
    curve, rates = RangeCurve(rate, 2), np.array([rate(step) for step in range(400)])
    losses = 1.0 / (1.0 + (rates / 0.01) ** 2) + 30 * rates**2  # falls fastest, against log rate, at 0.01; least near 0.05
    told(curve, losses)
    found = advice(*curve.binned())
    assert found["steepest fall"] == pytest.approx(0.01, rel=0.6) and found["least loss"] == pytest.approx(
        rates[losses.argmin()], rel=0.6
    )
    assert curve.word().startswith("the loss is four times") and curve.rates[0] == 1e-4


@pytest.mark.ranks(1, 2)
def test_a_test_of_a_softmax_ends_where_it_diverges_and_is_drawn(worlds, shared_tmp, capsys):
    world = worlds(workers=2)
    found = run(
        job("--epochs", "4", "--lr-range", "1e-4:1e4", "--workers", "2", "--png", str(shared_tmp / "p.png")),
        world,
        Console(first=False),
    )
    assert 1e-4 < found["steepest_fall"] <= found["least_loss"] < 100 and len(found["rates"]) <= BINS
    assert "four times" in found["ended"]
    assert (shared_tmp / "p.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--lr-range", "1"], "--lr-range 1: give LOW:HIGH, two numbers above 0, as 1e-5:1"),
        (["--lr-range", "1:0.1"], "give LOW:HIGH"),
        (["--lr-range", "1e-3:1", "--checkpoint", "c.h5"], "leaves no run: leave --checkpoint out"),
        (["--lr-range", "1e-3:1", "--rule", "adadelta"], "adadelta finds its step size itself: leave --lr, --lr-range"),
        (["--lr-range", "1e-3:1", "--epochs", "0.1"], "too few to say anything: give more --epochs"),
        (["--png", "p.png"], "--png draws what --lr-range finds"),
    ],
)
def test_what_cannot_be_tested_is_a_sentence(world, more, said):
    with pytest.raises(UsageError, match=said):
        run(job(*more), world, Console(first=False))


def test_a_file_of_something_else_is_not_drawn_over(world, tmp_path):
    (tmp_path / "mine.png").write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists, and mpiopt has not drawn it"):
        run(job("--lr-range", "1e-3:1", "--png", str(tmp_path / "mine.png")), world, Console(first=False))
    assert (tmp_path / "mine.png").read_bytes() == b"precious"
