"""A small regression shared out over workers, once as a team and once in plain numpy, for the tests of training."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import count, islice

import numpy as np
import scipy.sparse

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds
from mpiopt.engine.method import Run
from mpiopt.kernels.csr import CSR
from mpiopt.losses.least_squares import LeastSquares
from mpiopt.methods import find, training
from mpiopt.numerics.schedules import Constant
from mpiopt.numerics.streams import Streams
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from mpiopt.sampling.batches import Batches
from mpiopt.sampling.clients import EVERYONE
from mpiopt.training.method import Training
from mpiopt.transforms.rules import sgd

SEED = 5
LR = 0.1
GENERAL = [name for name in training() if name != "model_parallel"]  # that train any model; the other divides perceptrons


class Shared:
    """Rows of a regression whose answers differ from worker to worker; f_w is half the mean square.

    size : rows of a minibatch, None for all. rows not divisible by the workers give shares that differ. bounds : (workers
    + 1,) of the workers' rows, even unless given.
    """

    def __init__(self, workers=4, rows=40, features=5, size: int | None = 3, l2=0.0, apart=1.0, bounds=None):
        rng = np.random.default_rng(workers * 100 + rows)
        self.workers, self.size, self.l2 = workers, size, l2
        self.bounds = even(rows, workers) if bounds is None else np.asarray(bounds)
        self.a = rng.standard_normal((rows, features))
        planted = rng.standard_normal(features) + apart * rng.standard_normal((workers, features))
        owner = np.repeat(np.arange(workers), np.diff(self.bounds))
        self.y = (self.a * planted[owner]).sum(axis=1) + 0.1 * rng.standard_normal(rows)
        self.shares = np.diff(self.bounds) / rows
        self.start = rng.standard_normal(features)

    @cache  # noqa: B019 - as long as the test
    def batches(self, worker: int) -> Callable[[int], np.ndarray | None]:
        """The sample of a worker, as the team has it."""
        rows = int(self.bounds[worker + 1] - self.bounds[worker])
        return (lambda step: None) if self.size is None else Batches(rows, self.size, Streams(SEED), worker)

    def linear(self, worker: int) -> Linear:
        """The loss of a worker's rows."""
        mine = slice(*self.bounds[worker : worker + 2])
        a = scipy.sparse.csr_array(self.a[mine])
        return Linear(CSR.of(a.indptr, a.indices, a.data, a.shape), self.y[mine], LeastSquares())

    def team(self, world: World) -> Team:
        """The workers that a rank hosts."""
        assert world.workers == self.workers
        hosted = world.hosted
        samples = [self.batches(w) for w in hosted]
        return Team.of(world, [self.linear(w) for w in hosted], L2(self.l2), SEED, samples)

    # ------------------------------------------------------------------------------------------ in plain numpy
    def residual(self, worker: int, x: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the sample of a step, and what they miss."""
        rows = self.batches(worker)(step)
        mine = np.arange(*self.bounds[worker : worker + 2])
        mine = mine if rows is None else mine[rows]
        return self.a[mine], self.a[mine] @ x - self.y[mine]

    def value(self, worker: int, x: np.ndarray, step: int = 0) -> float:
        """A worker's loss over its sample, the penalty included."""
        _, r = self.residual(worker, x, step)
        return float(r @ r) / (2 * len(r)) + self.l2 / 2 * float(x @ x)

    def gradient(self, worker: int, x: np.ndarray, step: int = 0) -> np.ndarray:
        """Its gradient."""
        a, r = self.residual(worker, x, step)
        return a.T @ r / len(r) + self.l2 * x

    def mean_gradient(self, x: np.ndarray, step: int = 0) -> np.ndarray:
        """The mean over the workers, weighted by their rows."""
        return self.mean([self.gradient(w, x, step) for w in range(self.workers)])

    def mean(self, parts) -> np.ndarray:
        """Weighted by rows."""
        return self.shares @ np.asarray(parts)

    def optimum(self) -> np.ndarray:
        """argmin f."""
        n = len(self.y)
        return np.linalg.solve(self.a.T @ self.a / n + self.l2 * np.eye(len(self.start)), self.a.T @ self.y / n)


def averaged(data: Shared, period: int, move, outer=None, clients=EVERYONE, reset=False):
    """x after every round: the workers make ``period`` steps, the mean of how far they came is a step.

    move : (worker, y, step, memory, x) -> y; outer : (x, how far, round) -> x.
    """
    x, steps, memory = data.start, [0] * data.workers, [{} for _ in range(data.workers)]
    for k in count():
        yield x
        present, far = clients(data.workers, Streams(SEED), k), np.zeros((data.workers, x.size))
        for w in np.flatnonzero(present).tolist():
            y = x
            for _ in range(period(k) if callable(period) else period):
                y = move(w, y, steps[w], memory[w], x)
                steps[w] += 1
            far[w] = y - x
            if reset:
                memory[w].clear()
        weights = data.shares * present
        mean = weights @ far / weights.sum()
        x = x + mean if outer is None else outer(x, mean, k)


def plainly(data: Shared, lr=LR):
    """A move of SGD."""
    return lambda w, y, step, memory, x: y - (lr(step) if callable(lr) else lr) * data.gradient(w, y, step)


def taken(trajectory, n: int) -> np.ndarray:
    return np.array(list(islice(trajectory, n + 1)))


def built(name: str, **more) -> Training:
    """A method of the catalogue with what the command line fills in."""
    entry = find(name, training())
    given = {"rule": sgd(0.05), "lr": Constant(0.05), "workers": 4, "total_steps": 8, "fragments": 2} | more
    return entry.make(**{key: value for key, value in given.items() if key in entry.parameters})


def path(method: Training, team: Team, x: np.ndarray, count: int) -> np.ndarray:
    """The answers at the start and after every round, (count + 1, dim). Collective."""
    return np.array([method.answer(run, team).x.copy() for run in islice(rounds(method, team, x.copy()), count + 1)])


def points(run: Run, world: World) -> np.ndarray:
    """The points of all workers, (workers, dim). Collective."""
    return np.concatenate(world.tell_all(np.array([at.x for at in run.points])))


def paths(method: Training, team: Team, x: np.ndarray, count: int) -> np.ndarray:
    """The workers' own points at the start and after every round, (count + 1, workers, dim). Collective."""
    runs: Iterator[Run] = islice(rounds(method, team, x.copy()), count + 1)
    return np.array([points(run, team.world) for run in runs])
