"""What a solve will need, before any row is read: bytes a rank and a node, the largest message, messages a round.

The index says how many rows and nonzeros every rank will hold. How many vectors a method keeps beside them, and how often
it speaks, is found by a rehearsal; how much it then says, its exchanges are asked.
"""

from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mpiopt.engine.forms import Taken
from mpiopt.io.dataset.index import CHUNK
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.reduced_index import ReducedIndex
from mpiopt.io.dataset.source import Source
from mpiopt.io.dataset.synthetic import Synthetic
from mpiopt.jobs.cli.console import WIDTH, Console, size, table
from mpiopt.jobs.machine.node import compiled, memory_room
from mpiopt.jobs.running.feature_groups import groups_of
from mpiopt.jobs.running.linear_data import opened
from mpiopt.jobs.running.rehearsal import Effort, Make, foreseen, known, made, parted, reduces, rehearse, screens, settled
from mpiopt.losses.registry import find
from mpiopt.problems.copied import ROOT
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.jobs.cli.solve_options import Solve

FULL = 1  # the exit code where a node has not room enough
MAP = 2  # vectors: the way to fewer coordinates and back
LESS = "; less where they have unlike features"
WHOLE = 8  # vectors of all features where methods run in fewer: answers, and what proves the last


class Footprint(NamedTuple):
    """What this rank will hold of the data."""

    rows: int
    nonzeros: int


NONE = Footprint(0, 0)


def forecast(job: "Solve", make: Make, world: "World", console: Console) -> dict[str, Any]:
    """Tell what the job would need, rank by rank and node by node. Collective. Raises MpioptError on every rank."""
    job, source = opened(job, world)
    groups_of(job, source, world)  # which are looked at, and no more: all else is of made-up rows
    if not compiled():
        console.note("compiling kernels: once on this machine, about 10 seconds")
    console(f"rehearsing {job.method} on {counted(world.size, 'rank')}")
    method = made(job, make)
    small = known(method, job, source)
    coordinates = source.cols if small is None else small.cols
    dim = coordinates + job.intercept
    taken = settled(method, job, source, world.workers)[1]
    effort = rehearse(job, lambda job: settled(make(job), job, source, world.workers)[0], world, dim)
    sent, twice = effort.traffic, small is None and (reduces(method, job, source) or screens(job, source, taken))
    parts = parted(job, method, source, taken, world)
    if parts and taken is not None and taken.form == "mean":
        taken = taken._replace(why=f"{taken.why}; counts, if workers have unlike features")
    mine = {
        "host": world.host,
        "room": memory_room(),
        **needed(job, share(source, world), source, effort, twice, _copied(taken, source, world, small), small, parts),
        "bytes_a_round": sent.nbytes,
    }
    ranks = [{"rank": rank, **found} for rank, found in enumerate(world.tell_all(mine))]
    found = {
        "dry_run": True,
        "dataset": source.name,
        "rows": source.rows,
        "features": source.cols,
        "coordinates": None if small is None else coordinates,
        "nonzeros": sum(rank["nonzeros_held"] for rank in ranks),
        "method": job.method,
        "form": taken and taken.form,
        "form_why": taken and taken.why,
        "world_size": world.size,
        "workers": world.workers,
        "per_rank": ranks,
        "hosts": _hosts(ranks),
        "largest_message": 8 * effort.longest,
        "messages_a_round": sent.messages,
        "vector_rounds_a_round": sent.vector_rounds,
        "long_messages_a_round": sent.long,
        "payload": sent.payload,
        "perhaps_parts": parts,
        "bytes_a_round": sum(rank["bytes_a_round"] for rank in ranks),
    }
    found["fits"] = all(host["needed"] <= host["room"] for host in found["hosts"].values())
    console.show(_page(found))
    return {**found, "exit_code": 0 if found["fits"] else FULL}


def share(source: Source, world: "World") -> Footprint:
    """Rows and nonzeros of this rank's workers, from the index alone. Not collective."""
    bounds = source.blocks(world.workers)
    lo, hi = int(bounds[world.hosted.start]), int(bounds[world.hosted.stop])
    if not isinstance(source, Dataset):
        mean = source.per_row if isinstance(source, Synthetic) else source.nnz / source.rows
        return Footprint(hi - lo, round(mean * (hi - lo)))
    prefix, stride = source.index.prefix, source.index.stride
    rows = np.minimum(np.arange(len(prefix)) * stride, source.rows)
    first, last = np.interp([lo, hi], rows, prefix)
    return Footprint(hi - lo, round(last - first))


def _copied(taken: Taken | None, source: Source, world: "World", small: ReducedIndex | None) -> Footprint:
    """The rows that one rank has a copy of, in a form in which worker 0 has them all."""
    here = taken is not None and taken.form == "gathered" and ROOT in world.hosted
    return Footprint(source.rows, foreseen(source) if small is None else int(small.nnz.sum())) if here else NONE


def needed(
    job: "Solve",
    mine: Footprint,
    source: Source,
    effort: Effort,
    twice: bool = False,
    others: Footprint = NONE,
    small: ReducedIndex | None = None,
    parts: bool = False,
) -> dict[str, float]:
    """Bytes of one rank by what they are for; ``total`` is the most that it holds at a time. Not collective.

    twice : whether it may hold its rows a second time, in fewer coordinates: not known before they are read, and ``once`` is
    the total where it does not. others : rows of others that it holds too. small : in what fewer coordinates it holds
    them, where that is known. parts : whether it may number their columns anew, as the coordinates that it has.
    """
    entry = 4 + np.dtype(job.values).itemsize
    matrix = entry * mine.nonzeros + 8 * mine.rows
    held = matrix + entry * others.nonzeros + 16 * others.rows
    labels = (4 if find(job.loss).labels.classes else 8) * mine.rows
    vector = 8 * ((source.cols if small is None else small.cols) + job.intercept)
    rows = labels + round(8 * effort.row_vectors * mine.rows)
    dvectors = round((effort.dvectors + 1) * vector)  # MPI adds up into one of its own, or malloc cannot give one back
    reading = matrix + labels + 8 * mine.rows + CHUNK * entry
    if small is not None:
        beside = _beside(small, mine, source, entry)
        held, reading, dvectors = held + beside, reading + beside, dvectors + WHOLE * 8 * source.cols
    once = max(reading, held + rows + dvectors)
    if twice:
        held, dvectors = held + matrix, dvectors + MAP * vector
    if parts:
        held += 4 * mine.nonzeros
    return {
        "rows_held": mine.rows,
        "nonzeros_held": mine.nonzeros,
        "program": effort.program,
        "matrix": held,
        "rows": rows,
        "vectors": dvectors,
        "dvectors": round(effort.dvectors, 1),
        "reading": effort.program + reading,
        "once": effort.program + once,
        "total": effort.program + max(reading, held + rows + dvectors),
    }


def _beside(small: ReducedIndex, mine: Footprint, source: Source, entry: int) -> int:
    """Bytes of the rows in fewer columns, and of the way back."""
    part = mine.nonzeros / max(1, source.nnz)
    return round(entry * part * int(small.nnz.sum())) + 8 * mine.rows + 4 * small.kept + (4 + entry) * int(small.singles.sum())


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
    fewer, what = "", "features"
    if found["coordinates"] is not None:
        fewer, what = f", in {found['coordinates']:,} coordinates, which came with the data set", "coordinates"
    lines = [
        f"{found['dataset']}: {counted(found['rows'], 'row')}, {counted(found['features'], 'feature')}, "
        f"{counted(found['nonzeros'], 'nonzero')}",
        f"{found['method']}: {max(rank['dvectors'] for rank in ranks):g} vectors of the {what}' length a rank",
        *([fill(f"form {found['form']}: {found['form_why']}{fewer}", WIDTH)] if found["form"] else []),
        "",
        table(head, rows, "rrrrrrrr"),
        *([f"and {counted(len(ranks) - len(shown), 'rank')} more, all below these"] if len(ranks) > len(shown) else []),
        *_twice(ranks),
        "",
        f"message    {size(found['largest_message'])} at most; {found['messages_a_round']:.3g} a round, "
        f"{found['long_messages_a_round']:.3g} of them vector rounds",
        *_payload(found["payload"], found["coordinates"] or found["features"]),
        f"sent       {size(found['bytes_a_round'])} a round, by all ranks{LESS * found['perhaps_parts']}",
    ]
    for name, host in found["hosts"].items():
        verdict = "fits" if host["needed"] <= host["room"] else "DOES NOT FIT: take more nodes, or a method with fewer vectors"
        text = f"{name}: {counted(host['ranks'], 'rank')}, {size(host['needed'])} of {size(host['room'])} free: {verdict}"
        lines.append(fill(text, WIDTH, subsequent_indent=" " * 11))
    return "\n".join(lines)


def _twice(ranks: list[dict[str, Any]]) -> list[str]:
    """What is left where no rank holds its rows twice."""
    most = max(rank["once"] for rank in ranks)
    if most == max(rank["total"] for rank in ranks):
        return []
    return [f"{size(most)} at most if rows are held once, which only they can tell"]


def _payload(nbytes: int | None, features: int) -> list[str]:
    """A line about what is compressed, where anything is."""
    if nbytes is None:
        return []
    whole = 8 * features
    return [f"compressed {size(nbytes)} in place of {size(whole)} ({100 * nbytes / whole:.3g} %), by each worker"]
