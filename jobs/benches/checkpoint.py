"""``mpiopt bench checkpoint``: a checkpoint of a real run against writing and syncing as many bytes to a plain file."""

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.engine.drive import Standing, solve
from mpiopt.engine.stop import Reason, Record, Stop
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.source import open_source
from mpiopt.io.runs.checkpoint import Store
from mpiopt.jobs.benches.race import race
from mpiopt.jobs.cli.console import Console, size, table
from mpiopt.methods.first_order import lbfgs
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World

PAIRS = 5  # of vectors that L-BFGS keeps: with the point and its gradient 12 vectors in all
BLOCK = 1 << 24  # bytes written at once


def keeping(spec: str, runs: int, world: "World", console: Console) -> dict[str, Any]:
    """Time both in a folder of their own beneath the current one. Collective. Raises DataError on every rank."""
    console("making a run")
    team = team_of(open_source(spec, world), world, L2(1e-3))
    at = _under_way(team)
    with TemporaryDirectory(dir=Path(), prefix="bench-checkpoint-") if world.rank == 0 else nullcontext("") as mine:
        folder = Path(world.tell(mine))
        store = Store(folder / "c.h5", world, "bench")
        store.save(at, {}, team)
        written = world.tell(store.path.stat().st_size if world.rank == 0 else 0)
        console(f"writing {size(written)} again and again")
        save, plain = (_together(act, world) for act in (lambda: store.save(at, {}, team), _plain(folder, written, world)))
        found = race(save, plain, runs)
        world.barrier()  # before the folder goes
    facts = {
        "ranks": world.size,
        "features": team.dim,
        "bytes": written,
        "runs": runs,
        "seconds": found.ours,
        "plain_seconds": found.peer,
        "ratio": found.ratio,
    }
    what = f"L-BFGS with {PAIRS} pairs, d = {team.dim:,}"
    console.show(f"{what}, {counted(world.size, 'rank')}, {size(written)}, medians of {runs}\n")
    console.show(
        table(
            ["", "seconds", "ratio"],
            [["checkpoint", f"{found.ours:.2f}", f"{found.ratio:.2f}"], ["write and fsync", f"{found.peer:.2f}", ""]],
            "lrr",
        )
    )
    return facts


def _under_way(team: Team) -> Standing[Record]:
    """Where a run stands that has all its pairs. Collective."""
    at: list[Standing[Record]] = [Standing()]

    def keep(now: Standing[Record], _: Reason | None) -> None:
        at[0] = now

    solve(lbfgs(PAIRS), team, np.zeros(team.dim), Stop(rounds=PAIRS + 1), keep=[keep])
    return at[0]


def _plain(folder: Path, count: int, world: "World") -> Callable[[], None]:
    """Rank 0 writes ``count`` bytes beside a file, syncs and renames."""
    block = np.random.default_rng(0).bytes(BLOCK)

    def write() -> None:
        if world.rank == 0:
            with open(folder / "plain.partial", "wb") as file:
                for start in range(0, count, BLOCK):
                    file.write(block[: count - start])
                file.flush()
                os.fsync(file.fileno())
            os.replace(folder / "plain.partial", folder / "plain")

    return write


def _together(act: Callable[[], None], world: "World") -> Callable[[], None]:
    """``act`` between barriers, so that every rank sees the time of the slowest."""

    def timed() -> None:
        world.barrier()
        act()
        world.barrier()

    return timed
