"""Laws of who takes part, how many steps a round has, when agreements are due, and which rows a step looks at."""

from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mpiopt.engine.phase import Exchange, Joint
from mpiopt.errors import UsageError
from mpiopt.exchange.leader import Leader
from mpiopt.exchange.mean import Alone, Mean
from mpiopt.exchange.timing import Every, Grouped
from mpiopt.numerics.schedules import Piecewise
from mpiopt.numerics.streams import Streams
from mpiopt.problems.landscapes import Quadratic
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Message, Team
from mpiopt.sampling.batches import Batches, Chunks, redundant
from mpiopt.sampling.clients import EVERYONE, Clients
from mpiopt.sampling.pace import Geometric, Period
from mpiopt.training.drive import Calendar
from mpiopt.work.log import WINDOW, Log

FEW = settings(max_examples=10)
seeds, small = st.integers(0, 2**63), st.integers(1, 9)


def site(seed: int, worker: int = 0):
    """What a pace of one rank looks at."""
    return SimpleNamespace(streams=Streams(seed), worker=worker)


# ---------------------------------------------------------------------------------------------- paces
@given(small, st.integers(0, 99), st.integers(1, 50), small)
def test_a_period_is_a_number_or_a_schedule_of_the_round(steps, number, change, later):
    assert len(list(Period(steps)(site(0), number))) == steps == Period(steps).expected(number)
    scheduled = Period(Piecewise((steps, later), (change,)))
    expected = steps if number < change else later
    assert len(list(scheduled(site(0), number))) == expected == scheduled.expected(number)


@given(seeds, st.floats(0.05, 1), st.integers(0, 10**6), st.lists(st.integers(0, 50), min_size=2, max_size=5))
def test_all_workers_throw_the_same_coin(seed, p, number, workers):
    lengths = [len(list(Geometric(p)(site(seed, worker), number))) for worker in workers]
    assert len(set(lengths)) == 1 and lengths[0] >= 1
    assert len(list(Geometric(1.0)(site(seed), number))) == 1


@FEW
@given(seeds, st.floats(0.1, 0.9))
def test_coins_fall_as_often_as_they_should(seed, p):
    lengths = np.array([len(list(Geometric(p)(site(seed), k))) for k in range(1500)])
    deviation = np.sqrt((1 - p) / p**2 / len(lengths))
    assert abs(lengths.mean() - Geometric(p).expected(0)) < 5 * deviation
    assert abs((lengths == 1).mean() - p) < 5 * np.sqrt(p * (1 - p) / len(lengths))


@given(st.floats(max_value=0.99) | st.integers(max_value=0))
def test_no_period_below_one(steps):
    with pytest.raises(UsageError, match="give at least 1"):
        Period(steps)


@given(st.floats().filter(lambda p: not 0 < p <= 1))
def test_no_coin_that_never_falls(p):
    with pytest.raises(UsageError, match="probability of an agreement"):
        Geometric(p)


# ---------------------------------------------------------------------------------------------- clients
@st.composite
def parties(draw):
    """Clients and a number of workers of which they can be had."""
    workers = draw(st.integers(1, 20))
    dead = draw(st.lists(st.integers(0, workers - 1), unique=True, max_size=workers - 1))
    count = draw(st.none() | st.integers(1, workers - len(dead)))
    return Clients(count, tuple(dead), draw(st.integers(0, 5))), workers


@given(parties(), seeds, st.integers(0, 10))
def test_who_takes_part(party, seed, number):
    clients, workers = party
    present = clients(workers, Streams(seed), number)
    assert present.shape == (workers,) and present.dtype == bool
    np.testing.assert_array_equal(present, clients(workers, Streams(seed), number))
    gone = list(clients.dead) if number >= clients.since else []
    assert not present[gone].any()
    assert present.sum() == (workers - len(gone) if clients.count is None else clients.count)
    assert clients.all == (clients == Clients(since=clients.since)) and (not clients.all or present.all())


@FEW
@given(seeds, st.integers(2, 8), st.data())
def test_everybody_is_drawn_as_often(seed, workers, data):
    count = data.draw(st.integers(1, workers - 1))
    drawn = np.mean([Clients(count)(workers, Streams(seed), k) for k in range(800)], axis=0)
    share = count / workers
    assert abs(drawn - share).max() < 5 * np.sqrt(share * (1 - share) / 800)


@given(parties(), st.integers(1, 30))
def test_more_than_there_are_cannot_be_had(party, more):
    clients, workers = party
    greedy = Clients(workers - len(clients.dead) + more, clients.dead)
    with pytest.raises(UsageError, match=f"of {workers - len(clients.dead)} living workers"):
        greedy(workers, Streams(0), 0)


# ---------------------------------------------------------------------------------------------- timing
class Counted(Exchange):
    """An exchange that counts in its state."""

    def init(self, x, team):
        return 0

    def __call__(self, messages, state, here):
        return Message(messages[0].vector + 1, messages[0].scalars), [0.0] * len(messages), state + 1


@given(small, st.integers(0, 40))
def test_every_so_many_rounds(every, total):
    exchange = Every(every, Counted())
    state, message = exchange.init(np.zeros(2), None), Message(np.zeros(2), np.zeros(1))
    agreed = []
    for k in range(total):
        found, residual, state = exchange([message] * 3, state, Joint(None, k))
        assert len(residual) == 3
        agreed.append(found is not None)
    assert state == total // every == sum(agreed)
    assert [k for k in range(total) if agreed[k]] == list(range(every - 1, total, every))


@given(st.integers(max_value=0))
def test_not_every_zero_rounds(rounds):
    with pytest.raises(UsageError, match=f"every {rounds:,} rounds is not possible"):
        Every(rounds, Alone())


@given(st.lists(small, min_size=1, max_size=20), st.integers(1, 30), st.integers(0, 60))
def test_what_is_due_by_steps_is_due_once_for_each_interval(lengths, interval, end):
    """Against exact fractions; ``end`` makes all later rounds due."""
    interval = Fraction(interval, 3)
    calendar = Calendar(lambda k: lengths[k % len(lengths)], float(interval), end if end else float("inf"))
    done = Fraction(0)
    assert calendar(0)
    for k in range(40):
        before, done = done, done + lengths[k % len(lengths)]
        assert calendar(k + 1) == (done // interval > before // interval or (end > 0 and done >= end)), (k, before, done)


@pytest.mark.ranks(1, 2, 3)
@FEW
@given(st.integers(0, 4), seeds, st.booleans())
def test_agreements_within_one_group_are_those_of_all(worlds, ranks, extra, seed, nan):
    world = worlds(workers=ranks + extra, deterministic=True)
    rng = np.random.default_rng(seed)
    weights, vectors, losses = (
        rng.random(ranks + extra),
        rng.standard_normal((ranks + extra, 3)),
        rng.integers(0, 3, ranks + extra),
    )
    losses = np.where(rng.random(ranks + extra) < 0.3, np.nan, losses) if nan else losses.astype(float)
    hosted = world.hosted
    team = Team.of(world, [Quadratic((1.0,), (1.0,))] * len(hosted), Zero(), weights=weights[hosted])
    messages = [Message(vectors[w].copy(), np.array([losses[w]])) for w in hosted]
    for inner in (Mean(), Leader()):
        exchange = Grouped(inner, 1)
        found, _, _ = exchange(messages, exchange.init(np.zeros(3), team), Joint(team, 0))
        plain, _, _ = inner(messages, (), Joint(team, 0))
        np.testing.assert_allclose(found.vector, plain.vector, rtol=1e-14)
        np.testing.assert_allclose(found.scalars, plain.scalars, rtol=1e-14)
    best = int(np.argmin(np.where(np.isnan(losses), np.inf, losses)))
    np.testing.assert_array_equal(plain.vector, vectors[best])  # ties go to the lowest, who has no number never leads
    np.testing.assert_array_equal(plain.scalars, [losses[best], best])


@pytest.mark.ranks(1, 2, 3)
@FEW
@given(parties(), seeds, st.integers(0, 8))
def test_means_of_clients_are_weighted_among_them(worlds, ranks, party, seed, number):
    clients, workers = party
    assume(workers >= ranks)
    world = worlds(workers=workers)
    rng = np.random.default_rng(seed % 2**32)
    weights, vectors = rng.random(workers) + 0.1, rng.standard_normal((workers, 4))
    team = Team.of(world, [Quadratic((1.0,), (1.0,))] * len(world.hosted), Zero(), seed, weights=weights[world.hosted])
    present = clients(workers, Streams(seed), number)
    messages = [Message(vectors[w].copy(), np.array([vectors[w, 0] if present[w] else np.nan])) for w in world.hosted]
    found, _, _ = Mean()(messages, (), Joint(team, number, clients))
    shares = weights * present / (weights * present).sum()
    np.testing.assert_allclose(found.vector, shares @ vectors, atol=1e-13)
    assert found.scalars[0] == pytest.approx(shares @ vectors[:, 0], abs=1e-13)
    if clients != EVERYONE and not clients.all:
        assert found.scalars[1] == pytest.approx(weights[present].sum() / weights.sum(), rel=1e-12)


# ---------------------------------------------------------------------------------------------- logs
@given(st.lists(st.floats(-1e6, 1e6), max_size=35), st.integers(0, 40))
def test_the_running_loss_is_the_mean_of_the_last(losses, broken):
    log = Log.blank()
    assert np.isnan(log.loss)
    for k, loss in enumerate(losses):
        log = log.after(float("inf") if k == broken else loss, 3)
        seen = [float("inf") if j == broken else x for j, x in enumerate(losses[: k + 1])]
        np.testing.assert_allclose(log.loss, np.mean(seen[-WINDOW:]), rtol=1e-9, atol=1e-9)
    assert (log.steps, log.rows) == (len(losses), 3 * len(losses))
    assert log.bad == (broken if broken < len(losses) else -1)


# ---------------------------------------------------------------------------------------------- chunks
@given(seeds, st.integers(1, 6), st.data())
def test_every_chunk_lives_on_as_many_workers_as_is_asked_for(seed, workers, data):
    redundancy = data.draw(st.integers(1, workers))
    rows = data.draw(st.integers(workers, 60))
    size = data.draw(st.integers(1, rows // workers))
    step = data.draw(st.integers(0, 20))
    lengths = [rows // workers + (c < rows % workers) for c in range(workers)]
    starts, seen = np.cumsum([0, *lengths]), []
    for worker in range(workers):
        chunks = redundant(rows, workers, redundancy, worker, size, Streams(seed))
        local = chunks(step)
        assert local.shape == (size * redundancy,) and local.dtype == np.int64
        held = np.concatenate(
            [np.arange(starts[c], starts[c + 1]) for c in [(worker + k) % workers for k in range(redundancy)]]
        )
        assert local.min() >= 0 and local.max() < len(held)
        owners = np.searchsorted(starts, held[local], "right") - 1
        assert np.bincount(owners, minlength=workers).tolist() == [
            size * ((c - worker) % workers < redundancy) for c in range(workers)
        ]
        assert len(set(local.tolist())) == len(local)
        seen.append(np.unique(owners))
    assert np.bincount(np.concatenate(seen), minlength=workers).tolist() == [redundancy] * workers


@given(seeds, st.lists(st.tuples(st.integers(1, 12), st.integers(0, 5)), min_size=1, max_size=4))
def test_joined_chunks_are_the_chunks(seed, parts):
    batches = [Batches(rows, 1, Streams(seed), k) for k, (rows, _) in enumerate(parts)]
    joined = Chunks(tuple(zip(batches, [first for _, first in parts], strict=True)))
    for step in range(5):
        expected = [part(step)[0] + first for part, (_, first) in zip(batches, parts, strict=True)]
        assert joined(step).tolist() == expected
