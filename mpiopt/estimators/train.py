"""A module of torch trained by any method over all ranks, in one call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from mpiopt.arrays import Array, on_host
from mpiopt.comm.world import World
from mpiopt.engine.stop import Watcher
from mpiopt.errors import UsageError
from mpiopt.estimators.going_on import GoingOn
from mpiopt.estimators.here import here
from mpiopt.io.runs.export_module import named
from mpiopt.io.runs.naming import UNNAMED, Naming
from mpiopt.methods import find, training
from mpiopt.methods.linked import linked
from mpiopt.numerics.schedules import Schedule, scheduled
from mpiopt.numerics.streams import Streams
from mpiopt.problems.buffers import put
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Team
from mpiopt.sampling.batches import Batches
from mpiopt.training.drive import Calendar, Exam, Goal, Lesson, Trained
from mpiopt.training.drive import train as drive
from mpiopt.training.method import Training
from mpiopt.training.torch.judging import Judge, loss_named
from mpiopt.training.torch.library import Module, Tensor, torch_module
from mpiopt.training.torch.loading import load, state_of
from mpiopt.training.torch.memory import HostMemory, Memory, memory_of
from mpiopt.training.torch.model import CHUNK, TorchModel
from mpiopt.training.torch.optimizers import rule_named
from mpiopt.training.torch.sharing import maker_of, shared_out, total_rows
from mpiopt.transforms.transform import Transform

Whose = Literal["sharded", "shared"]


@dataclass(frozen=True)
class TrainedModule(Trained):
    """What a training of a module found.

    layout : what the parts of x are called. examined : by column, what was examined in this call and is not in the history.
    """

    layout: Naming = UNNAMED
    examined: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def state_dict(self) -> dict[str, Tensor]:
        """The answer as torch's ``state_dict`` of the module."""
        return state_of(named(self.x, self.buffers, self.layout))

    def load(self, module: Module) -> None:
        """Put the answer into a module of the same layers. Raises UsageError for another."""
        load(module, named(self.x, self.buffers, self.layout))


def train(
    module: "Module | Callable[[], Module]",
    dataset: Any,
    *,
    loss: Judge | str | None = None,
    method: str = "local_sgd",
    test: Any = None,
    metrics: Mapping[str, Judge] | None = None,
    epochs: float = 5.0,
    batch: int = 32,
    rule: str | Transform = "momentum",
    lr: float | Schedule | None = None,
    collate: Callable[[list[Any]], Any] | None = None,
    chunk: int = CHUNK,
    bf16: bool = False,
    device: str = "cpu",
    compress: str | None = None,
    link: str = "plain",
    accuracy: float | None = None,
    examine: float = 1.0,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    watch: Sequence[Watcher[Lesson]] = (),
    world: World | None = None,
    **settings: object,
) -> TrainedModule:
    """Train a module of torch on a dataset over all ranks. Collective: every rank makes the same call.

    module : one, which then holds the answer, or a class or function that makes one. dataset : of torch, map-style (shared out
    in blocks, in an order of ``seed``) or iterable (every worker keeps its part in memory), a DataLoader over one, or a tuple
    of tensors or arrays, the answers last. loss : (outputs, answers) -> a tensor; a name in torch.nn.functional;
    cross_entropy if None. What batches of other kinds, such as dicts, are to module and loss: `mpiopt.training.torch.parted`.
    method : one that trains, with its parameters as ``settings``. test : as dataset, or several by name, of which the first
    is in the history and all are in ``examined``. metrics : by name, called as the loss, means over rows. epochs, batch, rule,
    lr, compress, link : as the options of ``mpiopt train``. chunk : rows that go through the module at once: a larger batch
    accumulates. bf16 : under autocast. device : cpu, or gpu, where every rank takes one of its node's. accuracy : where to
    stop. examine : epochs between examinations. checkpoint : a file from which the same call goes on, bit for bit; written when
    rows are examined and at the end. watch : called with every record. world : all ranks, unless given. Raises UsageError on
    every rank for what does not fit together.
    """
    world = here() if world is None else world
    entry = find(method, training())
    whose: Whose = "shared" if entry.shared else "sharded"
    memory = memory_of(device, world)
    school = _School(world, maker_of(module), _judge(loss), dict(metrics or {}))
    school = replace(school, seed=seed, chunk=chunk, collate=collate, bf16=bf16, memory=memory)
    hosted = school.models(dataset, whose)
    with world.together("drawing batches"):
        samples = [
            Batches(model.rows, batch, Streams(seed), worker) for model, worker in zip(hosted, world.hosted, strict=True)
        ]
    team = Team.of(world, hosted, Zero(), seed, samples)
    rows = total_rows(world, [model.rows for model in hosted], whose)
    per_epoch = rows / (batch * world.workers)
    kind, rate = _rule(rule, lr)
    known = {"rule": kind, "lr": rate, "workers": world.workers, "total_steps": max(1, round(epochs * per_epoch))}
    built = entry.make(**{name: value for name, value in known.items() if name in entry.parameters}, **settings)
    if compress is not None:
        built = linked(built, method, compress, link)
    if not isinstance(built, Training):
        raise UsageError(f"{method} does not train: choose one of {', '.join(training())}")
    due = Calendar(built.steps_in, examine * per_epoch, epochs * per_epoch)
    exam, examined = school.exam(test, due)
    told = {"method": method, "settings": str(sorted(settings.items())), "rule": str(kind), "batch": batch, "seed": seed}
    told |= {"rows": rows, "compress": compress, "link": link}
    with GoingOn(checkpoint, team, told) as going:
        at, goal = going.standing() or memory.put(_start(team, seed)), Goal(epochs=epochs, accuracy=accuracy)
        found = drive(built, team, at, goal, exam, watch, going.keepers, due=due, rows=rows)
    plain = {each.name: getattr(found, each.name) for each in fields(found)} | {"x": on_host(found.x)}
    trained = TrainedModule(**plain, layout=Naming(hosted[0].blocks, hosted[0].keys), examined=examined)
    if isinstance(module, torch_module().nn.Module):
        trained.load(module)
    return trained


@dataclass(frozen=True)
class _School:
    """What the models of a training have in common."""

    world: World
    make: Callable[[], Module]
    loss: Judge | None
    metrics: Mapping[str, Judge]
    seed: int = 0
    chunk: int = CHUNK
    collate: Callable[[list[Any]], Any] | None = None
    bf16: bool = False
    memory: Memory = field(default_factory=HostMemory)

    def models(self, rows: Any, whose: Whose) -> tuple[TorchModel, ...]:
        """Of the hosted workers. Collective."""
        parts = shared_out(rows, self.world, whose, self.seed, self.collate)
        with self.world.together("making the modules"):
            return tuple(
                TorchModel(self.make, part, self.loss, self.chunk, self.metrics, bf16=self.bf16, memory=self.memory)
                for part in parts
            )

    def exam(self, test: Any, due: Callable[[int], bool]) -> tuple[Exam | None, dict[str, list[float]]]:
        """The examination on one set of rows, or on several by name, and where its columns will be. Collective."""
        columns: dict[str, list[float]] = {}
        if test is None:
            return None, columns

        def tell(figures: Mapping[str, float]) -> None:
            for name, value in figures.items():
                columns.setdefault(name, []).append(value)

        sets = test if isinstance(test, Mapping) else {"test": test}
        first, *others = [(name, self.models(rows, "sharded")) for name, rows in sets.items()]
        figures = tuple(first[1][0].metrics)
        return Exam(first[1], due, figures=figures, also=dict(others), tell=tell), columns


def _judge(given: Judge | str | None) -> Judge | None:
    """A loss, of torch where it is named. Raises UsageError."""
    return loss_named(given) if isinstance(given, str) else given


def _rule(rule: str | Transform, lr: float | Schedule | None) -> tuple[Transform, Schedule]:
    """The local rule and its step size. Raises UsageError."""
    if not isinstance(rule, str):
        if lr is not None:
            raise UsageError("`lr` is the step size of a rule that is named, and this one brings its own: leave it out")
        return rule, scheduled(1.0)
    entry = rule_named(rule)
    if "lr" not in entry.parameters:
        if lr is not None:
            raise UsageError(f"{rule} finds its step size itself: leave `lr` out")
        return entry.make(), scheduled(1.0)
    rate = scheduled(entry.parameters["lr"].default if lr is None else lr)
    return entry.make(lr=rate), rate


def _start(team: Team[TorchModel], seed: int) -> Array:
    """Where to start: a module's own values, those of rank 0, or what is drawn for ``seed``. Collective."""
    x = team.sites[0].loss.initial(Streams(seed)("start"))
    with team.world.tally.paused():
        buffers = team.world.tell(team.sites[0].loss.buffers)
        for site in team.sites:
            put(site.loss, buffers)
        return team.world.bcast(x)
