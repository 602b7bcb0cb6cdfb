"""Kernels are compiled and kept where they can be; a cache that fails costs time and nothing else."""

import resource
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.launch import _finish
from mpiopt.kernels import compiling, turns
from tests import launcher

SOURCE = """
from mpiopt.kernels.compiling import njit


@njit(cache=True)
def doubled(x):
    return 2 * x
"""


PARTS = """
from mpiopt.kernels.compiling import njit


@njit(cache=True, part=True)
def half(x):
    return 2 * x


@njit(cache=True)
def whole(x):
    return half(x) + 1
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    """The kernel of a file, as another process finds it."""
    monkeypatch.setattr(compiling, "_unkept", [])
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    file = tmp_path / "kernel.py"
    file.write_text(SOURCE)
    return lambda: runpy.run_path(str(file))["doubled"]


def hits(kernel) -> int:
    """How often machine code was found ready."""
    return sum(kernel.stats.cache_hits.values())


def test_what_was_compiled_is_found_again(load):
    assert load()(2) == 4
    again = load()
    assert again(3) == 6 and hits(again) == 1 and not compiling.unkept()


def test_a_full_disk_costs_time_alone_and_is_told_once(load, capfd):
    kernel, (soft, hard) = load(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        assert kernel(2) == 4 and kernel(2.5) == 5
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    for first in (True, False):
        _finish({}, Console(first=first))
    said = capfd.readouterr().err
    assert said.count("could not be kept") == 1 and "kernel.py" not in said and "File too large" in said
    assert load()(2) == 4


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 30])
def test_a_file_that_was_cut_short_is_no_code(load, tmp_path, kind, left):
    load()(2)
    (file,) = tmp_path.rglob(f"*.{kind}")
    file.write_bytes(file.read_bytes()[:left])
    again = load()
    assert again(3) == 6 and hits(again) == 0


def test_code_of_other_types_under_its_name_is_not_run(load, tmp_path):
    kernel = load()
    assert kernel(2) == 4 and kernel(np.float32(0.5)) == 1
    one, two = sorted(tmp_path.rglob("*.nbc"))
    shutil.copy(two, one)
    again = load()
    assert again(2) == 4 and again(np.float32(0.25)) == 0.5 and hits(again) == 1


def test_what_is_in_no_file_is_compiled_all_the_same(load):
    space: dict = {"__name__": "typed"}
    exec(SOURCE, space)
    assert space["doubled"](2) == 4 and "can be written" in compiling.unkept()


# all are there before any of them compiles, which takes longer than a look at the disk
TOGETHER = """
import sys
from pathlib import Path
from time import sleep
from kernel import doubled

Path(sys.argv[1]).touch()
while len(list(Path().glob("here*"))) < 3:
    sleep(0.001)
kinds = int, float
for kind in kinds if sys.argv[1] == "here0" else reversed(kinds):
    assert doubled(kind(2)) == 4
print(sum(doubled.stats.cache_misses.values()), sum(doubled.stats.cache_hits.values()))
"""


def test_what_several_processes_want_is_made_once(load, tmp_path):
    argv = [sys.executable, "-c", TOGETHER]
    env = launcher.environment()
    jobs = [subprocess.Popen([*argv, f"here{k}"], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) for k in range(3)]
    said = [job.communicate(timeout=100)[0].split() for job in jobs]
    assert sum(int(misses) for misses, _ in said) == 2 and sum(int(found) for _, found in said) == 4, said


HOLDER = """
import sys
from mpiopt.kernels import turns
print(turns.take(sys.argv[1]), flush=True)
sys.stdin.read()
"""


def test_a_turn_is_not_waited_for_for_ever(load, monkeypatch):
    kernel = load()
    argv = [sys.executable, "-c", HOLDER, kernel._cache._turn]
    other = subprocess.Popen(argv, env=launcher.environment(), stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    try:
        assert other.stdout.readline() == "True\n"
        monkeypatch.setattr(turns, "PATIENCE", 0.05)
        assert not turns.take(kernel._cache._turn) and kernel(2) == 4
    finally:
        other.communicate()
    assert turns.take(kernel._cache._turn)
    turns.give_back(kernel._cache._turn)


def test_what_is_busy_elsewhere_is_left_for_later(load):
    first, second = load(), load()
    second._cache._impl._filename_base += "-2"  # a turn of its own
    argv = [sys.executable, "-c", HOLDER, first._cache._turn]
    other = subprocess.Popen(argv, env=launcher.environment(), stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
    done = []

    def call(name, kernel):
        assert kernel(2) == 4
        done.append(name)
        if name == "second":
            other.communicate()

    try:
        assert other.stdout.readline() == "True\n"
        compiling.side_by_side([lambda: call("first", first), lambda: call("second", second)])
    finally:
        other.communicate()
    assert done == ["second", "first"]


def test_what_fails_side_by_side_fails(load):
    kernel = load()
    with pytest.raises(compiling.numba.TypingError):
        compiling.side_by_side([lambda: kernel({})])
    assert kernel(2) == 4


def test_a_part_of_kernels_is_for_kernels_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    file = tmp_path / "parts.py"
    file.write_text(PARTS)
    for _ in range(2):  # compiled, and found
        found = runpy.run_path(str(file))
        assert found["whole"](2) == 5
        with pytest.raises(TypeError, match="part of kernels"):
            found["half"](2)
    assert hits(found["whole"]) == 1
