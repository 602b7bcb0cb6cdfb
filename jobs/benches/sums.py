"""``mpiopt bench sums``: what sums in a fixed order (``--deterministic``) cost, against the MPI library's own allreduce."""

from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.jobs.benches.race import race
from mpiopt.jobs.cli.console import Console, table
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World

SIZES = (10**3, 10**5, 10**7)


def summing(runs: int, world: "World", console: Console) -> dict[str, Any]:
    """Time sums of float64 vectors over the ranks, one worker each. Collective."""
    ordered = world.split(0)
    ordered.deterministic = True
    try:
        found = [_race(d, runs, ordered, world, console) for d in SIZES]
    finally:
        ordered.free()
    console.show(f"sums over {counted(world.size, 'rank')}, float64, medians of {runs}\n")
    lines = [
        [f"{row['d']:,}", f"{1e6 * row['seconds']:,.0f}", f"{1e6 * row['ordered_seconds']:,.0f}", f"{row['ratio']:.2f}"]
        for row in found
    ]
    console.show(table(["d", "as MPI does, us", "in order, us", "ratio"], lines, "rrrr"))
    return {"ranks": world.size, "runs": runs, "sums": found}


def _race(d: int, runs: int, ordered: "World", world: "World", console: Console) -> dict[str, Any]:
    console(f"summing {d:,} numbers")
    x, out, times = np.random.default_rng(world.rank).standard_normal(d), np.empty(d), max(1, 2 * 10**7 // d // 100)

    def repeat(of: "World"):
        def run() -> None:
            for _ in range(times):
                of.sum([x], out=out)
            world.barrier()

        return run

    found = race(repeat(ordered), repeat(world), runs)
    return {"d": d, "seconds": found.peer / times, "ordered_seconds": found.ours / times, "ratio": found.ratio}
