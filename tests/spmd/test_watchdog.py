"""The watchdog: it names the rank that keeps the others waiting, ends what hangs, and costs nothing when it is off."""

import fcntl
import re
import signal
import sys
import time

import numpy as np
import psutil
import pytest

from mpiopt.comm.watchdog import Watchdog
from mpiopt.errors import UsageError
from mpiopt.jobs import solve, train
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running.watchdog import guarded
from tests import launcher

LONG = ["solve", "rcv1:rows=300,cols=200,per_row=8", "--method", "gradient", "--gap-tol", "0", "--rounds", "10000000"]


def linger_in_the_kitchen(seconds: float) -> None:
    time.sleep(seconds)


@pytest.mark.ranks(2, 3)
@pytest.mark.parametrize("late", [0, 1])
def test_who_is_late_is_named_with_what_it_does(world, shared_tmp, late):
    said = []
    with Watchdog(world, shared_tmp / "w", 0.5, said.append, lambda: "stirring the pot"):
        world.barrier()
        if world.rank == late:
            linger_in_the_kitchen(3.0)
        world.sum([np.ones(5)])
        linger_in_the_kitchen(0.3)  # for the last word
    told = [line for rank in world.tell_all(said) for line in rank]
    assert len(told) >= 2 and told == world.tell_all(said)[1 if late == 0 else 0]
    assert "waits in sum for" in told[0] and f"rank {late} on host {world.host} (pid" in told[0]
    assert "has not come: stirring the pot" in told[0] and told[0].count("has not come") == 1
    assert "go on" in told[-1] and len([line for line in told if "waits in" in line]) <= 3
    assert not (shared_tmp / "w").exists() and world.watches == []


@pytest.mark.ranks(3)
def test_a_group_is_watched_too_and_work_is_no_reason_to_speak(world, shared_tmp):
    said = []
    with Watchdog(world, shared_tmp / "w", 0.3, said.append):
        part = world.split(world.rank // 2)
        linger_in_the_kitchen(1.0)  # all of them
        world.barrier()
        if world.rank == 1:
            linger_in_the_kitchen(2.0)
        part.total([np.ones(1)])
        part.barrier()
    told = [line for rank in world.tell_all(said) for line in rank]
    assert "waits in total of a group" in told[0] and all("rank 2" not in line for line in told)


@pytest.mark.ranks(2)
def test_hosts_that_do_not_share_the_folder_are_told(world, shared_tmp):
    with pytest.raises(UsageError, match="not the same one on every host"):
        Watchdog(world, shared_tmp / f"w{world.rank}", 1.0, print).__enter__()
    assert world.watches == []


@pytest.mark.ranks(2)
def test_many_calls_pass_unnoticed(world, shared_tmp):
    said = []
    with Watchdog(world, shared_tmp / "w", 0.2, said.append):
        end = time.monotonic() + 1.5
        while world.agree(np.array([time.monotonic() < end]))[0]:
            world.sum([np.ones(3)])
    assert said == []


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
    end = time.monotonic() + 60
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
HANGING = {  # a job, what it says once it is under way, and what the others may then wait in: its messages, or the record's
    "sums": (LONG, "round   10", "(gradient|mean|step|search|tallied|scalars|curvature)"),
    "payloads": (
        [*TRAIN, "--method", "sgd", "--compress", "topk:0.05", "--error-feedback"],
        "epoch   2",
        "(compressed|total|tallied)",
    ),
    "windows": ([*TRAIN, "--method", "async_sgd", "--set", "bound=2"], "epoch   2", "(clocks|centre|barrier|total|tallied)"),
}


@pytest.mark.parametrize("job", HANGING)
def test_a_job_that_hangs_is_ended(tmp_path, job):
    argv, sign, place = HANGING[job]
    process, victim = stopped(tmp_path, "--watchdog-abort", "1.5", job=argv, sign=sign)
    try:
        assert process.wait(40) != 0
    finally:
        launcher.end(process)
    said = (tmp_path / "said").read_text()
    assert said.count("ending the job: a rank has waited") == 1
    line = next(line for line in said.splitlines() if "is silent" in line)
    assert f"(pid {victim.pid}) is silent" in line and re.search(rf"waits in {place}\b.*under way, after round \d", line)


@pytest.mark.ranks(2)
def test_a_rank_that_stops_before_the_ranks_have_met_is_named(world, shared_tmp):
    said = []
    if world.rank == 1:
        linger_in_the_kitchen(2.0)
    with Watchdog(world, shared_tmp / "w", 0.4, said.append):
        world.barrier()
        linger_in_the_kitchen(0.3)
    told = world.tell_all(said)
    assert any("waits in together" in line for line in told[0]) and not told[1], told


@pytest.mark.ranks(3)
def test_every_collective_passes_the_gate(world):
    seen = []

    class Watch:
        def entered(self, name: str, who: str) -> None:
            seen.append(name + who)

        def left(self, who: str) -> None:
            seen.append("")

    world.watches.append(Watch())
    x = np.ones(3)
    calls = [
        lambda: world.sum([x]), lambda: world.total([x]), lambda: world.gather(x), lambda: list(world.each(x, most=1)),
        lambda: world.alltoall([x] * 3), lambda: world.bcast(x), lambda: world.tell(1), lambda: world.tell_all(1),
        lambda: world.extremes(x), lambda: world.best([1.0]), lambda: world.split(0).free(), lambda: world.by_node().free(),
        lambda: world.group(1).barrier(), lambda: world.window("w", 3, np.dtype(float)).get(), lambda: world.agree(x),
        lambda: world.swap(x, [(world.rank + 1) % 3, (world.rank - 1) % 3]), lambda: world.tallied(0.0), world.barrier,
        world.rest, lambda: world.in_order(int), lambda: world.waiting("w").__enter__(),
    ]  # fmt: skip
    for call in calls:
        before = len(seen)
        call()
        assert len(seen) > before
    before = len(seen)
    with world.together("counting"):
        pass
    assert seen[before:] == ["together", ""] and seen.count("barrier of a group") == 1 and "w get of a window" in seen


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
        "under way", f"writing {files['checkpoint']}", "under way", "examining the answer", "writing the run file",
    ]  # fmt: skip
