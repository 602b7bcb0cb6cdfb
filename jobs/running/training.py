"""A training from the rows to the run file: what `mpiopt.jobs.train` does once its options are understood."""

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import replace
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.arrays import Array, on_host
from mpiopt.engine.stop import Reason
from mpiopt.errors import UsageError
from mpiopt.io.dataset.dense import DenseSource
from mpiopt.io.runs.run_file import read_buffers, read_solution
from mpiopt.jobs.cli.configuration import to_toml
from mpiopt.jobs.cli.console import WIDTH, Console, size
from mpiopt.jobs.cli.method_options import advised
from mpiopt.jobs.running import gpu_training
from mpiopt.jobs.running.checkpoints import Checkpoints
from mpiopt.jobs.running.local_rule import rate_of, rule_of
from mpiopt.jobs.running.model_team import exam_of, opened, team_of
from mpiopt.jobs.running.recording import columns, recorded, reserve
from mpiopt.jobs.running.signals import Signals, end_of_job
from mpiopt.kernels.device.launch import library
from mpiopt.methods import find
from mpiopt.methods import training as catalogue
from mpiopt.methods.linked import linked
from mpiopt.numerics.streams import Streams
from mpiopt.problems.buffers import put
from mpiopt.problems.problem import Team
from mpiopt.sampling.clients import Clients
from mpiopt.training.drive import Calendar, Goal, Trained, train
from mpiopt.training.method import Training
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.train_options import Train


def training(job: "Train", world: "World", console: Console) -> dict[str, Any]:
    """Train and record. Collective. Raises MpioptError on every rank."""
    find(job.method, catalogue())  # a name that is not known is said before anything is read
    sharing = gpu_training.take(job, world)
    with Signals(end_of_job(job.margin, console.note)) as signals, Checkpoints.of(job, world, console) as keeping:
        return _training(job, world, console, signals, keeping, sharing)


def _training(
    job: "Train", world: "World", console: Console, interruption: Callable[[], str], keeping: Checkpoints, sharing: int
) -> dict[str, Any]:
    reserve(job, keeping.run_id, world)
    console(f"reading {job.data}")
    source, test = opened(job, world)
    per_epoch = source.rows / (job.batch * world.workers)
    method, given = method_of(job, world.workers, per_epoch)
    keeping.check(identity(job, given, source, world))
    if method.steps_in(0) > 1.5 * job.epochs * per_epoch:
        steps = counted(method.steps_in(0), "step", form=",.0f")
        console.note(f"warning: a round of {job.method} is {steps} of each worker, and --epochs {job.epochs:g} makes "
                     f"{job.epochs * per_epoch:,.0f}: it will look at more rows than that; give a smaller --set "
                     "period, or more epochs")  # fmt: skip
    team = team_of(job, source, world, sharing)
    calendar = [Calendar(method.steps_in, epochs * per_epoch, job.epochs * per_epoch) for epochs in (job.record, job.examine)]
    exam = exam_of(job, source, test, world, calendar[1], sharing)
    if job.device == "gpu":
        gpu_training.ready(team, exam, rule_of(job, rate_of(job, per_epoch)), sharing)
    about = described(job, source, team) | {"run_id": keeping.run_id, "checkpoint": keeping.path}
    console(f"training {job.model} on {about['dataset']} with {job.method} on {counted(world.size, 'rank')}")
    with recorded(job, about, keeping.history, world, console) as recording:
        goal = Goal(job.rounds, job.bytes, job.seconds, job.epochs, job.accuracy)
        with advised(job):
            trained = train(method, team, keeping.standing(team) or start(job, team), goal, exam, recording.watchers,
                            [*keeping.keepers(team), recording.ended], interruption, due(calendar, console),
                            source.rows)  # fmt: skip
        found = result(job, trained)
        recording.finish(on_host(trained.x), 0.0, {name: found[name] for name in FINAL}, trained.buffers)
    console.show(summary(job, about, found))
    return {**about, "config": tomllib.loads(about["config"]), **found, "resumed_after": keeping.round,
            "exit_code": keeping.exit_code(trained.reason, job.strict and not found["converged"])}  # fmt: skip


def due(calendar: Sequence[Calendar], console: Console) -> Callable[[int], bool]:
    """The rounds that are recorded: those of any calendar, all of which are asked; the console is told of every round."""

    def asked(round: int) -> bool:  # noqa: A002 - the field's word
        console.phase = f"under way, after round {round}"
        return any([each(round) for each in calendar])

    return asked


def method_of(job: "Train", workers: int, per_epoch: float) -> tuple[Training, dict[str, Any]]:
    """The method, and the parameters of it that the job gives. Raises UsageError."""
    entry = find(job.method, catalogue())
    given = dict(job.set)
    rate = rate_of(job, per_epoch)
    known = {"rule": rule_of(job, rate), "lr": rate, "workers": workers, "total_steps": max(1, round(job.epochs * per_epoch)),
             "clients": Clients(job.clients, job.dead), "meeting": max(1, round(job.record * per_epoch))}  # fmt: skip
    if absent := sorted(set(given) & (known.keys() - {"meeting"})):
        raise UsageError(f"--set {absent[0]}: this is set by other options (--rule, --lr, --workers, --clients, --epochs)")
    filled = {name: value for name, value in known.items() if name in entry.parameters}
    method = entry.make(**{**filled, **given})
    if job.compress is not None:
        method = linked(method, entry.name, job.compress, job.link, job.back, job.force)
    return method, given


def start(job: "Train", team: Team) -> Array:
    """Where to start, (dim,): the model's own start, the same on all ranks, or another run's solution. Collective.

    What models keep beside x is put into them. Raises DataError, UsageError on every rank.
    """
    starts = [site.loss.initial(Streams(job.seed)("start")) for site in team.sites]  # of each: it sets what models keep beside
    x, buffers = starts[0], {}
    with team.world.together(f"reading {job.from_}"):
        if job.from_ is not None and team.world.rank == 0:
            before, _ = read_solution(job.from_)
            if before.shape != x.shape:
                raise UsageError(f"{job.from_} has {before.size:,} parameters, but {job.model} has {x.size:,}: start from a "
                                 "run of the same model on rows of the same shape")  # fmt: skip
            x[:], buffers = before, read_buffers(job.from_)
    buffers = team.world.tell(buffers)
    with team.world.together(f"starting from {job.from_}"):
        for site in team.sites:
            put(site.loss, buffers)
    with team.world.tally.paused():
        return (library().asarray if job.device == "gpu" else np.asarray)(team.world.bcast(x))


def identity(job: "Train", given: dict[str, Any], source: DenseSource, world: "World") -> dict[str, Any]:
    """What a checkpoint must have been of, for this job to go on from it."""
    names = ("method", "model", "rule", "lr", "momentum", "schedule", "warmup", "decay", "clip", "batch", "ownership",
             "redundancy", "clients", "seed", "record", "examine", "compress", "link", "back")  # fmt: skip
    return {"workers": world.workers, **{name: getattr(job, name) for name in names}, "dead": str(job.dead),
            "dataset": source.name, "content": source.content, "rows": source.rows,
            "epochs": job.epochs if job.schedule == "cosine" else None,
            "device": None if job.device == "cpu" else job.device, **given}  # fmt: skip


def described(job: "Train", source: DenseSource, team: Team) -> dict[str, Any]:
    """What is known of a run before it starts: the attributes of its file."""
    return {
        "method": job.method, "compress": job.compress, "link": job.link if job.compress else None,
        "model": job.model, "dataset": source.name, "rows": source.rows, "parameters": team.dim,
        "classes": source.classes, "test": job.test, "rule": job.rule, "batch": job.batch, "ownership": job.ownership,
        "world_size": team.world.size, "workers": team.world.workers, "seed": job.seed, "device": job.device,
        "config": to_toml(replace(job, checkpoint=None, every_rounds=None, every_seconds=None, resume="auto")),
    }  # fmt: skip


FINAL = ("reason", "reason_text", "converged", "objective", "test_loss", "accuracy")


def result(job: "Train", trained: Trained) -> dict[str, Any]:
    """What came out of a run."""
    last = trained.final
    return {
        "reason": trained.reason.name, "reason_text": trained.reason_text,
        "converged": converged(job, trained.reason),
        "rounds": last.round, "steps": last.steps, "epochs": last.epoch, "vector_rounds": last.vector_rounds,
        "messages": last.messages, "bytes_sent": last.bytes_sent, "seconds": last.seconds, "objective": last.objective,
        "test_loss": trained.test_loss, "accuracy": trained.accuracy, "out": None if job.out is None else str(job.out),
        "history": columns(trained.history),
    }  # fmt: skip


def converged(job: "Train", reason: Reason) -> bool | None:
    """Whether a run came to what was asked of it; None where that was nothing but to use up the epochs."""
    return None if job.accuracy is None and reason is Reason.EPOCHS else reason is Reason.TARGET


def summary(job: "Train", about: dict[str, Any], found: dict[str, Any]) -> str:
    """A run in a few lines of at most 80 columns."""
    rate = found["steps"] / found["seconds"] if found["seconds"] else float("nan")
    tested = np.isfinite(found["accuracy"])
    fewer = f", {job.compress} ({job.link})" if job.compress else ""
    lines = [
        ("data", f"{about['dataset']}: {counted(about['rows'], 'row')}, "
                 f"{counted(about['classes'], 'class', 'classes')}, {about['ownership']}"),
        ("model", f"{job.model}, {about['parameters']:,} parameters; {job.rule}, {job.schedule} step size"),
        ("method", f"{job.method} on {counted(about['world_size'], 'rank')}, {counted(about['workers'], 'worker')}, "
                   f"batch {job.batch} each{fewer}"),
        ("work", f"{found['epochs']:.3g} epochs, {counted(found['steps'], 'step')}, {counted(found['rounds'], 'round')}, "
                 f"{size(found['bytes_sent'])} sent, {found['seconds']:.1f} s ({rate:,.0f} steps/s)"),
        ("training", f"running loss {found['objective']:.4g}"),
        *([("test", f"accuracy {100 * found['accuracy']:.2f} %, loss {found['test_loss']:.4g}")] if tested else []),
        ("ended", found["reason_text"]),
        *([("run file", found["out"])] if found["out"] else []),
    ]  # fmt: skip
    return "\n".join(fill(f"{name:9s}  {value}", WIDTH, subsequent_indent=" " * 11) for name, value in lines)
