"""``mpiopt bench train``: steps a second of synchronous SGD, against torch DistributedDataParallel over gloo.

Both train the small convolutional network on the same rows in the same ranks, batch and rule: momentum 0.9 after the mean
gradient. They take turns, so that a machine whose speed drifts treats both alike.
"""

import socket
from collections.abc import Callable
from datetime import timedelta
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.io.dataset.dense import held, open_dense
from mpiopt.jobs.cli.console import Console, table
from mpiopt.jobs.machine.environment import threads
from mpiopt.numerics.streams import Streams
from mpiopt.problems.examples import Dense
from mpiopt.sampling.batches import Batches
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World

BATCH, LR, STEPS = 32, 0.05, 60


def racing(data: str | None, runs: int, world: "World", console: Console) -> dict[str, Any]:
    """Measure and show. Collective. Raises UsageError without torch."""
    from mpiopt.training.torch.library import torch_module, use_threads

    torch = torch_module()
    use_threads(threads())
    console("making the models")
    rows, shape, classes = _rows(data, world)
    batches = [Batches(each.rows, BATCH, Streams(), worker) for each, worker in zip(rows, world.hosted, strict=True)]
    ours, dim = _ours(rows, batches, shape, classes, world)
    peer = _ddp(torch, rows[0], batches[0], shape, classes, world)
    console("timing")
    pairs = [(_seconds(ours, world), _seconds(peer, world)) for _ in range(runs + 1)][1:]
    torch.distributed.destroy_process_group()
    found = {
        "ranks": world.size,
        "batch": BATCH,
        "parameters": dim,
        "torch": torch.__version__,
        "steps": STEPS,
        "steps_per_second": STEPS / median(a for a, _ in pairs),
        "ddp_steps_per_second": STEPS / median(b for _, b in pairs),
        "ratio": median(b / a for a, b in pairs),
    }
    lines = [
        ["mpiopt sgd", f"{found['steps_per_second']:.1f}", f"{found['ratio']:.2f}"],
        [f"torch {torch.__version__} DDP, gloo", f"{found['ddp_steps_per_second']:.1f}", ""],
    ]
    console.show(
        f"small CNN, {dim:,} parameters, batch {BATCH} on each of {counted(world.size, 'rank')}, "
        f"{STEPS} steps, medians of {runs}\n"
    )
    console.show(table(["", "steps/s", "ratio"], lines, "lrr"))
    return found


def _rows(data: str | None, world: "World") -> tuple[list[Dense], tuple[int, ...], int]:
    """This rank's rows: of a data set, or images of noise."""
    if data is not None:
        source = open_dense(data, world)
        return [Dense(h.x, h.y, source.item.scaled) for h in held(source, world, "sharded", None)], source.shape, source.classes
    stream = Streams()("rows", 0, world.rank)
    x = stream.standard_normal((4000, 28, 28), np.float32)
    return [Dense(x, stream.integers(0, 10, len(x)))], (28, 28), 10


def _ours(
    rows: list[Dense], batches: list[Batches], shape: tuple[int, ...], classes: int, world: "World"
) -> tuple[Callable[[], None], int]:
    from mpiopt.methods import find, training
    from mpiopt.problems.penalties import Zero
    from mpiopt.problems.problem import Team
    from mpiopt.training.torch.model import TorchModel
    from mpiopt.training.torch.networks import small_cnn
    from mpiopt.transforms.rules import torch_momentum

    models = [TorchModel(lambda: small_cnn(shape, classes), each) for each in rows]
    team = Team.of(world, models, Zero(), samples=batches)
    method = find("sgd", training()).make(rule=torch_momentum(LR))
    run = method.init(world.bcast(models[0].initial(Streams()("start"))), team)

    def steps() -> None:
        nonlocal run
        for _ in range(STEPS):
            run = method.step(run, team)

    return steps, team.dim


def _ddp(torch: Any, rows: Dense, batch: Batches, shape: tuple[int, ...], classes: int, world: "World") -> Callable[[], None]:
    """The same in torch's own words."""
    from mpiopt.training.torch.networks import small_cnn

    place = world.tell(_free_port() if world.rank == 0 else None)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://{place}", rank=world.rank, world_size=world.size, timeout=timedelta(seconds=60)
    )
    model = torch.nn.parallel.DistributedDataParallel(small_cnn(shape, classes))
    optimizer = torch.optim.SGD(model.parameters(), LR, momentum=0.9)
    done = 0

    def steps() -> None:
        nonlocal done
        for done in range(done, done + STEPS):  # noqa: B020 - it goes on where it was
            x, y = rows.take(batch(done), np.dtype(np.float32))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y)).backward()
            optimizer.step()

    return steps


def _free_port() -> str:
    """Where rank 0 listens."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return f"{socket.gethostname()}:{probe.getsockname()[1]}"


def _seconds(run: Callable[[], None], world: "World") -> float:
    """Wall seconds until the slowest rank is done. Collective."""
    world.barrier()
    start = perf_counter()
    run()
    return float(world.extremes(np.array([perf_counter() - start]))[1][0])
