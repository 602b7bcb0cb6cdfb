"""A solve from the source of rows to the run file: what `mpiopt.jobs.solve` does once its options are understood."""

import tomllib
from collections.abc import Sequence
from contextlib import ExitStack
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.io.record import RunFile, claim, read_solution
from mpiopt.io.source import Source, open_source
from mpiopt.jobs.config import to_toml
from mpiopt.jobs.console import WIDTH, Console, Progress, counted, size
from mpiopt.jobs.node import compiled
from mpiopt.jobs.problem import team_of
from mpiopt.jobs.warm import warm
from mpiopt.method import Method
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team
from mpiopt.solve import Solution, solve
from mpiopt.stop import Record, Stop

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.solve import Solve


def solving(job: "Solve", method: Method, stop: Stop, world: "World", console: Console) -> dict[str, Any]:
    """Solve and record. Collective. Raises MpioptError on every rank."""
    with world.together(f"looking at the run file {job.out}"):
        if job.out is not None and world.rank == 0:
            claim(job.out, overwrite=job.overwrite)
    if not compiled():
        console.note("compiling kernels: once on this machine, about half a minute")
    console(f"reading {job.data}")
    source = open_source(job.data, world)
    penalty = ElasticNet(job.l1, job.l2, free=int(job.intercept))
    team = team_of(source, world, penalty, loss=job.loss, positive=job.positive, values=job.values, seed=job.seed)
    x0 = start(job, team, source)
    warm(team)
    about = described(job, source, world)
    console(f"solving {about['dataset']} with {job.method} on {counted(world.size, 'rank')}")
    with ExitStack() as stack:
        file = None
        with world.together(f"writing the run file {job.out}"):
            if job.out is not None and world.rank == 0:
                file = stack.enter_context(RunFile(job.out, about, overwrite=job.overwrite))
        progress = Progress(console)
        watchers = [progress] if file is None else [lambda record: file.add(record._asdict()), progress]
        solution = solve(method, team, x0, stop, watchers)
        progress.close()
        found = result(job, solution)
        with world.together(f"writing the run file {job.out}"):
            if file is not None:
                file.finish(*split(solution.x, source.cols), {name: found[name] for name in FINAL})
    console.show(summary(job, about, found))
    return {**about, "config": tomllib.loads(about["config"]), **found,
            "exit_code": 3 if job.strict and not solution.reason.converged else 0}  # fmt: skip


def start(job: "Solve", team: Team, source: Source) -> np.ndarray:
    """Where to start, (dim,): zero, or another run's solution. Collective. Raises UsageError, DataError."""
    x = np.zeros(team.dim)
    if job.from_ is None:
        return x
    with team.world.together(f"reading {job.from_}"):
        if team.world.rank == 0:
            before, intercept = read_solution(job.from_)
            if len(before) != source.cols:
                raise UsageError(f"{job.from_} has {len(before):,} coefficients, but {source.name} has {source.cols:,} "
                                 "features: start from a run on the same features")  # fmt: skip
            x[: source.cols] = before
            x[source.cols :] = intercept
    return team.world.bcast(x)


def split(x: np.ndarray, features: int) -> tuple[np.ndarray, float]:
    """The coefficients (features,) and the intercept, 0 where none was fitted."""
    return x[:features], float(x[features]) if x.size > features else 0.0


def described(job: "Solve", source: Source, world: "World") -> dict[str, Any]:
    """What is known of a run before it starts: the attributes of its file."""
    return {
        "method": job.method, "dataset": source.name, "rows": source.rows, "features": source.cols,
        "nonzeros": source.nnz, "loss": job.loss, "l2": job.l2, "l1": job.l1, "intercept": job.intercept,
        "positive": job.positive, "world_size": world.size, "workers": world.workers, "seed": job.seed,
        "device": "cpu", "config": to_toml(job),
    }  # fmt: skip


FINAL = ("reason", "reason_text", "converged", "objective", "gradient_norm", "gap", "tight_gap")


def result(job: "Solve", solution: Solution) -> dict[str, Any]:
    """What came out of a run."""
    last, proved = solution.final, solution.certificate
    return {
        "reason": solution.reason.name, "reason_text": solution.reason_text, "converged": solution.reason.converged,
        "rounds": last.round, "vector_rounds": last.vector_rounds, "messages": last.messages,
        "bytes_sent": last.bytes_sent, "seconds": last.seconds, "objective": proved.objective,
        "gradient_norm": proved.gradient_norm, "gap": proved.gap, "tight_gap": proved.tight_gap,
        "nonzero_coefficients": int(np.count_nonzero(solution.x)), "out": None if job.out is None else str(job.out),
        "history": columns(solution.history),
    }  # fmt: skip


def columns(history: Sequence[Record]) -> dict[str, list[float]]:
    """The history by column."""
    return {name: list(column) for name, column in zip(Record._fields, zip(*history, strict=True), strict=True)}


def summary(job: "Solve", about: dict[str, Any], found: dict[str, Any]) -> str:
    """A run in a few lines of at most 80 columns."""
    penalty = f"l2 {job.l2:g}" + (f", l1 {job.l1:g}" if job.l1 else "") + (", intercept" if job.intercept else "")
    tight = f", tight bound {found['tight_gap']:.2e}" if found["tight_gap"] < found["gap"] else ""
    support = f"{found['nonzero_coefficients']:,} of {about['features'] + job.intercept:,} coefficients are not 0"
    lines = [
        ("data", f"{about['dataset']}: {about['rows']:,} rows, {about['features']:,} features, {about['nonzeros']:,} nonzeros"),
        ("problem", f"{job.loss}, {penalty} (C = {1 / (about['rows'] * job.l2):.6g})" if job.l2 else f"{job.loss}, {penalty}"),
        ("method", f"{job.method} on {counted(about['world_size'], 'rank')}, {counted(about['workers'], 'worker')}"),
        ("work", f"{counted(found['rounds'], 'round')}, {counted(found['vector_rounds'], 'vector round')}, "
                 f"{size(found['bytes_sent'])} sent, {found['seconds']:.2f} s"),
        ("objective", f"{found['objective']:.15g}, |gradient| {found['gradient_norm']:.2e}"),
        ("certified", f"F - F* <= {found['gap']:.2e}{tight}"),
        *([("support", support)] if job.l1 else []),
        ("ended", found["reason_text"]),
        *([("run file", found["out"])] if found["out"] else []),
    ]  # fmt: skip
    return "\n".join(fill(f"{name:9s}  {value}", WIDTH, subsequent_indent=" " * 11) for name, value in lines)
