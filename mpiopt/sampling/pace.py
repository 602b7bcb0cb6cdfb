"""How many local steps a worker makes between two agreements.

Period(h)        h, a number or a schedule of the round
ByRows(h)        h in the mean, each worker as many as it has rows: the same epochs for all
Geometric(p)     until a coin that all workers share shows heads, which it does with probability p
Tickets(tau)     until the ranks together have made tau steps each, however they were shared among fast and slow
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.numerics.schedules import Schedule
from mpiopt.problems.problem import Site


class Pace(Protocol):
    """One item for each step of a round."""

    def __call__(self, site: Site, round: int) -> Iterable[object]:  # noqa: A002 - the field's word
        """The steps of a worker in this round."""

    def expected(self, round: int) -> float:  # noqa: A002
        """How many these are, in the mean."""


@dataclass(frozen=True)
class Period:
    """The same number for all workers. Raises UsageError unless it is at least 1."""

    steps: int | Schedule = 1

    def __post_init__(self) -> None:
        if not callable(self.steps) and not self.steps >= 1:
            raise UsageError(f"a period of {self.steps} local steps between agreements is not possible: give at least 1")

    def __call__(self, site: Site, round: int) -> Iterable[object]:  # noqa: A002
        """``steps`` of them."""
        return range(self.expected(round))

    def expected(self, round: int) -> int:  # noqa: A002
        """See `Pace.expected`."""
        return int(self.steps(round)) if callable(self.steps) else self.steps


@dataclass(frozen=True)
class ByRows:
    """As many passes over its own rows for every worker, ``steps`` steps in the mean; at least one. Raises UsageError.

    McMahan, Moore, Ramage, Hampson, Aguera y Arcas, Communication-efficient learning, AISTATS 2017, algorithm 1, where a
    round is so many epochs.
    """

    steps: int = 16

    def __post_init__(self) -> None:
        Period(self.steps)

    def __call__(self, site: Site, round: int) -> Iterable[object]:  # noqa: A002
        """In proportion to the worker's weight."""
        return range(max(1, int(self.steps * site.share * site.world.workers + 0.5)))

    def expected(self, round: int) -> int:  # noqa: A002
        """See `Pace.expected`."""
        return self.steps


@dataclass(frozen=True)
class Geometric:
    """1, 2, 3, ... with probabilities p, p (1 - p), p (1 - p)^2, ...: the same draw for all workers. Raises UsageError.

    Mishchenko, Malinovsky, Stich, Richtarik, ProxSkip: yes! Local gradient steps provably lead to communication
    acceleration, ICML 2022, algorithm 2.
    """

    probability: float

    def __post_init__(self) -> None:
        if not 0 < self.probability <= 1:
            raise UsageError(f"the probability of an agreement is {self.probability}: give a number above 0, at most 1")

    def __call__(self, site: Site, round: int) -> Iterable[object]:  # noqa: A002
        """The draw of this round."""
        return range(int(site.streams("coin", round).geometric(self.probability)))

    def expected(self, round: int) -> float:  # noqa: A002
        """1 / p."""
        return 1 / self.probability


@dataclass(frozen=True)
class Tickets:
    """A counter that all ranks share: every rank draws a number before each step, and tau * size numbers make a round.

    Who draws a number of a later round meets the others first, and makes its step after that: a round has tau * size steps,
    however they fall to fast and slow ranks. The workers of one rank step together; on one rank it is Period(tau).
    Teng et al., Leader stochastic gradient descent, NeurIPS 2019, algorithm 1. Raises UsageError if tau < 1.
    """

    tau: int = 1

    def __post_init__(self) -> None:
        Period(self.tau)

    def __call__(self, site: Site, round: int) -> Iterator[object]:  # noqa: A002
        """A step for each number of this round. The first call in a World is collective."""
        world = site.world
        counter = world.window("tickets", 1 + 3 * world.size, np.dtype(np.int64))  # numbers drawn; then three of each rank
        made, end, kept = range(1 + world.rank, counter.length, world.size)
        if site.worker > world.hosted[0]:  # the steps of this rank's first worker in this round, once more
            yield from range(counter.fetch_and_add(0, made))
            return
        size, steps = self.tau * world.size, 0
        limit = counter.fetch_and_add(size, end) + size  # rounds lie end to end, those of a training before this one too
        number = counter.fetch_and_add(0, kept) - 1  # drawn in the round before
        number = counter.fetch_and_add(1) if number < 0 else number
        while number < limit:
            steps += 1
            yield None
            number = counter.fetch_and_add(1)
        for at, value in ((made, steps), (kept, number + 1)):
            counter.fetch_and_add(value - counter.fetch_and_add(0, at), at)

    def expected(self, round: int) -> float:  # noqa: A002
        """tau."""
        return float(self.tau)
