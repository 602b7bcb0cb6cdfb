"""Means in 32 bits a number: what they lose, that changes make up for it, what they send, and where they are plain means."""

import numpy as np
import pytest

from mpiopt.engine.phase import Joint
from mpiopt.engine.traffic import Shape
from mpiopt.exchange import narrow
from mpiopt.exchange.mean import Mean
from mpiopt.exchange.narrow import Changes, Narrowed
from mpiopt.problems.problem import Message
from tests.exchange_sets import team_of

DIM, WORKERS = narrow.SHORT + 20, 5


def said(team, k, scale=1.0, scalars=1):
    """Vectors of unlike units that draw nearer to each worker's own, and a loss."""
    units, found = scale * np.logspace(-4, 4, DIM), []
    for site in team.sites:
        end, way = np.random.default_rng(site.worker).standard_normal((2, DIM))
        found.append(Message(units * (end + 0.1**k * way), np.full(scalars, 1.0 + site.worker)))
    return found


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("ordered", [False, True])
def test_what_one_call_rounds_off_the_next_makes_up_for(worlds, ordered):
    team = team_of(worlds(workers=WORKERS, deterministic=ordered))
    state, largest = (), None
    for k in range(8):
        messages, here = said(team, min(k, 5)), Joint(team, k)
        exact = Mean()(messages, (), here)[0]
        agreed, _, state = Changes()(messages, state, here)
        np.testing.assert_allclose(agreed.scalars, exact.scalars, rtol=1e-14)
        off = abs(agreed.vector - exact.vector).max()
        change = 1e4 * 0.1 ** (k - 1) * 5 if 0 < k <= 5 else largest
        assert off <= 2.0**-28 * WORKERS * change + 1e-10 if k else off <= 1e-10
        largest = off if k >= 5 else change  # where nothing else changes, what was rounded off is what is said
    assert off <= 1e-10
    (alike,) = {bytes(each) for each in team.world.tell_all(agreed.vector.tobytes())}
    assert alike


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("scale", [1e-300, 1e-20, 1.0, 1e200, np.nan])
def test_a_direction_is_rounded_and_what_float32_does_not_hold_is_sent_whole(worlds, scale):
    team = team_of(worlds(workers=WORKERS))
    messages = said(team, 1, scale, scalars=0)
    exact, agreed = (exchange(messages, (), Joint(team, 0))[0].vector for exchange in (Mean(), Narrowed()))
    assert agreed.dtype == np.float64
    if scale in (1.0, 1e-20):
        assert 0 < abs(agreed - exact).max() <= 1e-6 * abs(exact).max()
    else:
        np.testing.assert_array_equal(agreed, exact)


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("ordered", [False, True])
def test_they_send_half_and_say_so(worlds, ordered):
    team = team_of(worlds(workers=WORKERS, deterministic=ordered))
    tally, world = team.world.tally, team.world
    for exchange, scalars in ((Changes(), 1), (Narrowed(), 0)):
        state = ()
        for k in range(3):
            before = tally.bytes, tally.messages, tally.vector_rounds
            _, _, state = exchange(said(team, k, scalars=scalars), state, Joint(team, k))
            spent = np.subtract((tally.bytes, tally.messages, tally.vector_rounds), before)
        told = exchange.traffic(Shape(DIM, scalars, np.dtype(float)), Joint(team, 3))
        assert (told.nbytes, told.messages, told.vector_rounds) == tuple(spent)
        assert told.nbytes < 0.6 * 8 * DIM * world.summands


def test_one_worker_short_vectors_and_floats_of_32_bits_are_plain(worlds):
    for workers, dim, kind in ((1, DIM, np.float64), (2, narrow.SHORT, np.float64), (2, DIM, np.float32)):
        team = team_of(worlds(workers=workers))
        messages = [Message(np.linspace(0, site.worker + 1.0, dim).astype(kind), np.empty(0)) for site in team.sites]
        exact = Mean()(messages, (), Joint(team, 0))[0].vector
        for exchange in (Changes(), Narrowed()):
            found, _, state = exchange(messages, (), Joint(team, 0))
            np.testing.assert_array_equal(found.vector, exact)
            assert state == () and found.vector.dtype == kind
