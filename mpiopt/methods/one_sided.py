"""Asynchronous training around a centre that nobody serves: every rank reads it and adds to it when it likes.

    async_easgd, async_eamsgd    e = a (x - c);  x <- x - e;  c <- c + e          after every ``period`` steps
    downpour, async_sgd          c <- c + (x - what was read);  x <- c            after every ``period`` steps, or each

A round is all that happens between two meetings: the workers make ``meeting`` steps in the mean, fast ones more, then
wait for each other, so that records, examinations and checkpoints see a centre at rest.
"""

import time
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.window import Window
from mpiopt.engine.method import Run
from mpiopt.engine.phase import Local, PerWorker, Phase, Tree
from mpiopt.errors import UsageError
from mpiopt.exchange.mean import Alone
from mpiopt.methods.elastic import PAPER, elastic
from mpiopt.methods.entry import Entry
from mpiopt.methods.trades import Pour, Stretch, Trade
from mpiopt.numerics.schedules import Schedule
from mpiopt.outer.descend import Stay
from mpiopt.problems.problem import Point, Team
from mpiopt.sampling.pace import Period
from mpiopt.training.method import Training
from mpiopt.transforms.rules import nag
from mpiopt.transforms.transform import Transform
from mpiopt.work.steps import Steps


class Read(NamedTuple):
    """What a worker has read of the centre (dim,), and how many trades there had been."""

    x: Array
    trades: int


class AtRest(NamedTuple):
    """What is kept from meeting to meeting."""

    works: tuple[PerWorker, ...]  # as of `States`
    centre: Array  # (dim,)
    read: PerWorker  # a Read each
    clocks: Array  # trades of each worker, (workers,) int64


@dataclass(frozen=True)
class OneSided(Training):
    """Local steps and trades with the centre, until it is time to meet.

    meeting : steps of a worker in a round, in the mean. bound : the trades by which a worker may be ahead of the slowest one
    when it begins its steps, None for any number.
    """

    trade: Trade = field(default_factory=lambda: Stretch(0.1))
    meeting: int = 100
    bound: int | None = None

    def init(self, x: Array, team: Team) -> Run:
        """All workers and the centre at x. Collective."""
        run = super().init(x, team)
        read = PerWorker(Read(x.copy(), 0) for _ in team.sites)
        clocks = np.zeros(team.world.workers, np.int64)
        return run._replace(states=AtRest(run.states.works, x.copy(), read, clocks))

    def step(self, run: Run, team: Team) -> Run:
        """From one meeting to the next. Collective at both."""
        kept, world = run.states, team.world
        clocks = kept.clocks
        centre = world.window("centre", kept.centre.size, kept.centre.dtype)
        counts = world.window("clocks", world.workers + 2, np.dtype(np.int64))  # per worker, then trades and steps of all
        centre.put(kept.centre)
        counts.put(np.concatenate([clocks, [clocks.sum(), 0]]))
        world.barrier()
        points, states, read = self._work(run, team, centre, counts)
        world.barrier()
        after = AtRest((PerWorker(states),), centre.get(kept.centre), PerWorker(read), counts.get()[: world.workers])
        world.barrier()  # nobody prepares the next round while others still read this one
        return Run(PerWorker(points), None, after, run.round + 1)

    def _work(self, run: Run, team: Team, centre: Window, counts: Window) -> tuple[list[Point], list[Tree], list[Read]]:
        """This rank's workers in turn, until enough steps have been made. Not collective."""
        points, states, read = list(run.points), list(run.states.works[0]), list(run.states.read)
        work, workers = self.phases[0].work, team.world.workers
        mine = [int(run.states.clocks[site.worker]) for site in team.sites]
        while True:
            i = mine.index(min(mine))  # the hindmost: nobody waits for one whose turn comes after on the same rank
            site, before = team.sites[i], read[i]
            with team.world.waiting("clocks"):
                more = self._may_go_on(counts, site.worker, workers)
            if not more:
                return points, states, read
            points[i], _, states[i] = work(points[i], None, states[i], Local(site, run.round, self.own))
            trades = counts.fetch_and_add(1, workers)
            read[i] = Read(self.trade(points[i].x, before.x, centre, trades - before.trades), trades + 1)
            mine[i] += 1
            counts.fetch_and_add(1, site.worker)
            counts.fetch_and_add(int(work.steps_in(run.round)), workers + 1)

    def _may_go_on(self, counts: Window, worker: int, workers: int) -> bool:
        """Wait until this worker is at most ``bound`` trades ahead; False once it is time to meet. Not collective."""
        while counts.fetch_and_add(0, workers + 1) < self.meeting * workers:
            if self.bound is None:
                return True
            clocks = counts.get()[:workers]
            if clocks[worker] - clocks.min() <= self.bound:
                return True
            time.sleep(1e-4)
        return False

    def steps_in(self, round: int) -> float:  # noqa: A002 - the field's word
        """Those between two meetings."""
        return float(self.meeting)

    def answer(self, run: Run, team: Team) -> Point:
        """The centre at rest. Not collective."""
        return Point(run.states.centre)


def async_easgd(
    rule: Transform, workers: int, period: int = 10, beta: float = 0.9, meeting: int = 100, bound: int | None = None
) -> OneSided:
    """Elastic averaging SGD without waiting: each worker meets the centre every ``period`` steps of its own."""
    elastic(beta)
    return _one_sided(rule, period, Stretch(beta / workers), meeting, bound)


def async_eamsgd(
    lr: Schedule,
    workers: int,
    period: int = 10,
    beta: float = 0.9,
    delta: float = 0.99,
    meeting: int = 100,
    bound: int | None = None,
) -> OneSided:
    """Asynchronous elastic averaging with Nesterov momentum ``delta`` in every worker."""
    return async_easgd(nag(lr, delta), workers, period, beta, meeting, bound)


def downpour(rule: Transform, period: int = 1, meeting: int = 100, bound: int | None = None) -> OneSided:
    """DOWNPOUR: workers add what they did in ``period`` steps to the centre, and go on from there."""
    return _one_sided(rule, period, Pour(), meeting, bound)


def async_sgd(rule: Transform, bound: int = 16, damped: bool = False, meeting: int = 100) -> OneSided:
    """Asynchronous SGD with bounded delay: no worker is more than ``bound`` steps ahead; ``damped`` divides by the delay."""
    return _one_sided(rule, 1, Pour(damped), meeting, bound)


def _one_sided(rule: Transform, period: int, trade: Trade, meeting: int, bound: int | None) -> OneSided:
    if bound is not None and bound < 0:
        raise UsageError(f"the bound on the delay is {bound}: give at least 0")
    if meeting < 1:
        raise UsageError(f"a meeting every {meeting} steps is not possible: give at least 1")
    phase = Phase(Steps(rule, Period(period)), Alone())
    return OneSided(None, (phase,), Stay(), trade=trade, meeting=meeting, bound=bound)


ENTRIES = (
    Entry(async_easgd, PAPER),
    Entry(async_eamsgd, PAPER, rule="nag"),
    Entry(downpour, "Dean et al., Large scale distributed deep networks, NIPS 2012"),
    Entry(async_sgd, "Ho et al., More effective distributed ML via a stale synchronous parallel parameter server, 2013"),
)
