"""Stopping rules: each fires on what it says, and oscillation is neither stalling nor divergence."""

import numpy as np
import pytest

from mpiopt.engine.stop import PATIENCE, Reason, Record, Stop


def history(objectives, gradient=1.0, gap=np.inf):
    return [Record(k, 0.1 * k, f, gradient, gap, 100 * k, k, k) for k, f in enumerate(objectives)]


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        (Stop(rounds=3), Reason.ROUNDS),
        (Stop(bytes=300), Reason.BYTES),
        (Stop(seconds=0.25), Reason.SECONDS),
        (Stop(gradient=1.0), Reason.GRADIENT),
        (Stop(gap=1e-3), Reason.GAP),
        (Stop(), None),
    ],
)
def test_each_rule_fires_alone(stop, reason):
    found = stop.reached(history([1, 0.9, 0.8, 0.7], gap=1e-3))
    assert (found and found[0]) is reason
    assert found is None or "(" in found[1]


def test_a_zero_gradient_ends_everything():
    assert Stop().reached(history([1, 0.5], gradient=0))[0] is Reason.EXACT


def test_going_nowhere_is_stalling_and_going_up_is_divergence():
    flat = [1.0, 0.5] + [0.4] * (PATIENCE + 1)
    assert Stop().reached(history(flat))[0] is Reason.STALLED
    up = [1.0, 0.5] + [2.0 + k for k in range(PATIENCE)]
    found = Stop().reached(history(up))
    assert found[0] is Reason.DIVERGED and not found[0].converged


def test_oscillation_below_the_start_goes_on():
    swing = [1.0, 0.2] + [0.5 + 0.2 * np.sin(k) for k in range(60)]
    assert Stop().reached(history(swing)) is None
