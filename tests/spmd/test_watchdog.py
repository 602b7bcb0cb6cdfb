"""The watchdog: it names the rank that keeps the others waiting, ends what hangs, and costs nothing when it is off."""

import fcntl
import re
import signal
import sys
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from mpiopt.comm import watchdog
from mpiopt.comm.gate import WHOLE
from mpiopt.comm.watchdog import Watchdog
from mpiopt.errors import UsageError
from mpiopt.jobs import solve, train
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running.watchdog import guarded
from tests import launcher

PATIENCE = 200.0  # seconds for what takes two where nobody else is at work
LONG = ["solve", "rcv1:rows=300,cols=200,per_row=8", "--method", "gradient", "--gap-tol", "0", "--rounds", "10000000"]


class Sayings(list):
    """What watchdogs have said, and to ranks that wait for it, by a file, that something has been said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, line: str) -> None:
        self.append(line)
        (self.folder / ("go on" if "go on" in line else line.partition(" for ")[0])).touch()

    def linger_in_the_kitchen(self, line: str) -> None:
        """Until somebody has said what begins like this."""
        while not (self.folder / line).exists():
            time.sleep(0.01)


class Ticks:
    """In the place of a watchdog's event: its periods pass at once, and something happens in each."""

    def __init__(self, count: int, event=int) -> None:
        self.left, self.event = count, event

    def wait(self, seconds: float) -> bool:
        self.event()
        self.left -= 1
        return self.left < 0

    def is_set(self) -> bool:
        return False


def watched(world, folder: Path, monkeypatch, ticks: Ticks, name: str = "") -> list[str]:
    """What a watchdog says that looks every second and speaks after 5, while its rank is in a call, or in none."""
    clock, said = count(), []
    monkeypatch.setattr(watchdog, "time", SimpleNamespace(monotonic=lambda: float(next(clock))))
    dog = Watchdog(world, folder, 5.0, said.append)
    dog._end = ticks
    world.watches.append(dog)
    if name:
        dog.entered(name, WHOLE)
    dog._watch()
    world.watches.remove(dog)
    return said


@pytest.mark.ranks(2, 3)
@pytest.mark.parametrize("late", [0, 1])
def test_who_is_late_is_named_with_what_it_does(world, shared_tmp, late):
    said, speaker = Sayings(shared_tmp), 1 if late == 0 else 0
    with Watchdog(world, shared_tmp / "w", 0.5, said, lambda: "stirring the pot"):
        world.barrier()
        if world.rank == late:
            said.linger_in_the_kitchen(f"rank {speaker} waits in sum")
        world.sum([np.ones(5)])
        said.linger_in_the_kitchen("go on")
    told = [line for line in world.tell_all(said)[speaker] if "waits in sum for" in line or "go on" in line]
    assert len(told) >= 2 and f"rank {late} on host {world.host} (pid" in told[0]
    assert "has not come: stirring the pot" in told[0] and told[0].count("has not come") == 1
    assert "go on" in told[-1] and sum("sum" in line for line in said) == (len(told) - 1) * (world.rank == speaker)
    assert not (shared_tmp / "w").exists() and world.watches == []


@pytest.mark.ranks(3)
def test_a_group_is_watched_too(world, shared_tmp):
    said = Sayings(shared_tmp)
    with Watchdog(world, shared_tmp / "w", 0.3, said):
        part = world.split(world.rank // 2)
        if world.rank == 1:
            said.linger_in_the_kitchen("rank 0 waits in total of a group")
        part.total([np.ones(1)])
        part.barrier()
    told = [line for rank in world.tell_all(said) for line in rank if "of a group" in line]
    assert "waits in total of a group" in told[0] and all("rank 2" not in line for line in told)


@pytest.mark.ranks(1)
def test_a_long_wait_is_told_of_at_doubling_times_and_work_never(world, shared_tmp, monkeypatch):
    assert watched(world, shared_tmp, monkeypatch, Ticks(1000)) == []
    told = watched(world, shared_tmp, monkeypatch, Ticks(1000), "sum")
    assert [int(line.split(" waits in sum for ")[1].split(" s ")[0]) for line in told] == [5, 10, 20, 40, 80, 160, 320, 640]
    assert all("All have come, but it does not end" in line for line in told)


@pytest.mark.ranks(2)
def test_hosts_that_do_not_share_the_folder_are_told(world, shared_tmp):
    with pytest.raises(UsageError, match="not the same one on every host"):
        Watchdog(world, shared_tmp / f"w{world.rank}", 1.0, print).__enter__()
    assert world.watches == []


@pytest.mark.ranks(2)
def test_many_calls_pass_unnoticed(world, shared_tmp, monkeypatch):
    """One in each period is enough, though the rank is in a call whenever it is looked at."""

    def go_on() -> None:
        (dog,) = world.watches
        dog.left(WHOLE)
        world.sum([np.ones(3)])
        dog.entered("sum", WHOLE)

    assert watched(world, shared_tmp, monkeypatch, Ticks(100, go_on), "sum") == []


def ranks_of(process) -> list[psutil.Process]:
    found = psutil.Process(process.pid).children(recursive=True)
    return [child for child in found if "mpiopt.jobs" in child.cmdline() and "mpiexec" not in child.cmdline()[0]]


def stopped(tmp_path, *options: str, job: list[str] = LONG, sign: str = "round   10"):
    """A job of three ranks of which one, not the first to have started, has been stopped after ``sign``; and that one."""
    if not launcher.mpiexec():
        pytest.skip("no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")
    argv = launcher.command(3, [sys.executable, "-m", "mpiopt.jobs", *job, "--out", "r.h5", *options])
    process = launcher.start(argv, cwd=tmp_path, env=launcher.environment(), out=tmp_path / "said")
    heard(process, tmp_path, sign)
    victim = ranks_of(process)[-1]
    victim.send_signal(signal.SIGSTOP)
    return process, victim


def heard(process, tmp_path, text: str) -> str:
    """What the job has said once it has said ``text``."""
    end = time.monotonic() + PATIENCE
    while text not in (said := (tmp_path / "said").read_text()):
        assert time.monotonic() < end and process.poll() is None, said
        time.sleep(0.05)
    return said


@pytest.mark.study  # it depends on how busy the machine is
def test_a_stopped_rank_is_named_and_the_job_goes_on_when_it_does(tmp_path):
    process, victim = stopped(tmp_path, "--watchdog", "1")
    try:
        said = heard(process, tmp_path, "is silent")
        line = next(line for line in said.splitlines() if "is silent" in line)
        assert f"(pid {victim.pid})" in line and "solving, after round" in line and line.count("is silent") == 1
        assert list(tmp_path.glob(".mpiopt-watchdog-*"))
        victim.send_signal(signal.SIGCONT)
        heard(process, tmp_path, "the ranks go on")
        victim.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
    finally:
        launcher.end(process)
    assert not list(tmp_path.glob(".mpiopt-watchdog-*"))


@pytest.mark.ranks(2)
def test_what_a_killed_job_left_is_removed_by_the_next_and_nothing_else(world, shared_tmp):
    """The lock is the operating system's: of a job on its way nothing goes, nor what no watchdog has made."""
    places = {name: shared_tmp / f".mpiopt-watchdog-{name}" for name in ("killed", "living", "foreign", "unlocked")}
    living = None
    if world.rank == 0:
        for name, place in places.items():
            place.mkdir()
            (place / ("notes.txt" if name == "foreign" else "0")).write_text("{}")
            if name != "unlocked":
                (place / "held").touch()
        living = (places["living"] / "held").open("r+b")
        fcntl.flock(living, fcntl.LOCK_EX)
    world.barrier()
    job = Solve(data="blobs", out=shared_tmp / "r.h5", watchdog=60.0)
    with guarded(job, world, Console()):
        world.barrier()
        found = {path.name.removeprefix(".mpiopt-watchdog-") for path in shared_tmp.glob(".mpiopt-watchdog-*")}
        assert found & set(places) == {"living", "foreign", "unlocked"} and len(found) == 4
        world.barrier()
    world.barrier()
    assert len(list(shared_tmp.glob(".mpiopt-watchdog-*"))) == 3
    if living is not None:
        living.close()


TRAIN = ["train", "--data", "blobs:rows=600", "--model", "mlp:8", "--epochs", "1e6"]
HANGING = {  # a job, and what it says once it is under way
    "sums": (LONG, "round   10"),
    "payloads": ([*TRAIN, "--method", "sgd", "--compress", "topk:0.05", "--error-feedback"], "epoch   2"),
    "windows": ([*TRAIN, "--method", "async_sgd", "--set", "bound=2"], "epoch   2"),
}


@pytest.mark.parametrize("job", HANGING)
def test_a_job_that_hangs_is_ended(tmp_path, job):
    argv, sign = HANGING[job]
    process, victim = stopped(tmp_path, "--watchdog-abort", "2.5", job=argv, sign=sign)
    try:
        assert process.wait(PATIENCE) != 0
    finally:
        launcher.end(process)
    said = (tmp_path / "said").read_text()
    assert said.count("ending the job: a rank has waited") == 1
    line = next(line for line in said.splitlines() if "is silent" in line)
    assert f"(pid {victim.pid}) is silent" in line and re.search(r"waits in \w+.*under way, after round \d", line)


@pytest.mark.ranks(2)
def test_a_rank_that_stops_before_the_ranks_have_met_is_named(world, shared_tmp):
    said = Sayings(shared_tmp)
    if world.rank == 1:
        said.linger_in_the_kitchen("rank 0 waits in together")
    with Watchdog(world, shared_tmp / "w", 0.4, said):
        world.barrier()
    told = world.tell_all(said)
    assert any("waits in together" in line for line in told[0]) and not told[1], told


@pytest.mark.parametrize("option", ["--watchdog", "--watchdog-abort"])
def test_times_must_be_positive(launch, option):
    done = launch(2, ["-m", "mpiopt.jobs", *LONG, option, "0"], timeout=60)
    assert done.returncode == 2 and f"{option} 0: give a number of seconds above 0" in done.stderr


class Heard(Console):
    """A console that keeps what it is told of phases."""

    phases: list[str]

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        if name == "phase":
            vars(self).setdefault("phases", []).append(value)


@pytest.mark.ranks(2)
@pytest.mark.parametrize("command", ["solve", "train"])
def test_the_phase_is_that_of_the_moment(world, shared_tmp, command):
    console, files = Heard(first=False), {"out": shared_tmp / "r.h5", "checkpoint": shared_tmp / "c.h5"}
    if command == "solve":
        solve.run(Solve("rcv1:rows=300,cols=200,per_row=8", rounds=3, gap_tol=0.0, **files), world, console)
    else:
        train.run(Train(data="blobs:rows=100", model="softmax", epochs=1, record=1, **files), world, console)
    told = [text.partition(", after")[0].removesuffix(str(files["out"])).strip() for text in console.phases]
    assert [text for text, before in zip(told, ["", *told], strict=False) if text != before][-5:] == [
        "under way",
        f"writing {files['checkpoint']}",
        "under way",
        "examining the answer",
        "writing the run file",
    ]
