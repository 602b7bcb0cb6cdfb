"""Jobs whose ranks are killed at random moments and which are started again until they end: the answer must be the same.

Every command of COMMANDS is run undisturbed once. Then, again and again, it loses one rank or all of them at a random
moment, from its start on; the same command goes on; and in the end its run file equals that of the undisturbed run.
"""

import random
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

import numpy as np
import psutil
import pytest

from mpiopt.errors import DataError
from mpiopt.io.runs.generations import newest
from mpiopt.io.runs.run_file import read_run, read_solution
from tests import launcher

SMALL = "rcv1:rows=400,cols=300,per_row=8"
HANG = 300.0  # seconds after which a job counts as hung


class Command(NamedTuple):
    """A job to kill: its arguments, less what says where it writes, and its number of ranks.

    keep : options that make it write checkpoints. Its history and solution must not depend on when it was killed, apart
    from the columns ``loose``.
    """

    argv: tuple[str, ...]
    ranks: int = 2
    keep: tuple[str, ...] = ("--checkpoint", "c.h5", "--every-rounds", "1", "--out", "r.h5")
    loose: tuple[str, ...] = ("seconds",)
    exact: bool = True  # whether it ends alike however often it was killed; asynchronous training need only end


def solving(method: str, rounds: int, ranks: int = 2, *more: str) -> Command:
    return Command(("solve", SMALL, "--method", method, "--rounds", str(rounds), "--gap-tol", "0", *more), ranks)


def training(method: str, ranks: int = 2, *more: str, exact: bool = True) -> Command:
    argv = (
        "train",
        "--data",
        "blobs:rows=2000",
        "--batch",
        "8",
        "--epochs",
        "4",
        "--lr",
        "0.02",
        "--record",
        "0.02",
        "--method",
        method,
        *more,
    )
    return Command(argv, ranks, exact=exact)


COMMANDS = [
    solving("gradient", 150),
    solving("spcg", 60, 3),
    solving("lbfgs", 120),
    solving("fista", 80, 3, "--l1", "1e-4"),
    solving("cocoa", 120, 2, "--l2", "1e-3"),
    solving("spag", 40, 2, "--l2", "1e-3"),
    solving("tron", 150, 3),
    solving("nesterov", 150, 2, "--workers", "6", "--deterministic"),
    solving("diana", 120, 2, "--l2", "1e-2"),
    training("local_sgd"),
    training("sgd", 3, "--compress", "topk:0.05", "--error-feedback"),
    training("lsgd", 2),
    training("scaffold", 2, "--workers", "4"),
    training("async_easgd", 2, exact=False),
    training("async_sgd", 2, exact=False),
]


def begin(command: Command, folder: Path, *more: str):
    argv = [sys.executable, "-m", "mpiopt.jobs", *command.argv, *more]
    return launcher.start(launcher.command(command.ranks, argv), cwd=folder, env=launcher.environment(), out=folder / "said")


def undisturbed(command: Command, folder: Path) -> tuple:
    folder.mkdir()
    process = begin(command, folder, "--out", "r.h5")
    try:
        assert process.wait(HANG) == 0, (folder / "said").read_text()
    finally:
        launcher.end(process)
    return ended(command, folder)


def ended(command: Command, folder: Path) -> tuple:
    run = read_run(folder / "r.h5")
    if not command.exact:
        assert np.isfinite(read_solution(folder / "r.h5")[0]).all()
        return (run.attributes["reason"],)
    history = {name: column for name, column in run.history.items() if name not in command.loose}
    return run.attributes["reason"], *read_solution(folder / "r.h5"), history


def ranks_of(process) -> list[psutil.Process]:
    """The ranks that have started so far, in no order."""
    try:
        found = psutil.Process(process.pid).children(recursive=True)
        return [child for child in found if "mpiopt.jobs" in child.cmdline() and "mpiexec" not in child.cmdline()[0]]
    except psutil.NoSuchProcess:
        return []


def disturbed(command: Command, folder: Path, draws: random.Random, span: float) -> bool:
    """Run once and kill a rank, or all, within ``span`` seconds from its start; whether it was over before."""
    process = begin(command, folder, *command.keep)
    try:
        moment = monotonic() + draws.uniform(0.2, span)
        while monotonic() < moment and process.poll() is None:
            sleep(0.01)
        ranks = ranks_of(process)
        for rank in ranks if draws.random() < 0.3 else draws.sample(ranks, min(1, len(ranks))):
            with suppress(psutil.NoSuchProcess):
                rank.kill()
        code = process.wait(HANG)
    finally:
        launcher.end(process)
    readable(folder)
    return code == 0


def readable(folder: Path) -> None:
    """Whatever is there must be sound: the run file as far as it came, and a generation of the checkpoint."""
    if (folder / "r.h5").exists():
        run = read_run(folder / "r.h5")
        assert run.history["round"][:1].tolist() in ([], [0]) and (np.diff(run.history["round"]) > 0).all()
    with suppress(FileNotFoundError):
        if any(folder.glob("c.h5*")) and newest((folder / "c.h5", folder / "c.h5.1")) is None:
            assert list(folder.glob("c.h5*")) == [folder / "c.h5.partial"]


def chaos(tmp_path: Path, runs: int, seed: int, commands: Sequence[Command] = COMMANDS) -> None:
    """So many kills, shared out over the commands; every job is resumed until it ends."""
    expected: dict[Command, tuple] = {}
    spans: dict[Command, float] = {}
    kills = 0
    while kills < runs:
        draws = random.Random(seed + kills)
        command = draws.choice(commands)
        if command not in expected:
            start = monotonic()
            expected[command] = undisturbed(command, tmp_path / f"straight-{kills}")
            spans[command] = 1.3 * (monotonic() - start)
        folder = tmp_path / f"killed-{kills}"
        folder.mkdir()
        over = False
        for _ in range(min(draws.randint(1, 4), runs - kills)):
            over = over or disturbed(command, folder, draws, spans[command])
            kills += 1
        process = begin(command, folder, *command.keep)
        try:
            code = process.wait(HANG)
        finally:
            launcher.end(process)
        said = (folder / "said").read_text()
        assert code == 0 or over, f"{command.argv}: {said}"
        for found, wanted in zip(ended(command, folder), expected[command], strict=True):
            np.testing.assert_equal(found, wanted, f"{command.argv}")


@pytest.fixture(autouse=True)
def needs_mpiexec():
    if not launcher.mpiexec():
        pytest.skip("no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")


def test_three_kills(tmp_path):
    chaos(tmp_path, 3, 4, COMMANDS[:1])


@pytest.mark.study
@pytest.mark.parametrize("seed", [1000, 2000, 3000, 4000])
def test_a_hundred_kills(tmp_path, seed):
    chaos(tmp_path, 25, seed)


def test_an_unreadable_file_is_noticed(tmp_path):
    (tmp_path / "c.h5").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError):
        readable(tmp_path)
