"""Faults by causing them: full disks, jobs that race for one file, refused locks. Nothing that was good is lost."""

import ctypes
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mpiopt.io.runs.generations import newest
from mpiopt.io.runs.run_file import RunFile, read_run, read_solution
from tests import launcher

JOBS = ["-m", "mpiopt.jobs"]
SOLVE = ["solve", "rcv1:rows=300,cols=3000,per_row=8", "--method", "gradient", "--gap-tol", "0"]
LIMITED = """
import resource, sys
from mpiopt.jobs.launch import main
assert main([*{solve}, "--rounds", "1"]) == 0  # what numba compiles it also writes
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
sys.exit(main(sys.argv[1:]))
"""


def sentences(done) -> list[str]:
    return [line.strip() for line in done.stderr.splitlines() if line.strip().startswith("mpiopt: ")]


def limited(launch, tmp_path: Path, room: int, *argv: str):
    (tmp_path / "limited.py").write_text(LIMITED.format(room=room, solve=SOLVE))
    return launch(2, [str(tmp_path / "limited.py"), *SOLVE, *argv], timeout=100, cwd=tmp_path)


def good(path: Path) -> np.ndarray:
    """The rounds of a readable run file, without a gap."""
    rounds = read_run(path).history["round"]
    np.testing.assert_array_equal(rounds, np.arange(len(rounds)))
    return rounds


def test_a_run_file_that_finds_no_room_keeps_what_it_has(launch, tmp_path):
    done = limited(launch, tmp_path, 70_000, "--out", "r.h5", "--rounds", "700")
    assert done.returncode == 1 and len(sentences(done)) == 1 and "Traceback" not in done.stderr, done.stderr
    assert "cannot be added to the run file r.h5: file too large" in sentences(done)[0]
    assert len(good(tmp_path / "r.h5")) > 1 and read_run(tmp_path / "r.h5").attributes["reason"] == "RUNNING"


def test_a_solution_that_finds_no_room_leaves_the_history(launch, tmp_path):
    done = limited(launch, tmp_path, 70_000, "--out", "r.h5", "--rounds", "20")
    assert done.returncode == 1 and len(sentences(done)) == 1 and "Traceback" not in done.stderr, done.stderr
    assert "the solution cannot be added to the run file r.h5: file too large" in sentences(done)[0]
    assert len(good(tmp_path / "r.h5")) == 21


def test_checkpoints_that_find_no_room_do_not_end_the_run(launch, tmp_path):
    keep = ["--checkpoint", "c.h5", "--every-rounds", "5", "--out", "none"]
    assert launch(2, [*JOBS, *SOLVE, *keep, "--rounds", "10"], timeout=100, cwd=tmp_path).returncode == 0
    before = (tmp_path / "c.h5").read_bytes(), (tmp_path / "c.h5.1").read_bytes()
    done = limited(launch, tmp_path, 30_000, *keep, "--rounds", "20")
    assert done.returncode == 0 and "cannot be written: file too large; going on without" in done.stderr
    assert ((tmp_path / "c.h5").read_bytes(), (tmp_path / "c.h5.1").read_bytes()) == before
    assert sorted(path.name for path in tmp_path.glob("c.h5*")) == ["c.h5", "c.h5.1"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 160 kB that is really full when it is full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", folder], capture_output=True).returncode == 0
    if not mounted:
        pytest.skip("mounting a small file system takes root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_full_disk_costs_nothing_that_was_there(launch, small_disk):
    keep = ["--checkpoint", "c.h5", "--every-rounds", "50", "--out", "r.h5"]
    (small_disk / "ballast").write_bytes(bytes(60_000))
    done = launch(2, [*JOBS, *SOLVE, *keep, "--rounds", "600"], timeout=100, cwd=small_disk)
    assert "Traceback" not in done.stderr and "no space left on device" in done.stderr, done.stderr
    kept = newest((small_disk / "c.h5", small_disk / "c.h5.1"))
    rounds = good(small_disk / "r.h5")
    (small_disk / "ballast").unlink()
    again = launch(2, [*JOBS, *SOLVE, *keep, "--rounds", "20"], timeout=100, cwd=small_disk)
    assert again.returncode == 0, again.stderr
    assert kept is None or len(read_solution(small_disk / "r.h5")[0]) == 3000
    assert len(rounds) > 1 and len(good(small_disk / "r.h5")) > 20


def test_two_jobs_that_race_for_one_run_file_leave_one_whole_one(tmp_path):
    if not launcher.mpiexec():
        pytest.skip("no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")
    argv = launcher.command(2, [sys.executable, *JOBS, *SOLVE, "--rounds", "30", "--out", "new/folder/r.h5"])
    jobs = [launcher.start(argv, cwd=tmp_path, env=launcher.environment(), out=tmp_path / f"said-{k}") for k in range(2)]
    try:
        codes = [job.wait(100) for job in jobs]
    finally:
        for job in jobs:
            launcher.end(job)
    said = [(tmp_path / f"said-{k}").read_text() for k in range(2)]
    assert 0 in codes and "Traceback" not in "".join(said), said
    for code, text in zip(codes, said, strict=True):
        assert code == 0 or "exists: name another file with --out" in text or "written by another job" in text
    assert len(good(tmp_path / "new/folder/r.h5")) == 31
    assert [path.name for path in (tmp_path / "new/folder").iterdir()] == ["r.h5"]


NO_LOCKS = "#include <errno.h>\nint flock(int file, int how) { errno = ENOLCK; return -1; }\n"


def test_a_file_system_without_locks_is_no_obstacle(launch, tmp_path):
    """As NFS without its lock daemon has it: every flock fails."""
    (tmp_path / "no.c").write_text(NO_LOCKS)
    built = subprocess.run(["cc", "-shared", "-fPIC", "-o", "no.so", "no.c"], cwd=tmp_path, capture_output=True, check=False)
    if built.returncode != 0:
        pytest.skip("no C compiler to refuse locks with")
    env = {"LD_PRELOAD": str(tmp_path / "no.so")}
    done = launch(
        2, [*JOBS, *SOLVE, "--rounds", "5", "--out", "r.h5", "--checkpoint", "c.h5"], timeout=100, cwd=tmp_path, env=env
    )
    assert done.returncode == 0 and done.stderr.count(f"there are no file locks in {tmp_path}: see to it") == 1, done.stderr
    assert len(good(tmp_path / "r.h5")) == 6
    seen = launch(None, [*JOBS, "doctor", "--folder", str(tmp_path)], timeout=60, env=env)
    assert "HDF5 cannot lock files there" in seen.stdout


def test_another_program_s_lock_does_not_keep_a_run_from_being_read(tmp_path):
    with RunFile(tmp_path / "r.h5", {}) as file:
        file.add({"round": 0})
    with (tmp_path / "r.h5").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert read_run(tmp_path / "r.h5").history["round"].tolist() == [0]


def test_the_refusing_library_refuses(tmp_path):
    """So that the test above cannot pass because nothing was refused."""
    (tmp_path / "no.c").write_text(NO_LOCKS)
    if subprocess.run(["cc", "-shared", "-fPIC", "-o", "no.so", "no.c"], cwd=tmp_path, check=False).returncode != 0:
        pytest.skip("no C compiler to refuse locks with")
    library = ctypes.CDLL(str(tmp_path / "no.so"))
    assert library.flock(os.open(tmp_path, os.O_RDONLY), fcntl.LOCK_SH) == -1
