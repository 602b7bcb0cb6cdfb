"""Where studies run their methods: any number of workers on any number of ranks, looked at when a study wants to look.

Sums are taken in worker order, so that a study finds the same numbers on every number of ranks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds as rounds_of
from mpiopt.engine.method import Run
from mpiopt.jobs.cli.console import Console
from mpiopt.problems.problem import Point, Team, gradient
from mpiopt.training.method import Training
from mpiopt.work.log import Logging

Task = TypeVar("Task")
Done = TypeVar("Done")


class Reading(NamedTuple):
    """One line of a trail. Bytes, messages, vector rounds and steps are cumulative, over all ranks."""

    round: int
    seconds: float
    objective: float  # at the answer, exactly: not a running loss
    gradient_norm: float
    bytes_sent: int
    vector_rounds: int
    messages: int
    steps: int  # of all workers
    edge_bytes: int  # said along the edges of a graph, inside of ranks too; 0 where there is none


@dataclass(frozen=True)
class Trail:
    """What one run did. readings : its columns by name; points : (readings, dim), the answers that they are about.

    own : (readings, workers, dim), the workers' own points, or of no reading where they were not asked for.
    """

    name: str
    method: str
    workers: int
    ranks: int
    rows: int
    readings: dict[str, np.ndarray]
    points: np.ndarray
    own: np.ndarray
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def x(self) -> np.ndarray:
        """The last answer, (dim,)."""
        return self.points[-1]

    @property
    def objective(self) -> float:
        """F at the last answer."""
        return float(self.readings["objective"][-1])

    @property
    def rounds(self) -> int:
        """How many there were."""
        return int(self.readings["round"][-1])

    def distances(self, goal: np.ndarray) -> np.ndarray:
        """Squared distances of the answers from a point (dim,), (readings,)."""
        return ((self.points - goal) ** 2).sum(axis=1)

    def at(self, round: int) -> int:  # noqa: A002 - the field's word
        """The reading of a round that was looked at."""
        return int(np.flatnonzero(self.readings["round"] == round)[0])


class Lab:
    """What a study is given. world : all ranks; quick : only what takes a moment; data, test : data sets; seconds : for each
    of its methods."""

    def __init__(
        self,
        world: World,
        console: Console,
        quick: bool = False,
        data: str | None = None,
        test: str | None = None,
        seconds: float | None = None,
    ) -> None:
        self.world, self.console, self.quick = world, console, quick
        self.data, self.test, self.seconds = data, test, seconds

    def pick(self, full: Any, quick: Any) -> Any:
        """One or the other: as long as published, or as short as a test."""
        return quick if self.quick else full

    @property
    def seeds(self) -> range:
        """Those over which a study of random problems is repeated: ten, of which only the first leaves its runs."""
        return range(self.pick(10, 1))

    @contextmanager
    def crew(self, workers: int) -> Iterator[World | None]:
        """The World of so many workers; None on a rank for which there is none. Collective."""
        with _freed(World(workers=max(workers, self.world.size), deterministic=True)) as everybody:
            if workers >= everybody.size:
                yield everybody
                return
            with _freed(everybody.split(int(everybody.rank >= workers))) as some:
                yield some if everybody.rank < workers else None

    @contextmanager
    def alone(self, workers: int) -> Iterator[World]:
        """A World of this rank only, which hosts so many workers, in turn. Collective."""
        with (
            _freed(World(workers=workers * self.world.size, deterministic=True)) as everybody,
            _freed(everybody.split(everybody.rank)) as one,
        ):
            yield one

    def shared(self, tasks: Sequence[Task], work: Callable[[World, Task], Done]) -> list[Done]:
        """What each task comes to in a World of one worker, in their order; the ranks share them out. Collective."""
        with self.alone(1) as one:
            mine = [work(one, task) for task in tasks[self.world.rank :: self.world.size]]
        told = self.world.tell_all(mine)
        return [told[k % self.world.size][k // self.world.size] for k in range(len(tasks))]

    def follow(
        self,
        name: str,
        method: Training,
        workers: int,
        team: Callable[[World], Team],
        x: np.ndarray,
        rounds: int,
        *,
        every: int = 1,
        starts: Sequence[np.ndarray] | np.ndarray | None = None,
        done: Callable[[np.ndarray], bool] | None = None,
        own: bool = False,
        about: dict[str, Any] | None = None,
    ) -> Trail:
        """Run a method for so many rounds and look at every ``every``-th, the first and the last. Collective.

        team : the problem in a World. starts : a point for each worker, x being where all else begins. done : asked about
        the answer after every round, ends the run. own : look at the workers' own points too.
        """
        self.console.phase = f"running {name}"
        trail = None
        with self.crew(workers) as world:
            if world is not None:
                walk = Observed(method, team(world), every, own)
                trail = walk.to(x, starts, rounds, done, name=name, about=about or {})
        return self.world.tell(trail)


class Observed:
    """A method on a team, followed by its readings."""

    def __init__(self, method: Training, team: Team, every: int = 1, own: bool = False) -> None:
        self._method, self._team, self._every, self._own = method, team, every, own
        self._found: list[tuple[Reading, np.ndarray, list[np.ndarray]]] = []

    def to(
        self,
        x: np.ndarray,
        starts: Sequence[np.ndarray] | np.ndarray | None,
        rounds: int,
        done: Callable[[np.ndarray], bool] | None,
        **named: Any,
    ) -> Trail:
        """As `Lab.follow`. Collective."""
        start, clock = perf_counter(), 0.0
        for run in self._runs(x, starts):
            clock += perf_counter() - start
            ended = run.round >= rounds or (done is not None and done(self._answer(run)))
            if ended or not run.round % self._every:
                self._look(run, clock)
            if ended:
                return self._trail(**named)
            start = perf_counter()
        raise AssertionError("rounds do not end")

    def _runs(self, x: np.ndarray, starts: Sequence[np.ndarray] | np.ndarray | None) -> Iterator[Run]:
        """From a common start, or from one for each worker."""
        if starts is None:
            yield from rounds_of(self._method, self._team, x.copy())
            return
        run = self._method.init(x.copy(), self._team)
        for at, worker in zip(run.points, self._team.world.hosted, strict=True):
            at.x[:] = starts[worker]
        yield run
        yield from rounds_of(self._method, self._team, run)

    def _answer(self, run: Run) -> np.ndarray:
        with self._team.world.tally.paused():
            return self._method.answer(run, self._team).x

    def _look(self, run: Run, clock: float) -> None:
        """Collective; costs nothing on the tally and on the clock."""
        team, world = self._team, self._team.world
        with world.tally.paused():
            x = self._method.answer(run, team).x.copy()
            slope, (value,) = gradient(team, [Point(x)] * len(team.sites))
            steps = self._steps(run)
            own = world.gather(np.stack([at.x for at in run.points])) if self._own else []
            sent, seconds, _ = world.tallied(clock)
            parts = [sum(n for (w, _), n in world.tally.by_edge.items() if w == worker) for worker in world.hosted]
            said = int(world.total([np.array([float(part)]) for part in parts])[0])
        size = float(np.linalg.norm(team.penalty.residual(x, slope)))
        counts = sent, world.tally.vector_rounds, world.tally.messages, steps, said
        reading = Reading(run.round, seconds, float(value) + team.penalty.value(x), size, *counts)
        self._found.append((reading, x, own))

    def _steps(self, run: Run) -> int:
        """Of all workers: one a round of works that count none, such as a dual oracle. Collective."""
        if all(isinstance(state, Logging) for state in run.states.works[0]):
            return self._method.progress(run, self._team).steps
        return run.round * self._team.world.workers

    def _trail(self, name: str, about: dict[str, Any]) -> Trail:
        readings, points, own = zip(*self._found, strict=True)
        columns = {column: np.array([getattr(each, column) for each in readings]) for column in Reading._fields}
        owned = np.array([np.concatenate(each) for each in own]) if self._own else np.empty((0, 0, 0))
        world = self._team.world
        method = str(about.get("method", name))
        return Trail(name, method, world.workers, world.size, self._team.rows, columns, np.array(points), owned, about)


@contextmanager
def _freed(world: World) -> Iterator[World]:
    """A World that is given back unless something failed: then the others may be anywhere."""
    yield world
    world.free()
