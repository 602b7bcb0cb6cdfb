"""Training without waiting: nothing that is pushed is lost, nobody runs too far ahead, and slow ranks keep nobody back."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from time import sleep

import numpy as np
import pytest

from mpiopt.comm.window import Window
from mpiopt.methods.leader import async_lsgd, lsgd, multi_leader_lsgd
from mpiopt.methods.one_sided import async_easgd, async_sgd, downpour
from mpiopt.methods.trades import Pour
from mpiopt.problems.landscapes import Quadratic
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Team
from mpiopt.training.drive import Goal, train
from mpiopt.transforms.rules import momentum, sgd
from tests.training_sets import Shared, paths

RULE = sgd(0.05)
SOME = pytest.mark.ranks(2, 3)


class Bowl(Quadratic):
    """x^2 in three coordinates; ``before`` is done before every look at it."""

    def __init__(self, before: Callable[[], object] = int):
        super().__init__((1.0, 1.0, 1.0), (1.0, 1.0, 1.0))
        object.__setattr__(self, "before", before)

    def value_grad(self, at):
        self.before()
        return super().value_grad(at)


def team_of(world, *before: Callable[[], object]) -> Team:
    """Rank 0 does the first before every look, rank 1 the second, ..., the others the last."""
    mine = before[min(world.rank, len(before) - 1)] if before else int
    return Team.of(world, [Bowl(mine) for _ in world.hosted], Zero())


def until(done: Callable[[], bool]) -> None:
    """Stand still, outside MPI but for the looks that ``done`` takes: no rank's speed decides what a test finds."""
    while not done():
        sleep(1e-4)


# ---------------------------------------------------------------------------------------------- the centre
@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("extra", [0, 3])
@pytest.mark.parametrize("name", ["async_easgd", "downpour", "async_sgd", "damped"])
def test_the_centre_is_the_sum_of_what_was_pushed(worlds, ranks, monkeypatch, name, extra):
    world, pushed = worlds(workers=ranks + extra), [np.zeros(5)]
    add = Window.add

    def spied(self, x):
        pushed.append(x.copy())
        add(self, x)

    monkeypatch.setattr(Window, "add", spied)
    data = Shared(workers=ranks + extra)
    method = {
        "async_easgd": async_easgd(RULE, ranks + extra, period=3, meeting=30),
        "downpour": downpour(RULE, period=3, meeting=30),
        "async_sgd": async_sgd(RULE, meeting=30),
        "damped": async_sgd(RULE, damped=True, meeting=30),
    }[name]
    trained = train(method, data.team(world), data.start, Goal(rounds=4))
    total = np.sum(world.tell_all(np.sum(pushed, axis=0)), axis=0)
    np.testing.assert_allclose(trained.x, data.start + total, rtol=0, atol=1e-12)
    trades = sum(world.tell_all(len(pushed) - 1))
    assert trades * method.phases[0].work.steps_in(0) == trained.final.steps >= 4 * 30 * world.workers
    assert trained.run.states.clocks.sum() == trades  # each is in its worker's count
    assert abs(total).max() > 0.01


@SOME
def test_workers_go_on_from_the_centre_between_meetings(worlds, ranks):
    """Meetings change nothing but the time: a worker's point and what it has read are what they were."""
    world = worlds(workers=ranks)
    method = downpour(RULE, period=2, meeting=10)
    run = method.init(np.ones(3), team_of(world))
    for _ in range(5):
        run = method.step(run, team_of(world))
        for at, read in zip(run.points, run.states.read, strict=True):
            np.testing.assert_array_equal(at.x, read.x)


# ---------------------------------------------------------------------------------------------- delay
@dataclass(frozen=True)
class Heard(Pour):
    """Keeps the delays that it was told."""

    delays: list = field(default_factory=list)

    def __call__(self, x, read, centre, delay):
        self.delays.append(delay)
        return super().__call__(x, read, centre, delay)


@SOME
@pytest.mark.parametrize("bound", [0, 3, None])
def test_nobody_is_further_ahead_than_the_bound(worlds, ranks, bound):
    """Rank 0 begins when another stands at the bound and can but wait for it, or, where there is none, well ahead."""
    world, trade, leads = worlds(workers=ranks), Heard(), []

    def clocks() -> np.ndarray:
        return world.window("clocks", world.workers + 2, np.dtype(np.int64)).get()[: world.workers]

    def look() -> None:
        if world.rank == 0:
            until(lambda: clocks().max() > (4 if bound is None else bound))
        now = clocks()
        leads.append(int(now[world.rank] - now.min()))

    method = replace(async_sgd(RULE, meeting=12), bound=bound, trade=trade)
    train(method, team_of(world, look), np.ones(3), Goal(rounds=3))
    lead = max(world.tell_all(max(leads)))
    assert lead == bound if bound is not None else lead > 3
    delays = [delay for many in world.tell_all(trade.delays) for delay in many]
    assert min(delays) >= 0 and max(delays) > 0
    assert bound is None or max(delays) <= (ranks - 1) * (2 * bound + 2)


@SOME
@pytest.mark.parametrize("bound", [0, 2])
def test_workers_that_share_a_rank_never_wait_for_each_other(worlds, ranks, bound):
    """Meetings interrupt their turns anywhere; who is behind goes first after them."""
    world = worlds(workers=2 * ranks + 1)
    trained = train(async_sgd(RULE, bound, meeting=7), team_of(world), np.ones(3), Goal(rounds=15))
    clocks = trained.run.states.clocks
    assert clocks.max() - clocks.min() <= bound + 1
    assert trained.final.steps == clocks.sum() >= 15 * 7 * world.workers


@pytest.mark.ranks(1)
@pytest.mark.parametrize("damped", [False, True])
def test_workers_on_one_rank_take_turns(worlds, damped):
    """Round robin: each step is as stale as there are other workers, and divided by 1 + that where damped."""
    n, steps = 3, 21
    data, world = Shared(workers=n), worlds(workers=n)
    method = replace(async_sgd(RULE, damped=damped, meeting=steps // n), trade=(trade := Heard(damped)))
    trained = train(method, data.team(world), data.start, Goal(rounds=2))
    centre, read = data.start, [data.start] * n
    for k in range(2 * steps):
        w, turn = k % n, k // n
        step = -0.05 * data.gradient(w, read[w], turn)
        centre = centre + step / ((1 + min(k, n - 1)) if damped else 1)
        read[w] = centre
    np.testing.assert_allclose(trained.x, centre, rtol=0, atol=1e-13)
    assert trade.delays == [min(k, n - 1) for k in range(2 * steps)]  # meetings leave them as they are


@pytest.mark.ranks(1)
def test_elastic_workers_on_one_rank_take_turns(worlds):
    n, beta, lr = 3, 0.6, 0.05
    data = Shared(workers=n)
    trained = train(
        async_easgd(RULE, n, period=2, beta=beta, meeting=8), data.team(worlds(workers=n)), data.start, Goal(rounds=3)
    )
    x, c = np.tile(data.start, (n, 1)), data.start
    for k in range(4 * n * 3):
        w, turn = k % n, k // n
        for j in range(2):
            x[w] -= lr * data.gradient(w, x[w], 2 * turn + j)
        pull = beta / n * (x[w] - c)
        x[w] -= pull
        c = c + pull
    np.testing.assert_allclose(trained.x, c, rtol=0, atol=1e-13)
    np.testing.assert_allclose([at.x for at in trained.run.points], x, rtol=0, atol=1e-13)


# ---------------------------------------------------------------------------------------------- tickets
def made_in(method, team: Team, n: int, x=None) -> np.ndarray:
    """Steps of every worker in each of n rounds, (n, workers). Collective."""
    run, counts = method.init(np.ones(3) if x is None else x, team), []
    for _ in range(n):
        run = method.step(run, team)
        counts.append([log.steps for log in method.logs(run)])
    told = np.concatenate(team.world.tell_all(np.array(counts)), axis=1)
    return np.diff(told, axis=0, prepend=0)


@SOME
@pytest.mark.parametrize("each", [1, 2])
def test_a_round_has_tau_steps_for_each_rank_and_every_rank_meets(worlds, ranks, each):
    """However late rank 0 is: the others make the steps that it does not come to."""
    world = worlds(workers=each * ranks)

    def none_left() -> bool:
        drawn = world.window("tickets", 1 + 3 * world.size, np.dtype(np.int64)).get()
        return drawn[0] >= drawn[1 + world.size]  # the numbers of rank 0's present round

    for tau in (4, 1, 7):  # one training after the other in one World
        late = partial(until, none_left) if tau == 7 else int
        counts = made_in(async_lsgd(RULE, tau), team_of(world, late, int), 8)
        np.testing.assert_array_equal(counts.sum(axis=1), tau * ranks * each)
        assert (counts[1:] >= 1).all()  # who has drawn a number has a step
        if each == 2:  # those of one rank step together
            np.testing.assert_array_equal(counts[:, ::2], counts[:, 1::2])
        if tau == 7:
            assert (counts[1:, 0] == 1).all()


@SOME
def test_groups_that_do_not_wait_for_each_other_share_their_rounds_all_the_same(worlds, ranks):
    """Leaders of single ranks never wait; only every fourth round brings all together."""
    tau, world = 3, worlds()
    method = multi_leader_lsgd(RULE, tau, rounds=4, groups=ranks, asynchronous=True)
    counts = made_in(method, team_of(world, partial(sleep, 0.003), int), 8)
    np.testing.assert_array_equal(counts.sum(axis=1), tau * ranks)


@pytest.mark.ranks(1)
def test_tickets_on_one_rank_are_a_period(worlds):
    data = Shared(apart=0.0)
    found = [
        paths(method(momentum(0.05), 3, 0.3), data.team(worlds(workers=4)), data.start, 8) for method in (lsgd, async_lsgd)
    ]
    np.testing.assert_array_equal(*found)


# ---------------------------------------------------------------------------------------------- stragglers
@pytest.mark.ranks(2)
@pytest.mark.parametrize("name", ["lsgd", "easgd"])
def test_a_rank_that_stands_still_keeps_nobody_back(worlds, name):
    """While rank 0 is in its first step, rank 1 makes half as many again as its own part of the round."""
    world = worlds()
    share, method = {"lsgd": (16, async_lsgd(RULE, 16)), "easgd": (40, async_easgd(RULE, 2, 4, meeting=40))}[name]
    looks = world.window("looks", 1, np.dtype(np.int64))
    waiting, looking = partial(until, lambda: looks.get()[0] >= 1.5 * share), partial(looks.fetch_and_add, 1)
    made = made_in(method, team_of(world, waiting, looking), 1)
    assert made[0, 1] >= 1.5 * share and made.sum() >= 2 * share
