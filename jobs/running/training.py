"""What `mpiopt train` puts into the script of a run: rows, a team of models, and the training itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.io.runs.beside_solution import read_buffers
from mpiopt.io.runs.naming import Naming
from mpiopt.io.runs.run_file import read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.method_options import advised
from mpiopt.jobs.running import gpu_training
from mpiopt.jobs.running.local_rule import rate_of, rule_of
from mpiopt.jobs.running.model_team import Rows, batch_of, exam_of, opened, team_of
from mpiopt.jobs.running.more_columns import FigureColumns, NodeColumns, UnlikeColumn
from mpiopt.jobs.running.own_code import OwnRows
from mpiopt.jobs.running.run_script import Course, Outcome, carried_out
from mpiopt.jobs.running.train_outcome import FINAL, converged, facts, lines
from mpiopt.kernels.device.launch import library
from mpiopt.methods import find
from mpiopt.methods import training as catalogue
from mpiopt.methods.linked import linked
from mpiopt.numerics.streams import Streams
from mpiopt.problems.buffers import put
from mpiopt.problems.model import Model
from mpiopt.problems.optional import Keyed
from mpiopt.problems.problem import Team
from mpiopt.problems.protocols import offers
from mpiopt.sampling.clients import Clients
from mpiopt.training.drive import Calendar, Goal, train
from mpiopt.training.method import Training
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.train_options import Train


def training(job: "Train", world: "World", console: Console) -> dict[str, Any]:
    """Train and record. Collective. Raises MpioptError on every rank."""
    return carried_out(TrainHooks(job, world, console), world, console)


class TrainHooks:
    """See `run_script.Hooks`."""

    def __init__(self, job: "Train", world: "World", console: Console) -> None:
        self.job, self.doing = job, f"training {job.model} on"
        self._world, self._console = world, console

    def opened(self) -> Mapping[str, Any]:
        """Choose the GPU, if one is wanted, find the rows, and make the method, whose step sizes depend on their number."""
        job, world = self.job, self._world
        self._sharing = gpu_training.take(job, world)
        self._console(f"reading {job.data}")
        self._rows = opened(job, world)
        self._source = self._rows.source
        self.per_epoch = self._source.rows / (batch_of(job, self._source.rows, world.workers) * world.workers)
        self._method, given = method_of(job, world.workers, self.per_epoch)
        return identity(job, given, self._source, world)

    def demand_start(self, size: int) -> None:
        """There is no model yet that would know; `start` asks it."""

    def built(self) -> tuple[Team[Model], dict[str, Any]]:
        """The team of models, and those that are examined."""
        job, steps_in, total = self.job, self._method.steps_in, self.job.epochs * self.per_epoch
        if steps_in(0) > 1.5 * total:
            steps = counted(steps_in(0), "step", form=",.0f")
            self._console.note(
                f"warning: a round of {job.method} is {steps} of each worker, and --epochs {job.epochs:g} makes "
                f"{total:,.0f}: it will look at more rows than that; give a smaller --set period, or more "
                "epochs"
            )
        self._team = team_of(job, self._source, self._world, self._sharing)
        self._calendar = [Calendar(steps_in, epochs * self.per_epoch, total) for epochs in (job.record, job.examine)]
        self._figures = FigureColumns()
        self._exam = exam_of(job, self._rows, self._world, self._calendar[1], self._sharing, self._figures.tell)
        if job.device == "gpu":
            gpu_training.ready(self._team, self._exam, rule_of(job, rate_of(job, self.per_epoch)), self._sharing)
        self._about = described(job, self._source, self._team)
        return self._team, dict(self._about)

    def ended(self, course: Course) -> Outcome:
        """What was trained, examined."""
        job = self.job
        goal = Goal(job.rounds, job.bytes, job.seconds, job.epochs, job.accuracy)
        with advised(job):
            trained = train(
                self._method,
                self._team,
                course.standing() or start(job, self._team),
                goal,
                self._exam,
                course.watch,
                [  # a checkpoint last: what goes on from it does not say these again
                    self._figures.keeper(course.note),
                    *NodeColumns.of(self._method, self._team, course.note),
                    *UnlikeColumn.of(job.method, self._method, self._team, course.note),
                    *course.keep,
                ],
                course.interruption,
                due(self._calendar, self._console),
                self._source.rows,
            )
        told = lines(job, self._about, trained, self._world)
        found, kept = facts(trained), (*FINAL, *trained.figures)
        end = Outcome(trained, converged(job, trained.reason), found, kept, told, buffers=trained.buffers)
        return end._replace(layout=_naming(self._team.sites[0].loss, self._source))


def _naming(model: Model, source: Rows) -> Naming:
    """What the parts of x are called, and the tokens that it is about."""
    words = None if isinstance(source, OwnRows) else source.item.vocabulary
    keys = model.keys if offers(model, Keyed) else {}
    return Naming(tuple(model.blocks), keys, None if words is None else words.text())


def due(calendar: Sequence[Calendar], console: Console) -> Callable[[int], bool]:
    """The rounds that are recorded: those of any calendar, all of which are asked; the console is told of every round."""

    def asked(round: int) -> bool:  # noqa: A002 - the field's word
        console.phase = f"under way, after round {round}"
        return any([each(round) for each in calendar])

    return asked


def method_of(job: "Train", workers: int, per_epoch: float) -> tuple[Training, dict[str, Any]]:
    """The method, and the parameters of it that the job gives. Raises UsageError."""
    entry = find(job.method, catalogue())
    given: dict[str, Any] = {**job.neighbourhood, **dict(job.set)}
    rate = rate_of(job, per_epoch)
    known = {
        "rule": rule_of(job, rate),
        "lr": rate,
        "workers": workers,
        "total_steps": max(1, round(job.epochs * per_epoch)),
        "clients": Clients(job.clients, job.dead),
        "meeting": max(1, round(job.record * per_epoch)),
    }
    if absent := sorted(set(given) & (known.keys() - {"meeting"})):
        raise UsageError(f"--set {absent[0]}: this is set by other options (--rule, --lr, --workers, --clients, --epochs)")
    filled = {name: value for name, value in known.items() if name in entry.parameters}
    method = entry.make(**{**filled, **given})
    if not isinstance(method, Training):
        raise UsageError(
            f"{entry.name} is registered as one that trains, and makes a {type(method).__name__}: let it make a "
            "mpiopt.training.method.Training"
        )
    if job.compress is not None and "compress" in entry.parameters:
        raise UsageError(
            f"{entry.name} compresses its messages itself: give --set compress={job.compress} in place of --compress"
        )
    if job.compress is not None:
        apart = "blocks:" if job.per_block else ""
        back = None if job.back is None else apart + job.back
        method = linked(method, entry.name, apart + job.compress, job.link, back, job.force)
    return method, given


def start(job: "Train", team: Team[Model]) -> Array:
    """Where to start, (dim,): the model's own start, the same on all ranks, or another run's solution. Collective.

    What models keep beside x is put into them. Raises DataError, UsageError on every rank.
    """
    starts = [site.loss.initial(Streams(job.seed)("start")) for site in team.sites]  # of each: it sets what models keep beside
    x, buffers = starts[0], {}
    with team.world.together(f"reading {job.from_}"):
        if job.from_ is not None and team.world.rank == 0:
            before, _ = read_solution(job.from_)
            if before.shape != x.shape:
                raise UsageError(
                    f"{job.from_} has {before.size:,} parameters, but {job.model} has {x.size:,}: start from a "
                    "run of the same model on rows of the same shape"
                )
            x[:], buffers = before, read_buffers(job.from_)
    buffers = team.world.tell(buffers)
    with team.world.together(f"starting from {job.from_}"):
        for site in team.sites:
            put(site.loss, buffers)
    with team.world.tally.paused():
        return (library().asarray if job.device == "gpu" else np.asarray)(team.world.bcast(x))


def identity(job: "Train", given: dict[str, Any], source: Rows, world: "World") -> dict[str, Any]:
    """What a checkpoint must have been of, for this job to go on from it."""
    names = (
        "method",
        "model",
        "loss",
        "chunk",
        "rule",
        "lr",
        "momentum",
        "schedule",
        "warmup",
        "decay",
        "clip",
        "batch",
        "sampling",
        "ownership",
        "redundancy",
        "split",
        "noise",
        "clients",
        "seed",
        "record",
        "examine",
        "compress",
        "link",
        "back",
    )
    return {
        "workers": world.workers,
        **{name: getattr(job, name) for name in names},
        "dead": str(job.dead),
        "group": " ".join(job.group) or None,  # as of versions without it, where it is not given
        "per_block": job.per_block or None,
        "bf16": job.bf16 or None,
        "dataset": source.name,
        "content": source.content,
        "rows": source.rows,
        "epochs": job.epochs if job.schedule == "cosine" else None,
        "device": None if job.device == "cpu" else job.device,
        **given,
    }


def described(job: "Train", source: Rows, team: Team) -> dict[str, Any]:
    """What is known of a training before it starts: attributes of its file, beside those of every run."""
    return {
        "dataset": source.name,
        "rows": source.rows,
        "parameters": team.dim,
        "classes": source.classes,
        "model": job.model,
        "compress": job.compress,
        "link": job.link if job.compress else None,
        "per_block": job.per_block or None,
        "group": " ".join(job.group) or None,
        "test": job.test,
        "loss": job.loss,
        "rule": job.rule,
        "batch": job.batch if job.sampling is None else None,
        "sampling": job.sampling,
        "ownership": job.ownership,
        "split": job.split,
        "noise": job.noise,
    }
