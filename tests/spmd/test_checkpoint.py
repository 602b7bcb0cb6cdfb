"""A solve that stops and goes on ends as one that never stopped, bit for bit, whatever the method."""

import errno
import random
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import islice
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import psutil
import pytest

from mpiopt.comm.world import World
from mpiopt.engine.drive import Solution, Standing, rounds, solve
from mpiopt.engine.method import Method
from mpiopt.engine.stop import Record, Stop
from mpiopt.errors import DataError
from mpiopt.io.runs import worker_bytes
from mpiopt.io.runs.checkpoint import Store
from mpiopt.io.runs.checkpoint_file import Draft
from mpiopt.io.runs.generations import newest
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.io.runs.state_tree import flatten
from mpiopt.methods import catalogue
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team
from tests import launcher
from tests.problem_sets import Data

SIZES = pytest.mark.ranks(1, 2, 3)
AT, END = 4, 9  # the round after which it stops, and the last
FORMS = ("counts", "mean", "hessian")  # of spcg, on a problem for which it takes another by itself
METHODS = [*catalogue(), *(f"spcg {form}" for form in FORMS)]


def team_of(world, name: str) -> Team:
    kinked = name in catalogue() and not catalogue()[name].smooth_only
    weighted = name != "sgd_as"  # whose laws know no weights
    return Data(rows=90, features=14, seed=3, weighted=weighted).team(world, ElasticNet(5e-3 if kinked else 0.0, 1e-2))


def method_of(name: str) -> Method:
    method, _, form = name.partition(" ")
    return catalogue()[method].make(**({"form": form} if form else {}))


def straight(name: str, world) -> Solution:
    team = team_of(world, name)
    return solve(method_of(name), team, np.zeros(team.dim), Stop(rounds=END))


def stopped(name: str, world, path) -> None:
    """Keep a checkpoint of round AT and end."""
    team, store = team_of(world, name), Store(path, world, "run")
    found = solve(method_of(name), team, np.zeros(team.dim), Stop(rounds=AT), (), [lambda at, _: store.save(at, {}, team)])
    assert found.final.round == AT


def went_on(name: str, world, path) -> Solution:
    team, store = team_of(world, name), Store(path, world, "")
    return solve(method_of(name), team, store.load(store.find(), team), Stop(rounds=END))


def same(found: Solution, expected: Solution, exact_bytes: bool = True) -> None:
    np.testing.assert_array_equal(found.x, expected.x)
    assert found.reason == expected.reason and found.certificate == expected.certificate
    ours = [flatten(solution.run) for solution in (found, expected)]
    assert ours[0].tree == ours[1].tree and ours[0].parts == ours[1].parts
    for a, b in zip([ours[0].arrays, *ours[0].own], [ours[1].arrays, *ours[1].own], strict=True):
        assert list(a) == list(b)
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], name)
    for a, b in zip(found.history, expected.history, strict=True):
        assert a._replace(seconds=0, bytes_sent=0) == b._replace(seconds=0, bytes_sent=0)
        assert a.bytes_sent == b.bytes_sent or not exact_bytes
    seconds = [record.seconds for record in found.history]
    assert seconds == sorted(seconds)


@pytest.mark.ranks(2)  # on three below, where one goes on by itself too
@pytest.mark.parametrize("name", METHODS)
def test_it_goes_on_bit_for_bit(worlds, shared_tmp, name):
    stopped(name, worlds(), shared_tmp / "c.h5")
    same(went_on(name, worlds(), shared_tmp / "c.h5"), straight(name, worlds()))


@pytest.mark.ranks(3)
@pytest.mark.parametrize("name", METHODS[::3])
def test_any_number_of_ranks_takes_over_seven_workers(comm, shared_tmp, name):
    """Two ranks with 3 and 4 of them stop, three with 2, 2 and 3 go on, and one with all."""
    fixed = {"workers": 7, "deterministic": True}
    two, one = comm.Split(int(comm.rank >= 2)), comm.Split(comm.rank)
    if comm.rank < 2:
        stopped(name, World(two, **fixed), shared_tmp / "c.h5")
    comm.Barrier()
    expected = straight(name, World(comm, **fixed))
    same(went_on(name, World(comm, **fixed), shared_tmp / "c.h5"), expected, exact_bytes=False)
    if comm.rank == 0:
        found = went_on(name, World(one, **fixed), shared_tmp / "c.h5")
        alone = straight(name, World(one, **fixed))
        same(found, alone, exact_bytes=False)
        np.testing.assert_array_equal(found.x, expected.x)
        assert (found.run.points[0].x is found.run.points[6].x) == (alone.run.points[0].x is alone.run.points[6].x)


@SIZES
def test_what_cannot_be_written_or_shared_out_raises_on_every_rank(worlds, shared_tmp, monkeypatch):
    world = worlds(workers=5)
    team, store = team_of(world, "spcg"), Store(shared_tmp / "c.h5", world, "run")
    monkeypatch.setattr(worker_bytes.loads, "__defaults__", (1000,))  # many loads
    run = next(islice(rounds(method_of("spcg"), team, np.zeros(team.dim)), 3, None))
    at = Standing(run, (Record(3, 0.0, 1.0, 1.0, 1.0, 0, 0, 0),), (True,))
    store.save(at, {}, team)
    good = (shared_tmp / "c.h5").read_bytes()
    world.barrier()
    monkeypatch.setattr(Draft, "put", full)
    with pytest.raises(DataError, match="cannot be written: no space left on device"):
        store.save(at, {}, team)
    assert (shared_tmp / "c.h5").read_bytes() == good
    assert flatten(store.load(store.find(), team).run).parts == flatten(run).parts
    other = Data(rows=91, features=14).team(world, ElasticNet(0.0, 1e-2))
    with pytest.raises(DataError, match="shared out otherwise"):
        store.load(store.find(), other)


def full(*_) -> None:
    raise OSError(errno.ENOSPC, "full")


# ------------------------------------------------------------------------------------------ jobs
JOB = [
    "solve",
    "rcv1:rows=300,cols=200,per_row=8",
    "--method",
    "gradient",
    "--gap-tol",
    "0",
    "--out",
    "r.h5",
    "--rounds",
    "40",
]
KEPT = [*JOB, "--checkpoint", "c.h5", "--every-rounds", "1"]
PATIENCE = 200.0  # seconds for what takes two where nobody else is at work
WAITING = """
import os, sys, time
from pathlib import Path
from mpi4py import MPI
from mpiopt.jobs.launch import main
from mpiopt.jobs.running.signals import Signals

word, rounds = Signals.__call__, iter(range(sys.maxsize))

def late(self):
    if next(rounds) == 5 and MPI.COMM_WORLD.rank == MPI.COMM_WORLD.size - 1:
        Path("pid.new").write_text(str(os.getpid()))
        os.rename("pid.new", "pid")
        while not word(self):
            time.sleep(0.01)
    return word(self)

Signals.__call__ = late
sys.exit(main(sys.argv[1:]))
"""


def begin(folder: Path, size: int, argv=KEPT, program=("-m", "mpiopt.jobs")):
    env = launcher.environment()
    whole = launcher.command(size, [sys.executable, *program, *argv])
    return launcher.start(whole, cwd=folder, env=env, out=folder / "said")


def waiting(folder: Path, size: int, argv=KEPT) -> tuple[subprocess.Popen, psutil.Process]:
    """A job whose last rank waits in its sixth round for a signal, and that rank."""
    (folder / "waiting.py").write_text(WAITING)
    process, end = begin(folder, size, argv, [str(folder / "waiting.py")]), monotonic() + PATIENCE
    while not (folder / "pid").exists():
        if monotonic() > end or process.poll() is not None:
            launcher.end(process)
            pytest.fail((folder / "said").read_text())
        sleep(0.02)
    return process, psutil.Process(int((folder / "pid").read_text()))


def finished(process) -> int:
    """The exit code of a job that is left alone, or told to end."""
    try:
        return process.wait(PATIENCE)
    finally:
        launcher.end(process)


def ranks_of(process) -> list[psutil.Process]:
    """The ranks, in no order."""
    found = psutil.Process(process.pid).children(recursive=True)
    return [child for child in found if "mpiopt.jobs" in child.cmdline() and not child.cmdline()[0].endswith("mpiexec")]


def under_way(process, folder: Path) -> None:
    """Wait until a checkpoint has been written by this process."""
    end = monotonic() + PATIENCE
    while "round" not in (folder / "said").read_text() or not (folder / "c.h5").exists():
        assert monotonic() < end and process.poll() is None, (folder / "said").read_text()
        sleep(0.02)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What the job finds on so many ranks."""
    if not launcher.mpiexec():
        pytest.skip("no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")
    found = {}

    def of(size: int) -> tuple:
        if size not in found:
            folder = tmp_path_factory.mktemp("straight")
            assert finished(begin(folder, size, JOB)) == 0
            found[size] = ended(folder)
        return found[size]

    return of


def ended(folder: Path) -> tuple:
    run = read_run(folder / "r.h5")
    return run.attributes["reason"], *read_solution(folder / "r.h5"), {k: v for k, v in run.history.items() if k != "seconds"}


def equal(found: tuple, expected: tuple) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_equal(a, b)


@pytest.mark.parametrize("size, signals", [(2, ["TERM"]), pytest.param(3, ["INT"], marks=pytest.mark.study)])
def test_one_rank_s_signal_stops_all_and_the_same_command_goes_on(tmp_path, uninterrupted, size, signals):
    process, last = waiting(tmp_path, size)
    if signals == ["INT"]:
        process.send_signal(signal.SIGINT)
    else:
        last.send_signal(signal.SIGTERM)
    code = finished(process)
    said = (tmp_path / "said").read_text()
    assert code == 75 and said.count("kept in c.h5: the same command goes on from there") == 1, said
    assert read_run(tmp_path / "r.h5").attributes["reason"] == "INTERRUPTED" and f"SIG{signals[0]}" in said
    assert len(read_run(tmp_path / "r.h5").history["round"]) < len(uninterrupted(size)[-1]["round"])
    assert finished(begin(tmp_path, size)) == 0
    equal(ended(tmp_path), uninterrupted(size))
    assert f"SIG{signals[0]}" not in (tmp_path / "said").read_text()


def test_without_a_checkpoint_a_signal_ends_the_run_with_what_it_has(tmp_path):
    if not launcher.mpiexec():
        pytest.skip("no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")
    process, last = waiting(tmp_path, 2, JOB)
    last.send_signal(signal.SIGUSR1)
    assert finished(process) == 130
    assert "(SIGUSR1)" in (tmp_path / "said").read_text() and ended(tmp_path)[0] == "INTERRUPTED"


def killed_and_resumed(folder: Path, size: int, kills: int, expected: tuple, draws: random.Random) -> None:
    """Kill one rank or all of them at a random moment, again and again; then let it end."""
    for _ in range(kills):
        process = begin(folder, size)
        try:
            under_way(process, folder)
            sleep(draws.uniform(0, 0.3))
            ranks = ranks_of(process)
            for rank in ranks if draws.random() < 0.5 else ranks[:1]:
                with suppress(psutil.NoSuchProcess):
                    rank.kill()
            process.wait(PATIENCE)
        finally:
            launcher.end(process)
        assert newest((folder / "c.h5", folder / "c.h5.1")) is not None
        assert read_run(folder / "r.h5").attributes["reason"] in ("RUNNING", expected[0])
    assert finished(begin(folder, size)) == 0, (folder / "said").read_text()
    equal(ended(folder), expected)


@pytest.mark.study  # the three kills of tests/study/test_chaos.py are its short form
def test_a_killed_job_goes_on_as_if_nothing_had_happened(tmp_path, uninterrupted):
    killed_and_resumed(tmp_path, 2, 2, uninterrupted(2), random.Random(1))


@pytest.mark.study
@pytest.mark.parametrize("seed", range(6))
def test_a_job_killed_many_times(tmp_path, uninterrupted, seed):
    killed_and_resumed(tmp_path, 2 + seed % 2, 6, uninterrupted(2 + seed % 2), random.Random(seed))
