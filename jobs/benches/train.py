"""``mpiopt bench train``: steps a second of synchronous training, against torch DistributedDataParallel over gloo.

Both train the same network on the same rows in the same ranks, batch and rule: the small convolutional network by momentum 0.9,
and with --data gpt the preset's transformer by AdamW. They take turns, so that a machine whose speed drifts treats both alike.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from statistics import median
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.io.dataset.dense import held, open_dense
from mpiopt.jobs.cli.console import Console, table
from mpiopt.jobs.machine.environment import threads
from mpiopt.numerics.streams import Streams
from mpiopt.problems.examples import Dense, Tokens
from mpiopt.sampling.batches import Batches
from mpiopt.training.torch.gpt import gpt, next_token
from mpiopt.transforms.rules import adamw, torch_momentum
from mpiopt.transforms.transform import Transform
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World

LR, STEPS = 0.05, 60
TOKENS, BLOCK, WINDOWS = 65, 128, 2000  # of the text that the transformer is timed on


@dataclass(frozen=True)
class Track:
    """What is trained. rows : this rank's. make : builds the module. loss : torch's. rule : ours. peer : torch's."""

    name: str
    rows: Dense | Tokens
    batch: int
    steps: int
    make: Callable[[], Any]
    loss: Callable[[Any, Any], Any]
    rule: Transform
    peer: Callable[[Any], Any]


def racing(data: str | None, runs: int, world: "World", console: Console) -> dict[str, Any]:
    """Measure and show. Collective. Raises UsageError without torch."""
    from mpiopt.training.torch.library import torch_module, use_threads

    torch = torch_module()
    use_threads(threads())
    console("making the models")
    track = _transformer(torch, world) if data == "gpt" else _convolutions(torch, data, world)
    batches = Batches(track.rows.rows, track.batch, Streams(), world.hosted.start)
    ours, dim = _ours(track, batches, world)
    peer = _ddp(torch, track, batches, world)
    console("timing")
    pairs = [(_seconds(ours, world), _seconds(peer, world)) for _ in range(runs + 1)][1:]
    torch.distributed.destroy_process_group()
    mine, others = (np.median([pair[k] for pair in pairs], axis=0) for k in (0, 1))
    found = {
        "network": track.name,
        "ranks": world.size,
        "batch": track.batch,
        "parameters": dim,
        "torch": torch.__version__,
        "steps": track.steps,
        "steps_per_second": track.steps / mine[0],
        "ddp_steps_per_second": track.steps / others[0],
        "ratio": median(b[0] / a[0] for a, b in pairs),
        "cpu_seconds_per_step": mine[1] / track.steps,
        "ddp_cpu_seconds_per_step": others[1] / track.steps,
    }
    lines = [
        ["mpiopt sgd", f"{found['steps_per_second']:.1f}", f"{found['ratio']:.2f}", f"{1e3 * mine[1] / track.steps:.1f}"],
        [
            f"torch {torch.__version__} DDP, gloo",
            f"{found['ddp_steps_per_second']:.1f}",
            "",
            f"{1e3 * others[1] / track.steps:.1f}",
        ],
    ]
    console.show(
        f"{track.name}, {dim:,} parameters, batch {track.batch} on each of {counted(world.size, 'rank')}, "
        f"{track.steps} steps, medians of {runs}\n"
    )
    console.show(table(["", "steps/s", "ratio", "CPU ms a step, all ranks"], lines, "lrrr"))
    return found


def _convolutions(torch: Any, data: str | None, world: "World") -> Track:
    """The small convolutional network, on the rows of a data set or on images of noise. Collective."""
    from mpiopt.training.torch.networks import small_cnn

    rows, shape, classes = _images(data, world)
    peer = partial(torch.optim.SGD, lr=LR, momentum=0.9)
    loss = torch.nn.functional.cross_entropy
    return Track("small CNN", rows, 32, STEPS, partial(small_cnn, shape, classes), loss, torch_momentum(LR), peer)


def _images(data: str | None, world: "World") -> tuple[Dense, tuple[int, ...], int]:
    """This rank's."""
    if data is not None:
        source = open_dense(data, world)
        mine = held(source, world, "sharded", None)[0]
        return Dense(mine.x, mine.y, source.item.scaled), source.shape, source.classes
    stream = Streams()("rows", 0, world.rank)
    x = stream.standard_normal((4000, 28, 28), np.float32)
    return Dense(x, stream.integers(0, 10, len(x))), (28, 28), 10


def _transformer(torch: Any, world: "World") -> Track:
    """The transformer of the preset, on tokens of no meaning."""
    rows = Tokens(Streams()("rows", 0, world.rank).integers(0, TOKENS, (WINDOWS, BLOCK + 1)).astype(np.uint8))
    peer = partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.01)
    return Track("GPT", rows, 8, STEPS // 6, partial(gpt, TOKENS, BLOCK), next_token, adamw(1e-3), peer)


def _ours(track: Track, batches: Batches, world: "World") -> tuple[Callable[[], None], int]:
    from mpiopt.methods import find, training
    from mpiopt.problems.penalties import Zero
    from mpiopt.problems.problem import Team
    from mpiopt.training.torch.model import TorchModel

    model = TorchModel(track.make, track.rows, track.loss)
    team = Team.of(world, [model], Zero(), samples=[batches])
    method = find("sgd", training()).make(rule=track.rule)
    run = method.init(world.bcast(model.initial(Streams()("start"))), team)

    def steps() -> None:
        nonlocal run
        for _ in range(track.steps):
            run = method.step(run, team)

    return steps, team.dim


def _ddp(torch: Any, track: Track, batches: Batches, world: "World") -> Callable[[], None]:
    """The same in torch's own words."""
    place = world.tell(_free_port() if world.rank == 0 else None)
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://{place}", rank=world.rank, world_size=world.size, timeout=timedelta(seconds=60)
    )
    model = torch.nn.parallel.DistributedDataParallel(track.make())
    optimizer = track.peer(model.parameters())
    done = 0

    def steps() -> None:
        nonlocal done
        for done in range(done, done + track.steps):  # noqa: B020 - it goes on where it was
            x, y = track.rows.take(batches(done), np.dtype(np.float32))
            optimizer.zero_grad()
            track.loss(model(torch.from_numpy(x)), torch.from_numpy(np.ascontiguousarray(y))).backward()
            optimizer.step()

    return steps


def _free_port() -> str:
    """Where rank 0 listens."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return f"{socket.gethostname()}:{probe.getsockname()[1]}"


def _seconds(run: Callable[[], None], world: "World") -> tuple[float, float]:
    """Wall seconds until the slowest rank is done, and seconds of the CPU of all together. Collective."""
    world.barrier()
    start, before = perf_counter(), process_time()
    run()
    wall, cpu = perf_counter() - start, process_time() - before
    return float(world.extremes(np.array([wall]))[1][0]), float(world.total([np.array([cpu])])[0])
