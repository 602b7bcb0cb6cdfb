"""The harness must fail, and go on, when ranks do: a pytest run of its own over tests that go wrong."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests import launcher, second

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
from tests.conftest import *
from tests import pool
pool.GRACE = 2.0
"""
GOES_WRONG = """
import os
import pytest
from hypothesis import given, strategies as st

two = pytest.mark.ranks(2)

@two
def test_good_before(world): pass

@two
def test_one_rank_asserts(world):
    assert world.rank == 0, "rank one says no"

@two
def test_one_rank_raises_and_the_other_waits(world):
    if world.rank == 1:
        raise ValueError("alone")
    world.barrier()

@pytest.mark.ranks(2, limit=1.0)
def test_one_rank_never_comes(world):
    if world.rank == 0:
        world.barrier()

@two
def test_one_rank_ends_everything(world):
    if world.rank == 1:
        world.abort(3)
    world.barrier()

@two
@given(st.integers(0, 50))
def test_one_rank_fails_an_example(world, k):
    world.barrier()
    assert world.rank == 0 or k < 10

@two
@pytest.mark.parametrize("when", [os.getpid()])
def test_another_name_in_every_process(world, when): pass

@two
def test_skipped(world):
    pytest.skip("because")

@two
@given(st.lists(st.integers()))
def test_good_after(world, drawn):
    assert set(world.tell_all(repr(drawn))) == {repr(drawn)}

@pytest.mark.study
def test_long(): assert False
"""


def inner_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """A pytest run with this harness over the test file above."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_wrong.py").write_text(GOES_WRONG)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-c",
        str(ROOT / "pyproject.toml"),
        "--rootdir",
        str(folder),
        "-v",
        "--color=no",
        "-p",
        "no:cacheprovider",
        f"--basetemp={folder / 'tmp'}",
        *arguments,
        str(folder / "test_wrong.py"),
    ]
    env = launcher.environment({"COLUMNS": "200"})
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def left_over(folder: Path) -> list[str]:
    """Processes that still name the folder on their command line."""
    found = [p for p in psutil.process_iter(["cmdline", "status"]) if p.pid != os.getpid()]
    return [" ".join(p.info["cmdline"]) for p in found if str(folder) in " ".join(p.info["cmdline"] or [])]


@pytest.mark.skipif(not launcher.mpiexec(), reason="no mpiexec beside this Python or on PATH")
def test_every_way_to_go_wrong_is_reported_and_the_rest_runs(tmp_path):
    done = inner_pytest(tmp_path)
    out = done.stdout
    assert done.returncode == 1 and "6 failed, 2 passed, 1 skipped, 1 deselected" in out, out + done.stderr
    for name in ("good_before", "good_after"):
        assert f"test_{name}[2] PASSED" in out
    summary = out.partition("short test summary")[2]
    assert "test_one_rank_asserts[2] - [rank 1] AssertionError: rank one says no" in summary
    assert "test_one_rank_raises_and_the_other_waits[2] - killed: the other ranks did not come back" in summary
    assert "test_one_rank_never_comes[2] - hung: no rank has made progress for 1 s" in summary
    assert "test_one_rank_ends_everything[2] - mpiexec -n 2 ended with status" in summary
    assert "test_one_rank_fails_an_example[2] - [rank 1] " in summary
    assert "the ranks did not collect this test" in summary
    assert 'raise ValueError("alone")' in out and "rank 0 stands in:" in out and "in barrier" in out
    assert left_over(tmp_path) == []


@pytest.mark.skipif(not launcher.mpiexec(), reason="no mpiexec beside this Python or on PATH")
def test_selection_and_an_early_stop(tmp_path):
    done = inner_pytest(tmp_path, "-x", "-k", "asserts or after")
    assert "1 failed, 8 deselected" in done.stdout, done.stdout
    assert left_over(tmp_path) == []


def test_without_mpiexec_many_ranks_are_skipped_and_one_runs_here(tmp_path, monkeypatch):
    monkeypatch.setattr(
        sys.modules[__name__],
        "GOES_WRONG",
        """
import pytest
@pytest.mark.ranks(1, 2)
def test_it(world): assert world.size == 1
""",
    )
    monkeypatch.setattr(sys.modules[__name__], "CONFTEST", CONFTEST + "from tests import launcher\nlauncher.mpiexec = tuple\n")
    done = inner_pytest(tmp_path)
    assert "1 passed, 1 skipped" in done.stdout and "no mpiexec" in done.stdout, done.stdout


@pytest.mark.skipif(not launcher.mpiexec(), reason="no mpiexec beside this Python or on PATH")
def test_items_of_one_rank_run_beside_the_ordinary_ones_and_then_those_of_two(tmp_path, monkeypatch):
    long = "import tests.conftest\ntests.conftest.WORTH_IT = 1\n"  # two ranks begin early in a long run alone
    monkeypatch.setattr(sys.modules[__name__], "CONFTEST", CONFTEST + long)
    monkeypatch.setattr(
        sys.modules[__name__],
        "GOES_WRONG",
        """
import time
from pathlib import Path
import pytest
HERE, LAST = Path(__file__).parent, 999

@pytest.mark.ranks(1, 2)
def test_ranks(world): (HERE / f"been {world.size}").touch()

@pytest.mark.parametrize("k", range(LAST + 1))
def test_ordinary(k):
    end = time.monotonic() + 100
    while not (HERE / "been 1").exists() and time.monotonic() < end:
        time.sleep(0.01)
    if not (HERE / "been 2").exists():
        time.sleep(0.05)  # from item to item, where the outer run looks after the others
        assert k < LAST
""",
    )
    assert "1002 passed" in inner_pytest(tmp_path).stdout
    assert left_over(tmp_path) == []


def test_a_launched_program_is_heard(launch):
    code = "import sys\nfrom mpi4py import MPI\nsys.stdout.write(f'{MPI.COMM_WORLD.size}\\n')\nsys.stderr.write('e\\n')"
    done = launch(2, code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2\n2\n", "e\ne\n")
    assert launch(None, ["-c", "raise SystemExit(7)"]).returncode == 7


def test_a_launched_program_that_hangs_is_ended(launch, tmp_path):
    with pytest.raises(AssertionError, match="not over after 2 s"):
        launch(2, "import time\nfrom mpi4py import MPI\ntime.sleep(60)", timeout=2)
    assert left_over(tmp_path) == []


def test_a_second_process_takes_its_share_of_files(tmp_path, monkeypatch):
    """Both run some, none runs twice, and one in which the second process ends has failed while the rest still runs."""
    monkeypatch.setattr(
        sys.modules[__name__],
        "GOES_WRONG",
        """
import os
import signal
from pathlib import Path
from time import sleep
import pytest
from hypothesis import settings
HERE, NAME = Path(__file__).parent, Path(__file__).stem

@pytest.mark.parametrize("k", range(3))
def test_it(k):
    with (HERE / "ran").open("a") as told:
        told.write(f"{NAME}[{k}] {os.getpid()}\\n")
    while len({line.split()[1] for line in (HERE / "ran").read_text().splitlines()}) < 2:
        sleep(0.01)
    assert settings.default.max_examples == 7  # of the profile that was asked for
    assert "MPIOPT_TEST_JOB" not in os.environ  # what a test starts is no inner run
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # as jobs have it, and no later test
    assert signal.alarm(60) == 0
    assert k != 1, "one is wrong"
    if NAME == "test_wrong" and k == 2:
        os._exit(7)
""",
    )
    for k in range(second.WORTH_IT):
        (tmp_path / f"test_{k:02d}.py").write_text(GOES_WRONG)
    monkeypatch.setattr(sys.modules[__name__], "CONFTEST", CONFTEST + "settings.register_profile('seven', max_examples=7)\n")
    done = inner_pytest(
        tmp_path, "--hypothesis-profile=seven", *(str(tmp_path / f"test_{k:02d}.py") for k in range(second.WORTH_IT))
    )
    files = second.WORTH_IT + 1
    assert f"{files + 1} failed, {2 * files - 1} passed" in done.stdout, done.stdout
    assert "the second process ended with status 7 in this test" in done.stdout
    lines = (tmp_path / "ran").read_text().splitlines()
    assert len({line.split()[0] for line in lines}) == len(lines) == 3 * files
    assert left_over(tmp_path) == []
