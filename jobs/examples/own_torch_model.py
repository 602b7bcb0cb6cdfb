"""A torch module of one's own, trained by local SGD over all ranks (extra: torch).

mpiexec -n 4 python -m mpi4py own_torch_model.py
"""

import numpy as np

from mpiopt import Dense, Exam, Goal, Team, TorchModel, World, Zero, find, run
from mpiopt.numerics.streams import Streams
from mpiopt.sampling.batches import Batches
from mpiopt.transforms.rules import momentum


def network() -> object:
    """The module, made anew at every call."""
    from torch import nn

    return nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))


def rows(count: int, seed: int) -> Dense:
    """Two rings, one about the other."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, count)
    angle, radius = rng.uniform(0, 2 * np.pi, count), 1.0 + y + 0.1 * rng.standard_normal(count)
    return Dense(np.column_stack([radius * np.cos(angle), radius * np.sin(angle)]).astype(np.float32), y)


def main() -> None:
    """Every worker has rows of its own; the answer is examined on others. Collective."""
    world = World()
    models = [TorchModel(network, rows(200, seed=worker)) for worker in world.hosted]
    samples = [Batches(200, 20, Streams(0), worker) for worker in world.hosted]
    team = Team.of(world, models, Zero(), samples=samples)
    exam = Exam(tuple(TorchModel(network, rows(200, seed=1000 + worker)) for worker in world.hosted))
    start = models[0].initial(np.random.default_rng(0))
    trained = run(find("local_sgd").make(rule=momentum(0.05), period=5), team, start, Goal(epochs=20, accuracy=0.97), exam=exam)
    if world.rank == 0:
        print(f"accuracy {trained.accuracy:.3f} after {trained.final.epoch:.1f} epochs. {trained.reason_text}")


if __name__ == "__main__":
    main()
