"""From dense rows to the team of models that a training runs on, and the models that are examined."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.io.dataset.dense import DenseSource, Held, held, open_dense, scattered
from mpiopt.jobs.machine.environment import threads
from mpiopt.jobs.running.own_code import OwnRows, further, loss_of, metrics_of, of_torch, opened_own, own_model, own_rows
from mpiopt.numerics.streams import Streams
from mpiopt.problems.device_rows import on_device
from mpiopt.problems.examples import Dense, Flat, Tokens
from mpiopt.problems.model import Model
from mpiopt.problems.optional import Graded
from mpiopt.problems.penalties import Zero
from mpiopt.problems.perceptron import Perceptron
from mpiopt.problems.problem import Sample, Team
from mpiopt.problems.protocols import offers
from mpiopt.problems.slowed import Slowed
from mpiopt.registry.code import load_code
from mpiopt.sampling.batches import Batches
from mpiopt.sampling.laws import Draws
from mpiopt.sampling.plans import plan_of
from mpiopt.sampling.splits import split
from mpiopt.smoothing.laws import NoiseLaw, noise
from mpiopt.smoothing.noisy import NoisyRows, Shaken
from mpiopt.training.drive import Exam
from mpiopt.training.torch.gpt import gpt_of, next_token
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.train_options import Train

Maker = Callable[[Any], Model]
Rows = DenseSource | OwnRows


class Opened(NamedTuple):
    """Rows to train on, those to be examined on, and more of these by name."""

    source: Rows
    test: Rows | None
    also: dict[str, Rows]


def opened(job: "Train", world: "World") -> Opened:
    """What the job names. Collective. Raises DataError, UsageError on every rank."""
    if own_rows(job.data):
        own = opened_own(job.data, job, _kept(job), world)
        held_out = None if job.test is None else opened_own(job.test, job, "sharded", world)
        return Opened(own, held_out, {name: opened_own(data, job, "sharded", world) for name, data in further(job).items()})
    source, test = _dense(job, world)
    return Opened(source, test, {name: _like(open_dense(data, world), source) for name, data in further(job).items()})


def _dense(job: "Train", world: "World") -> tuple[DenseSource, DenseSource | None]:
    source = open_dense(job.data, world)
    test = job.test
    if test is None and job.data.startswith("blobs"):
        test = f"{source.name}{',' if ':' in source.name else ':'}first={source.rows},rows={max(1000, source.rows // 10)}"
    return source, None if test is None else _like(open_dense(test, world), source)


def _like(exam: DenseSource, source: DenseSource) -> DenseSource:
    """Rows to be examined on. Raises UsageError where they are of another kind."""
    if exam.shape != source.shape or exam.classes > source.classes:
        raise UsageError(
            f"{source.name} has rows of shape {source.shape} in {source.classes} classes, but {exam.name} has shape "
            f"{exam.shape} in {exam.classes}: examine on rows of the same kind"
        )
    return exam


def team_of(job: "Train", source: Rows, world: "World", sharing: int = 1) -> Team[Model]:
    """Every hosted worker's model of its rows, with its samples. Collective. Raises DataError, UsageError on every rank.

    sharing : ranks that use the GPU of this one, if the job wants one.
    """
    if job.redundancy > world.workers:
        raise UsageError(
            f"--redundancy {job.redundancy}: only {counted(world.workers, 'worker')} can have a share: give at "
            f"most {world.workers}, or start more workers"
        )
    models = _models(job, source, world, sharing)
    with world.together("making the model"):
        models = [_slowed(job, model, worker, world.workers) for model, worker in zip(models, world.hosted, strict=True)]
        streams = Streams(job.seed)
        samples = [
            _sample(job, model, streams, worker, world, source.rows) for model, worker in zip(models, world.hosted, strict=True)
        ]
    batches = job.batches(world.workers)
    counts = [float(batches[w]) for w in world.hosted] if len(set(batches)) > 1 else None
    return Team.of(world, models, Zero(), job.seed, samples, counts)


def _models(job: "Train", source: Rows, world: "World", sharing: int) -> list[Model]:
    """Every hosted worker's. Collective."""
    shares = [] if isinstance(source, OwnRows) else _shares(job, source, world)
    with world.together("making the model"):
        make = maker(job, source)
        if isinstance(source, OwnRows):
            return [make(part) for part in source.parts]
        if job.noise is None:
            return [make(data) for data in _placed(job, source, shares, sharing)]
        return [_shaken(Dense(share.x, share.y, source.item.scaled), noise(job.noise), make) for share in shares]


def exam_of(
    job: "Train",
    rows: Opened,
    world: "World",
    due: Callable[[int], bool],
    sharing: int = 1,
    tell: Callable[[Mapping[str, float]], object] = dict,
) -> Exam | None:
    """The models that are examined, each hosted worker's on its share of the test rows. Collective. As `team_of`."""
    if rows.test is None:
        return None
    models = {name: _examined(job, rows.source, each, world, sharing) for name, each in rows.also.items()}
    first = _examined(job, rows.source, rows.test, world, sharing)
    own = tuple(name for name in metrics_of(job) if name != "accuracy")
    return Exam(first, due, job.own, job.leader, own, models, tell)


def _examined(job: "Train", source: Rows, test: Rows, world: "World", sharing: int) -> tuple[Model, ...]:
    shares = [] if isinstance(test, OwnRows) else held(test, world, "sharded", None)
    with world.together("making the model to be examined"):
        make = maker(job, source)
        if isinstance(test, OwnRows):
            return tuple(make(part) for part in test.parts)
        return tuple(make(data) for data in _placed(job, test, shares, sharing))


def _placed(job: "Train", source: DenseSource, shares: Sequence[Held], sharing: int) -> Sequence[Flat | Tokens]:
    """The rows of the shares, in the memory in which the job computes."""
    if source.item.vocabulary is not None:
        return [Tokens(share.x) for share in shares]
    sets = [Dense(share.x, share.y, source.item.scaled) for share in shares]
    if job.device == "cpu" or of_torch(job.model):  # modules take their batches out of the memory of the CPU
        return sets
    return on_device(sets, sharing)


def maker(job: "Train", source: Rows) -> Maker:
    """What makes a model of some rows. Raises UsageError for a model that is not known, or that cannot take such rows."""
    kind, _, widths = job.model.partition(":")
    if own_model(job.model):
        from mpiopt.training.torch.sharing import maker_of

        return _of_torch(job, maker_of(load_code(job.model)))
    if isinstance(source, OwnRows):
        raise UsageError(f"--data {source.name} holds rows of any kind: give a --model of your own too, as module:name")
    if (kind == "gpt") is not (source.item.vocabulary is not None):
        kinds = "tokens of text" if source.item.vocabulary else "no tokens"
        raise UsageError(f"--model {job.model}: the rows of {source.name} are {kinds}: gpt is for text, and text for gpt")
    if kind == "gpt":
        return _of_torch(job, partial(gpt_of, job.model, len(source.item.vocabulary or ()), source.shape[0] - 1))
    if kind in ("cnn", "resnet20") and not widths:
        from mpiopt.training.torch import networks

        if len(source.shape) < 2:
            raise UsageError(
                f"--model {kind} is for images, and the rows of {source.name} have shape {source.shape}: take --model mlp:128"
            )
        network = {"cnn": networks.small_cnn, "resnet20": networks.resnet20}[kind]
        return _of_torch(job, partial(network, source.shape, source.classes))
    numbers = widths.split(",") if widths else []
    if (kind == "mlp") is not bool(numbers) or kind not in ("mlp", "softmax") or not all(n.isdigit() for n in numbers):
        raise UsageError(
            f"--model {job.model}: choose softmax, mlp:128 or mlp:256,128, cnn, resnet20, gpt, or package.module:name"
        )
    hidden = [int(n) for n in numbers]
    return lambda data: Perceptron(data, (data.features, *hidden, source.classes))


def _of_torch(job: "Train", make: Callable[[], Any]) -> Maker:
    """What makes models of torch of some rows."""
    from mpiopt.training.torch.library import use_threads
    from mpiopt.training.torch.memory import CardMemory, HostMemory
    from mpiopt.training.torch.model import CHUNK, TorchModel

    use_threads(threads())
    loss, metrics = loss_of(job) or (next_token if job.model.partition(":")[0] == "gpt" else None), metrics_of(job)
    memory = CardMemory() if job.device == "gpu" else HostMemory()
    return lambda data: TorchModel(make, data, loss, job.chunk or CHUNK, metrics, bf16=job.bf16, memory=memory)


def _kept(job: "Train") -> Literal["sharded", "shared"]:
    return "sharded" if job.ownership == "sharded" else "shared"


def _shares(job: "Train", source: DenseSource, world: "World") -> list[Held]:
    """The rows of every hosted worker. Collective."""
    if job.redundancy > 1:
        return _redundant(job, source, world)
    if job.split is None:
        return held(source, world, _kept(job), None)
    with world.together("sharing out rows"):
        law = split(job.split)
    least = max(job.batches(world.workers))
    return scattered(source, world, lambda y: law(y, world.workers, least, Streams(job.seed)), None, law.looks_at)


def _shaken(data: Dense, law: NoiseLaw, make: Maker) -> Model:
    """The model of a worker's rows under noise."""
    rows = NoisyRows(data, law)
    return Shaken(make(rows), rows)


def _redundant(job: "Train", source: DenseSource, world: "World") -> list[Held]:
    """Each hosted worker's own share and the next ones, one after the other."""
    bounds = source.blocks(world.workers)
    with world.together(f"reading {source.name}"):
        return [_chunks(source, [(w + i) % world.workers for i in range(job.redundancy)], bounds) for w in world.hosted]


def _chunks(source: DenseSource, chunks: Sequence[int], bounds: np.ndarray) -> Held:
    parts = [source.read(int(bounds[c]), int(bounds[c + 1]), None) for c in chunks]
    x, y = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Held(0, len(x), x, y)


def batch_of(job: "Train", rows: int, workers: int) -> float:
    """Rows of a worker's step, in the mean; rows : of all workers together. Raises UsageError."""
    if job.sampling is None:
        return sum(job.batches(workers)) / workers
    return plan_of(job.sampling).expected(rows if job.ownership == "shared" else rows // workers)


def _sample(job: "Train", model: Model, streams: Streams, worker: int, world: "World", rows: int) -> Sample:
    if job.sampling is not None:
        each = model.row_lipschitz if offers(model, Graded) else None
        return Draws(plan_of(job.sampling).law(model.rows, each), streams, worker)
    size = job.batches(world.workers)[worker]
    if job.redundancy > 1:
        from mpiopt.sampling.batches import redundant

        return redundant(rows, world.workers, job.redundancy, worker, size, streams)
    if job.ownership == "turns":
        return Batches(model.rows, size, streams, part=(worker, world.workers))
    return Batches(model.rows, size, streams, worker)


def _slowed(job: "Train", model: Model, worker: int, workers: int) -> Model:
    for text in job.delay:
        who, colon, factor = text.partition(":")
        try:
            number, times = int(who), float(factor)
        except ValueError:
            number, times = -1, 0.0
        if not colon or number < 0 or not times >= 1:
            raise UsageError(f"--delay {text}: give WORKER:FACTOR with a factor of at least 1, as in 3:5")
        if number >= workers:
            raise UsageError(f"--delay {text}: there are workers 0 to {workers - 1}")
        if number == worker and times > 1:
            return Slowed(model, times)
    return model
