"""``mpiopt bench scaling``: rounds and seconds over workers, and what they would be on a thousand ranks of a stated network.

strong: the same rows on 1, 2, 4, ... workers; weak: as many rows on every worker (generated data alone). More workers than
ranks are hosted in turn, so that a round's work of one worker is timed as it would be on a core of its own. Collectives of this
job's ranks are timed and fitted by  T(bytes, ranks) = alpha log2(ranks) + beta 2 bytes (ranks - 1) / ranks  (Thakur,
Rabenseifner, Gropp, Optimization of collective communication operations in MPICH, 2005: an allreduce by halves); projections
take rounds as a line in log2(workers), and say how far the points lie from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from math import log2
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.errors import UsageError
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import Source, open_source
from mpiopt.io.dataset.synthetic import Synthetic
from mpiopt.jobs.benches.race import seconds
from mpiopt.jobs.cli.console import Console, size, table
from mpiopt.jobs.studies.apparatus.lab import Lab
from mpiopt.methods import find
from mpiopt.problems.penalties import L2
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World

LENGTHS = (1, 100, 10_000, 100_000, 1_000_000)  # doubles of the sums that are timed
FAR = (64, 256, 1000)  # ranks of projections


@dataclass(frozen=True)
class Network:
    """What a sum costs: alpha seconds a stage, beta seconds a byte and direction."""

    name: str
    alpha: float
    beta: float

    def allreduce(self, nbytes: float, ranks: int) -> float:
        """Seconds of one."""
        return self.alpha * log2(ranks) + self.beta * 2 * nbytes * (ranks - 1) / ranks if ranks > 1 else 0.0


STATED = (
    Network("10 Gbit/s Ethernet (25 us)", 25e-6, 8 / 10e9),
    Network("100 Gbit/s Ethernet (8 us)", 8e-6, 8 / 100e9),
    Network("200 Gbit/s InfiniBand (2 us)", 2e-6, 8 / 200e9),
)


class Scaled(NamedTuple):
    """One solve to the certified tolerance. work : seconds of a round of a worker; sent : bytes of a worker."""

    kind: str
    workers: int
    rows: int
    rounds: int
    converged: bool
    messages: int
    sent: float
    work: float


class Trend(NamedTuple):
    """rounds = first + each log2(workers), and the points' standard deviation from it."""

    first: float
    each: float
    off: float

    def at(self, workers: int) -> float:
        """Rounds."""
        return max(1.0, self.first + self.each * log2(workers))


def scaling(data: str, l2: float, target: float, most: int, runs: int, world: "World", console: Console) -> dict[str, Any]:
    """Measure, fit, project and show. Collective. most : workers, at most. Raises UsageError."""
    if most < world.size:
        raise UsageError(f"--most {most}: every one of the {counted(world.size, 'rank')} hosts at least one worker")
    counts = list(takewhile(lambda m: m <= most, (2**k for k in range(most.bit_length()))))
    source, lab = open_source(data, world), Lab(world, console)
    here = measured_network(runs, world, console)
    _solved("warming up", source, counts[0], l2, target, lab)
    found = [_solved("strong", source, m, l2, target, lab) for m in counts if m <= source.rows]
    if isinstance(source, Synthetic):
        least = max(source.rows // most, 1)
        found += [_solved("weak", replace(source, rows=m * least), m, l2, target, lab) for m in counts]
    dim, networks = source.cols, ([] if here is None else [here]) + list(STATED)
    line = fitted_line([each for each in found if each.kind == "strong" and each.converged])
    console.show(f"{data}, lambda {l2:g}, to a certified {target:g}, {counted(world.size, 'rank')}\n\n{_solves(found)}")
    projected = projections(found, line, networks) if line else []
    console.show(_told(line, networks, projected, dim))
    return {
        "data": data,
        "ranks": world.size,
        "networks": [vars(each) for each in networks],
        "solves": [each._asdict() for each in found],
        "line": line and line._asdict(),
        "projections": projected,
    }


def measured_network(runs: int, world: "World", console: Console) -> Network | None:
    """Of this job's ranks; None where there is one. Collective."""
    if world.size == 1:
        return None
    console("timing sums")
    times = []
    for length in LENGTHS:
        part, repeats = np.ones(length), max(1, 2000 // max(1, length // 500))

        def some(part: np.ndarray = part, repeats: int = repeats) -> None:
            for _ in range(repeats):
                world.sum([part], out=part)
                part.fill(1.0)

        some()
        times.append(median(seconds(some) for _ in range(runs)) / repeats)
    return world.tell(fit_network(times, world.size))


def fit_network(times: Sequence[float], ranks: int) -> Network:
    """alpha and beta by least squares on relative errors, neither below 0."""
    stages, moved = log2(ranks), 16 * (ranks - 1) / ranks * np.array(LENGTHS)
    a = np.column_stack([np.full(len(LENGTHS), stages), moved]) / np.array(times)[:, None]
    (alpha, beta), *_ = np.linalg.lstsq(a, np.ones(len(LENGTHS)), rcond=None)
    off = float(abs(a @ [alpha, beta] - 1).max())
    return Network(f"this machine (fitted, off by at most {100 * off:.0f} %)", max(float(alpha), 0.0), max(float(beta), 0.0))


def _solved(kind: str, source: Source, workers: int, l2: float, target: float, lab: Lab) -> Scaled:
    """Collective."""
    lab.console(f"{kind}: {counted(workers, 'worker')}")
    with lab.crew(workers) as world:
        told = None if world is None else _one(kind, source, l2, target, world)
    return lab.world.tell(told)


def _one(kind: str, source: Source, l2: float, target: float, world: "World") -> Scaled:
    team = team_of(source, world, L2(l2))
    found = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=200, gap=target))
    last = found.final
    share = world.size / world.workers / max(1, last.round)
    sent = last.bytes_sent / world.workers
    return Scaled(
        kind, world.workers, source.rows, last.round, found.reason.converged, last.messages, sent, last.seconds * share
    )


def fitted_line(found: Sequence[Scaled]) -> Trend | None:
    """None where there are less than three points to put a line through."""
    if len(found) < 3:
        return None
    a = np.array([[1.0, log2(each.workers)] for each in found])
    y = np.array([each.rounds for each in found], float)
    (first, each), *_ = np.linalg.lstsq(a, y, rcond=None)
    return Trend(float(first), float(each), float(np.std(a @ [first, each] - y, ddof=2)))


def projections(found: Sequence[Scaled], line: Trend, networks: Sequence[Network]) -> list[dict[str, Any]]:
    """Seconds of the same rows on many ranks of one worker, by the work and the messages of a round on the most tried."""
    last = max((each for each in found if each.kind == "strong"), key=lambda each: each.workers)
    each_message, each_byte = last.messages / max(1, last.rounds), last.sent / max(1, last.rounds)
    out = []
    for network in networks:
        for ranks in FAR:
            rounds = line.at(ranks)
            work = last.work * last.workers / ranks
            said = network.allreduce(each_byte, ranks) + (each_message - 1) * network.allreduce(0, ranks)
            out.append(
                {"network": network.name, "ranks": ranks, "rounds": rounds, "off": 2 * line.off, "bytes": each_byte * rounds}
                | {"seconds": rounds * (work + said), "communicating": said / (work + said)}
            )
    return out


def _solves(found: Sequence[Scaled]) -> str:
    rows = [
        [
            each.kind,
            f"{each.workers}",
            f"{each.rows:,}",
            f"{each.rounds}{'' if each.converged else '+'}",
            size(each.sent),
            f"{1e3 * each.work:.2f}",
        ]
        for each in found
    ]
    return table(["", "workers", "rows", "rounds", "sent by a worker", "ms a round of a worker"], rows, "lrrrrr")


def _told(line: Trend | None, networks: Sequence[Network], projected: Sequence[dict[str, Any]], dim: int) -> str:
    if line is None:
        return "\nToo few solves were done to say anything of more workers."
    rows = [
        [
            each["network"],
            f"{each['ranks']}",
            f"{each['rounds']:.1f} +- {each['off']:.1f}",
            size(each["bytes"]),
            f"{each['seconds']:.3g}",
            f"{100 * each['communicating']:.0f} %",
        ]
        for each in projected
    ]
    head = ["projected", "ranks", "rounds", "sent by a rank", "seconds", "of them talking"]
    measured = [f"{each.name}: alpha {1e6 * each.alpha:.3g} us, beta {1e9 * each.beta:.3g} ns a byte" for each in networks]
    sums = f"rounds = {line.first:.2f} + {line.each:.2f} log2(workers), points off by {line.off:.2f}; d = {dim:,}"
    return "\n".join(["", sums, *measured, "", table(head, rows, "lrrrrr")])
