"""Jobs whose ranks are killed or stopped at random moments and started again until they end: the answer must be the same.

Every command of COMMANDS is run undisturbed once. Then, again and again, it loses one rank or all of them at a random
moment from its start on, or one of them is stopped and a watchdog is on, or asked to end; the same command goes on; and in
the end what it has written equals that of the undisturbed run. Nothing hangs, and nothing is told by a traceback.
"""

import random
import signal
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
from mpiopt.io.record import read_run, read_solution
from mpiopt.io.saved import newest
from mpiopt.io.shards import Dataset
from tests import launcher
from tests.svm_text import random_text

SMALL = "rcv1:rows=400,cols=300,per_row=8"
HANG = 300.0  # seconds after which a job counts as hung
WATCHED = ("--watchdog", "2", "--watchdog-abort", "4")
SIGNS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP, "ask": signal.SIGTERM}


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
    blows: tuple[str, ...] = ("kill", "stop", "ask")


def solving(method: str, rounds: int, ranks: int = 2, *more: str) -> Command:
    return Command(("solve", SMALL, "--method", method, "--rounds", str(rounds), "--gap-tol", "0", *more), ranks)


def training(method: str, ranks: int = 2, *more: str, exact: bool = True) -> Command:
    argv = ("train", "--data", "blobs:rows=2000", "--batch", "8", "--epochs", "4", "--lr", "0.02", "--record", "0.02",
            "--method", method, *more)  # fmt: skip
    return Command(argv, ranks, exact=exact)


CONVERT = Command(("convert", "../rows.svm", "d.h5", "--shards", "5"), 2, (), blows=("kill",))  # it keeps no checkpoint
COMMANDS = [
    CONVERT,
    solving("gradient", 150), solving("spcg", 60, 3), solving("lbfgs", 120), solving("fista", 80, 3, "--l1", "1e-4"),
    solving("cocoa", 120, 2, "--l2", "1e-3"), solving("spag", 40, 2, "--l2", "1e-3"), solving("tron", 150, 3),
    solving("nesterov", 150, 2, "--workers", "6", "--deterministic"), solving("diana", 120, 2, "--l2", "1e-2"),
    training("local_sgd"), training("sgd", 3, "--compress", "topk:0.05", "--error-feedback"), training("lsgd", 2),
    training("scaffold", 2, "--workers", "4"), training("async_easgd", 2, exact=False), training("async_sgd", 2, exact=False),
]  # fmt: skip


def begin(command: Command, folder: Path, *more: str):
    argv = [sys.executable, "-m", "mpiopt.jobs", *command.argv, *more]
    return launcher.start(launcher.command(command.ranks, argv), cwd=folder, env=launcher.environment(), out=folder / "said")


def finished(command: Command, folder: Path, *more: str) -> tuple[int, str]:
    """The exit code of a job that is left alone, and what it said."""
    process = begin(command, folder, *more)
    try:
        return process.wait(HANG), (folder / "said").read_text()
    finally:
        launcher.end(process)


def undisturbed(command: Command, folder: Path) -> tuple:
    folder.mkdir()
    if command is CONVERT:
        (folder.parent / "rows.svm").write_text(random_text(20_000, 300))
    code, said = finished(command, folder, *(() if command is CONVERT else ("--out", "r.h5")))
    assert code == 0, said
    return ended(command, folder)


def ended(command: Command, folder: Path) -> tuple:
    if command is CONVERT:
        assert sorted(path.name for path in folder.iterdir()) == ["d.h5", "d.shards", "said"]
        dataset = Dataset.open(folder / "d.h5")
        return dataset.content, len(list((folder / "d.shards").iterdir())), dataset.read(0, dataset.rows)[0].data
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


def disturbed(command: Command, folder: Path, draws: random.Random, span: float, blow: str) -> bool:
    """Run once and strike a rank, or all, within ``span`` seconds from its start; whether it was over before.

    Only a job whose ranks have met can notice that one of them has stopped, or listens when it is asked to end.
    """
    process = begin(command, folder, *command.keep, *(WATCHED if blow == "stop" else ()))
    try:
        while (
            blow != "kill" and " on 2 rank" not in said(folder) and " on 3 rank" not in said(folder) and process.poll() is None
        ):
            sleep(0.02)
        moment = monotonic() + draws.uniform(0.2 if blow == "kill" else 0.0, span if blow == "kill" else span / 3)
        while monotonic() < moment and process.poll() is None:
            sleep(0.01)
        ranks = ranks_of(process)
        for rank in ranks if blow == "kill" and draws.random() < 0.3 else draws.sample(ranks, min(1, len(ranks))):
            with suppress(psutil.NoSuchProcess):
                rank.send_signal(SIGNS[blow])
        code = process.wait(HANG)
    finally:
        launcher.end(process)
    assert "Traceback" not in said(folder), said(folder)
    if blow == "stop":
        assert code == 0 or "watchdog: " in said(folder), said(folder)
    if blow == "ask":
        assert code in (0, 75) or "ended  " in said(folder), said(folder)
    readable(folder)
    return code == 0


def said(folder: Path) -> str:
    return (folder / "said").read_text(errors="replace")


def readable(folder: Path) -> None:
    """Whatever is there must be sound: the run file as far as it came, and a generation of the checkpoint."""
    if (folder / "r.h5").exists():
        run = read_run(folder / "r.h5")
        assert run.history["round"][:1].tolist() in ([], [0]) and (np.diff(run.history["round"]) > 0).all()
    with suppress(FileNotFoundError):
        if any(folder.glob("c.h5*")) and newest((folder / "c.h5", folder / "c.h5.1")) is None:
            assert list(folder.glob("c.h5*")) == [folder / "c.h5.partial"]


def chaos(folder: Path, blows: Sequence[str], seed: int, commands: Sequence[Command]) -> None:
    """Deal out the blows, some to each command in turn; every job is resumed until it ends."""
    draws, left, turn = random.Random(seed), list(blows), 0
    while left:
        command = commands[turn % len(commands)]
        start = monotonic()
        expected = undisturbed(command, folder / f"straight-{turn}")
        span = 1.3 * (monotonic() - start)
        place = folder / f"struck-{turn}"
        place.mkdir()
        over = False
        for _ in range(draws.randint(2, 4)):
            mine = next((blow for blow in left if blow in command.blows), None)
            if mine is not None and not over:
                left.remove(mine)
                over = disturbed(command, place, draws, span, mine)
        code, text = finished(command, place, *command.keep)
        there = code == 2 and "exists" in text and (over or command is CONVERT)
        assert code == 0 or over or there, f"{command.argv}: {text}"
        assert "Traceback" not in text, text
        for found, wanted in zip(ended(command, place), expected, strict=True):
            np.testing.assert_equal(found, wanted, f"{command.argv}")
        turn += 1


@pytest.fixture(autouse=True)
def needs_mpiexec():
    if not launcher.mpiexec():
        pytest.skip("no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")


def test_a_small_storm(tmp_path):
    chaos(tmp_path, ["kill", "stop"], 4, [COMMANDS[1]])


def test_a_conversion_is_killed_and_done_again(tmp_path):
    chaos(tmp_path, ["kill"], 5, [CONVERT])


@pytest.mark.study
@pytest.mark.parametrize("part", range(5))
def test_a_storm(tmp_path, part):
    """In all 60 blows over all commands, a third of them each kind."""
    assert len(COMMANDS) >= 11
    turned = [*COMMANDS[3 * part :], *COMMANDS[: 3 * part]]
    chaos(tmp_path, ["kill", "stop", "ask", "kill"] * 3, 1000 + part, turned)


def test_an_unreadable_file_is_noticed(tmp_path):
    (tmp_path / "c.h5").write_bytes(b"not a checkpoint")
    with pytest.raises(DataError):
        readable(tmp_path)
