"""What a solve will need, before any row is read: bytes a rank and a node, the largest message, messages a round.

The index says how many rows and nonzeros every rank will hold. How many vectors a method keeps beside them, and how often
it speaks, is found by a rehearsal: it runs on small made-up rows, on the very ranks, while its allocations are counted.
"""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mpiopt.io.layout import CHUNK
from mpiopt.io.source import Source, open_source
from mpiopt.io.synthetic import Synthetic
from mpiopt.jobs.console import WIDTH, Console, counted, size, table
from mpiopt.jobs.node import compiled, memory_room, resident
from mpiopt.jobs.problem import team_of
from mpiopt.jobs.warm import warm
from mpiopt.method import Method
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team
from mpiopt.solve import solve
from mpiopt.stop import Stop

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.solve import Solve

Make = Callable[["Solve"], Method]  # the method that a job asks for

ROUNDS = 12  # of a rehearsal: enough to fill the memory of L-BFGS
WIDE, TALL = 1 << 16, 1 << 14  # features of the one rehearsal, rows of a rank in the other
FULL = 1  # the exit code where a node has not room enough


class Effort(NamedTuple):
    """Bytes of the program itself, vectors of doubles that a method holds on this rank, what it sends a round."""

    program: int
    dvectors: float
    row_vectors: float
    messages: float
    vector_rounds: float


class Share(NamedTuple):
    """What this rank will hold of the data."""

    rows: int
    nonzeros: int


def forecast(job: "Solve", make: Make, world: "World", console: Console) -> dict[str, Any]:
    """Tell what the job would need, rank by rank and node by node. Collective. Raises MpioptError on every rank."""
    source = open_source(job.data, world)
    if not compiled():
        console.note("compiling kernels: once on this machine, about half a minute")
    console(f"rehearsing {job.method} on {counted(world.size, 'rank')}")
    effort = rehearse(job, make, world)
    mine = {"host": world.host, "room": memory_room(), **needed(job, share(source, world), source, effort)}
    ranks = [{"rank": rank, **found} for rank, found in enumerate(world.tell_all(mine))]
    dim = source.cols + job.intercept
    found = {
        "dry_run": True, "dataset": source.name, "rows": source.rows, "features": source.cols,
        "nonzeros": sum(rank["nonzeros_held"] for rank in ranks),
        "method": job.method, "world_size": world.size, "workers": world.workers, "per_rank": ranks, "hosts": _hosts(ranks),
        "largest_message": 8 * dim if world.size > 1 else 0, "messages_a_round": effort.messages,
        "vector_rounds_a_round": effort.vector_rounds, "bytes_a_round": 8 * dim * effort.vector_rounds * world.size,
    }  # fmt: skip
    found["fits"] = all(host["needed"] <= host["room"] for host in found["hosts"].values())
    console.show(_page(found))
    return {**found, "exit_code": 0 if found["fits"] else FULL}


def share(source: Source, world: "World") -> Share:
    """Rows and nonzeros of this rank's workers, from the index alone. Not collective."""
    bounds = source.blocks(world.workers)
    lo, hi = int(bounds[world.hosted.start]), int(bounds[world.hosted.stop])
    index = getattr(source, "index", None)
    if index is None:
        return Share(hi - lo, round(source.per_row * (hi - lo)))
    rows = np.minimum(np.arange(len(index.prefix)) * index.stride, source.rows)
    first, last = np.interp([lo, hi], rows, index.prefix)
    return Share(hi - lo, round(last - first))


def needed(job: "Solve", mine: Share, source: Source, effort: Effort) -> dict[str, int]:
    """Bytes of one rank by what they are for; ``total`` is the most that it holds at a time. Not collective."""
    entry = 4 + np.dtype(job.values).itemsize
    matrix = entry * mine.nonzeros + 8 * mine.rows
    labels = (4 if job.loss == "logistic" else 8) * mine.rows
    vectors = 8 * (source.cols + job.intercept)
    rows = labels + round(8 * effort.row_vectors * mine.rows)
    dvectors = round((effort.dvectors + 1) * vectors)  # MPI adds up into one of its own, or malloc cannot give one back
    reading = matrix + labels + 8 * mine.rows + CHUNK * entry
    return {
        "rows_held": mine.rows, "nonzeros_held": mine.nonzeros, "program": effort.program, "matrix": matrix, "rows": rows,
        "vectors": dvectors, "dvectors": round(effort.dvectors, 1), "reading": effort.program + reading,
        "total": effort.program + max(reading, matrix + rows + dvectors),
    }  # fmt: skip


# ------------------------------------------------------------------------------------------ the rehearsal
def rehearse(job: "Solve", make: Make, world: "World") -> Effort:
    """Run the job's method on made-up rows and count. Collective, some seconds. Raises MpioptError on every rank."""
    _solved(job, make, _team(job, world, 64, 8 * world.workers))  # what is compiled or loaded once must not count
    program = resident()
    wide, said = _counted(job, make, _team(job, world, WIDE, 8 * world.workers))
    easy, _ = _counted(job, make, _team(job, world, WIDE, 64 * world.workers, 1.0))  # some choose their local solver by this
    tall, _ = _counted(job, make, _team(job, world, 64, TALL * world.size))
    return Effort(program, max(wide, easy) / (8 * WIDE), tall / (8 * TALL), *said)


def _team(job: "Solve", world: "World", features: int, rows: int, l2: float = 1e-3) -> Team:
    source = Synthetic(rows=max(rows, world.workers), cols=features, per_row=4.0)
    penalty = ElasticNet(job.l1, max(job.l2, l2) if job.l2 else 0.0, free=int(job.intercept))
    team = team_of(source, world, penalty, loss=job.loss, values=job.values)
    warm(team)
    return team


def _solved(job: "Solve", make: Make, team: Team) -> tuple[float, float]:
    """Messages and vector rounds of a round, on average."""
    method = make(replace(job, server_rows=None))
    with np.errstate(all="ignore"):
        history = solve(method, team, np.zeros(team.dim), Stop(rounds=ROUNDS)).history
    first, last = history[0], history[-1]
    return tuple((getattr(last, name) - getattr(first, name)) / max(1, last.round) for name in ("messages", "vector_rounds"))


def _counted(job: "Solve", make: Make, team: Team) -> tuple[int, tuple[float, float]]:
    """The most bytes that a solve has allocated at a time, and what `_solved` says of it."""
    tracemalloc.start()
    try:
        said = _solved(job, make, team)
        return tracemalloc.get_traced_memory()[1], said
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------------------ what is told
def _hosts(ranks: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Per host its ranks, the bytes that they need together and the room that there is, their own present size with it."""
    found = {}
    for name in dict.fromkeys(rank["host"] for rank in ranks):
        here = [rank for rank in ranks if rank["host"] == name]
        room = min(rank["room"] for rank in here) + sum(rank["program"] for rank in here)
        found[name] = {"ranks": len(here), "needed": sum(rank["total"] for rank in here), "room": room}
    return found


def _page(found: dict[str, Any]) -> str:
    ranks = found["per_rank"]
    names = ("program", "matrix", "rows", "vectors", "reading", "total")
    widest = sorted(range(len(ranks)), key=lambda k: -ranks[k]["total"])
    shown = sorted(widest[:8])
    rows = [[str(k), f"{ranks[k]['nonzeros_held']:,}", *(size(ranks[k][name]) for name in names)] for k in shown]
    head = ["rank", "nonzeros", *names[:-2], "to read", "at most"]
    lines = [
        f"{found['dataset']}: {found['rows']:,} rows, {found['features']:,} features, {found['nonzeros']:,} nonzeros",
        f"{found['method']}: {max(rank['dvectors'] for rank in ranks):g} vectors of the features' length a rank",
        "", table(head, rows, "rrrrrrrr"),
        *([f"and {len(ranks) - len(shown)} ranks that need less"] if len(ranks) > len(shown) else []), "",
        f"message    {size(found['largest_message'])} at most; {found['messages_a_round']:.3g} a round, "
        f"{found['vector_rounds_a_round']:.3g} of them that long",
        f"sent       {size(found['bytes_a_round'])} a round, by all ranks",
    ]  # fmt: skip
    for name, host in found["hosts"].items():
        verdict = "fits" if host["needed"] <= host["room"] else "DOES NOT FIT: take more nodes, or a method with fewer vectors"
        text = f"{name}: {counted(host['ranks'], 'rank')}, {size(host['needed'])} of {size(host['room'])} free: {verdict}"
        lines.append(fill(text, WIDTH, subsequent_indent=" " * 11))
    return "\n".join(lines)
