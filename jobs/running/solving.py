"""A solve from the source of rows to the run file: what `mpiopt.jobs.solve` does once its options are understood."""

import tomllib
from collections.abc import Callable
from dataclasses import replace
from math import inf, sqrt
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.arrays import Array, on_host
from mpiopt.engine.drive import Solution, solve
from mpiopt.engine.method import Method
from mpiopt.engine.stop import Stop
from mpiopt.errors import UsageError
from mpiopt.io.dataset.linear_team import classes, team_of
from mpiopt.io.dataset.source import Source
from mpiopt.io.runs.run_file import read_solution
from mpiopt.jobs.cli.configuration import to_toml
from mpiopt.jobs.cli.console import WIDTH, Console, size
from mpiopt.jobs.machine.node import compiled
from mpiopt.jobs.reports.comparison import compressing
from mpiopt.jobs.running import gpu_solving
from mpiopt.jobs.running.checkpoints import Checkpoints
from mpiopt.jobs.running.linear_data import opened
from mpiopt.jobs.running.recording import columns, recorded, reserve
from mpiopt.jobs.running.signals import Signals, end_of_job
from mpiopt.jobs.running.warm_up import warm
from mpiopt.kernels.device.launch import library
from mpiopt.methods import find
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.solve_options import Solve


def solving(job: "Solve", method: Method, stop: Stop, world: "World", console: Console) -> dict[str, Any]:
    """Solve and record. Collective. Raises MpioptError on every rank."""
    if job.device == "gpu":
        gpu_solving.take(world)
    with Signals(end_of_job(job.margin, console.note)) as signals, Checkpoints.of(job, world, console) as kept:
        return _solving(job, method, stop, world, console, signals, kept)


def _solving(
    job: "Solve", method: Method, stop: Stop, world: "World", console: Console, interruption: Callable[[], str],
    kept: Checkpoints,
) -> dict[str, Any]:  # fmt: skip
    reserve(job, kept.run_id, world)
    if job.device == "cpu" and not compiled():
        console.note("compiling kernels: once on this machine, about half a minute")
    console(f"reading {job.data}")
    job, source = opened(job, world)
    kept.check(identity(job, source, world))
    penalty = ElasticNet(job.l1, job.l2, free=int(job.intercept))
    team = built(job, source, world, penalty, job.device)
    if job.device == "gpu":
        gpu_solving.ready(team, method.dvectors)
    else:
        warm(team)
    about = described(job, source, world) | {"run_id": kept.run_id, "checkpoint": kept.path}
    console(f"solving {about['dataset']} with {job.method} on {counted(world.size, 'rank')}")
    with recorded(job, about, kept.history, world, console) as recording:
        # nobody here holds where it begins: a run that goes on can then give up what it replaces
        solution = solve(method, team, kept.standing(team) or start(job, team, source), stop, recording.watchers,
                         [*kept.keepers(team), recording.ended], interruption)  # fmt: skip
        found = result(job, solution)
        recording.finish(*split(on_host(solution.x), source.cols), {name: found[name] for name in FINAL})
    console.show(summary(job, about, found))
    if job.check_against == "cpu":
        rows = built(job, source, world, penalty, "cpu")
        found |= gpu_solving.compare(team, rows, solution, lambda team, x: solve(method, team, x, stop), console)
    return {**about, "config": tomllib.loads(about["config"]), **found, "resumed_after": kept.round,
            "exit_code": kept.exit_code(solution.reason, job.strict and not solution.reason.converged)}  # fmt: skip


def built(job: "Solve", source: Source, world: "World", penalty: ElasticNet, device: str) -> Team:
    """The team that a job asks for, its rows on ``device``. Collective."""
    return team_of(
        source, world, penalty, loss=job.loss, positive=job.positive, values=job.values, seed=job.seed, device=device
    )


def start(job: "Solve", team: Team, source: Source) -> Array:
    """Where to start, (dim,): zero, or another run's solution. Collective. Raises UsageError, DataError."""
    x = np.zeros(team.dim)
    place = library().asarray if job.device == "gpu" else np.asarray
    if job.from_ is None:
        return place(x)
    with team.world.together(f"reading {job.from_}"):
        if team.world.rank == 0:
            before, intercept = read_solution(job.from_)
            if len(before) != source.cols:
                raise UsageError(f"{job.from_} has {len(before):,} coefficients, but {source.name} has {source.cols:,} "
                                 "features: start from a run on the same features")  # fmt: skip
            x[: source.cols] = before
            x[source.cols :] = intercept
    return place(team.world.bcast(x))


def split(x: np.ndarray, features: int) -> tuple[np.ndarray, float]:
    """The coefficients (features,) and the intercept, 0 where none was fitted."""
    return x[:features], float(x[features]) if x.size > features else 0.0


def identity(job: "Solve", source: Source, world: "World") -> dict[str, Any]:
    """What a checkpoint must have been of, for this job to go on from it."""
    defaults = {name: parameter.default for name, parameter in find(job.method).parameters.items()}
    return {
        "workers": world.workers, "method": job.method, "dataset": source.name, "content": source.content, "rows": source.rows,
        "features": source.cols, "nonzeros": source.nnz, "loss": job.loss, "positive": job.positive, "l2": job.l2, "l1": job.l1,
        "intercept": job.intercept, "values": job.values, "seed": job.seed, "compress": job.compress,
        "error_feedback": job.error_feedback if job.compress else None,
        "device": None if job.device == "cpu" else job.device, **defaults, **job.given,
    }  # fmt: skip


def described(job: "Solve", source: Source, world: "World") -> dict[str, Any]:
    """What is known of a run before it starts: the attributes of its file."""
    return {
        "method": job.method, "dataset": source.name, "rows": source.rows, "features": source.cols,
        "nonzeros": source.nnz, "loss": job.loss, "l2": job.l2, "l1": job.l1, "intercept": job.intercept,
        "positive": job.positive, "compress": compressor_of(job), "link": link_of(job), "world_size": world.size,
        "workers": world.workers, "seed": job.seed, "device": job.device, "config": to_toml(repeatable(job)),
        **classes(source, job.loss, job.positive),
    }  # fmt: skip


def compressor_of(job: "Solve") -> str | None:
    """The compressor of a job: that of its option, or its method's own; None for messages as they are."""
    own = find(job.method).parameters.get("compress")
    return job.compress or (None if own is None else str(job.given.get("compress", own.default)))


def link_of(job: "Solve") -> str | None:
    """What is remembered of messages that the option compresses; methods of their own have their own memories."""
    return ("ef" if job.error_feedback else "plain") if job.compress else None


def repeatable(job: "Solve") -> "Solve":
    """The job for a run file to repeat: without the checkpoint, which is this run's own."""
    return replace(job, checkpoint=None, every_rounds=None, every_seconds=None, resume="auto")


FINAL = ("reason", "reason_text", "converged", "objective", "gradient_norm", "gap", "tight_gap", "coefficient_error")


def result(job: "Solve", solution: Solution) -> dict[str, Any]:
    """What came out of a run."""
    last, proved = solution.final, solution.certificate
    return {
        "reason": solution.reason.name, "reason_text": solution.reason_text, "converged": solution.reason.converged,
        "rounds": last.round, "vector_rounds": last.vector_rounds, "messages": last.messages,
        "bytes_sent": last.bytes_sent, "seconds": last.seconds, "objective": proved.objective,
        "gradient_norm": proved.gradient_norm, "gap": proved.gap, "tight_gap": proved.tight_gap,
        "coefficient_error": distance(proved.tight_gap, job.l2),
        "nonzero_coefficients": int(np.count_nonzero(on_host(solution.x))), "out": None if job.out is None else str(job.out),
        "history": columns(solution.history),
    }  # fmt: skip


def distance(gap: float, l2: float) -> float:
    """How far, in norm, the penalised coefficients can be from the optimum's: F grows at least by l2/2 |x - x*|^2."""
    return sqrt(2 * gap / l2) if l2 > 0 else inf


def certified(job: "Solve", found: dict[str, Any]) -> str:
    """What is proved, and how else to end where nothing is."""
    if not np.isfinite(found["gap"]):
        return "nothing: no bound applies; --gradient-tol ends at a gradient norm"
    tight = f", tight bound {found['tight_gap']:.2e}" if found["tight_gap"] < found["gap"] else ""
    hidden = found["tight_gap"] < np.finfo(float).eps * abs(found["objective"])
    below = " (below the rounding of F)" if hidden else ""
    error = found["coefficient_error"]  # infinite without an l2 penalty
    within = f"; coefficients within {error:.1e}" if np.isfinite(error) else ""
    return f"F - F* <= {found['gap']:.2e}{tight}{below}{within}"


def summary(job: "Solve", about: dict[str, Any], found: dict[str, Any]) -> str:
    """A run in a few lines of at most 80 columns."""
    penalty = f"l2 {job.l2:g}" + (f", l1 {job.l1:g}" if job.l1 else "") + (", intercept" if job.intercept else "")
    fewer = f", {compressing(about)}" if about["compress"] else ""
    support = f"{found['nonzero_coefficients']:,} of {about['features'] + job.intercept:,} coefficients are not 0"
    signs = f"{about['label_positive']} is +1, {about['label_negative']} is -1" if "label_positive" in about else ""
    lines = [
        ("data", f"{about['dataset']}: {counted(about['rows'], 'row')}, {counted(about['features'], 'feature')}, "
                 f"{counted(about['nonzeros'], 'nonzero')}"),
        *([("labels", signs)] if signs else []),
        ("problem", f"{job.loss}, {penalty} (C = {1 / (about['rows'] * job.l2):.6g})" if job.l2 else f"{job.loss}, {penalty}"),
        ("method", f"{job.method} on {counted(about['world_size'], 'rank')}, {counted(about['workers'], 'worker')}{fewer}"),
        ("work", f"{counted(found['rounds'], 'round')}, {counted(found['vector_rounds'], 'vector round')}, "
                 f"{size(found['bytes_sent'])} sent, {found['seconds']:.2f} s"),
        ("objective", f"{found['objective']:.15g}, |gradient| {found['gradient_norm']:.2e}"),
        ("certified", certified(job, found)),
        *([("support", support)] if job.l1 else []),
        ("ended", found["reason_text"]),
        *([("run file", found["out"])] if found["out"] else []),
    ]  # fmt: skip
    return "\n".join(fill(f"{name:9s}  {value}", WIDTH, subsequent_indent=" " * 11) for name, value in lines)
