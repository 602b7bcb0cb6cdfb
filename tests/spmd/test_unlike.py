"""Ranks that differ in their CPU, in a bit of memory or in what they were asked for: the same decisions, or one sentence.

OPENBLAS_CORETYPE and NUMBA_CPU_NAME make one rank of a launch compute as an older CPU would, with other last bits.
"""

import platform
import sys
from pathlib import Path

import pytest

from mpiopt.errors import UnlikeError
from tests import launcher

PROGRAM = [sys.executable, str(Path(launcher.ROOT) / "tests" / "unlike.py")]
FLAGS = {"avx2", "fma", "bmi2"}  # of x86-64-v3, which runs both core types
CORES = {"OPENBLAS_CORETYPE": "Haswell"}, {"OPENBLAS_CORETYPE": "Nehalem"}
FEW = "spcg,prox_newton,tron,fista,lbfgs,spag,diana,sgd,sgd scaled_sign back,slowmo,lsgd,dpf"  # in every run


def run(folder: Path, argv: list[str], *differing: dict[str, str], timeout: float = 240.0) -> tuple[int, str]:
    """A job of one rank for each environment; its exit code and all it says."""
    if not launcher.mpiexec():
        pytest.skip("no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")
    blocks = [["-n", "1", "env", *(f"{name}={value}" for name, value in env.items()), *argv] for env in differing]
    whole = [part for block in blocks for part in (":", *block)][1:]
    process = launcher.start(
        [*launcher.mpiexec(), *whole], cwd=folder, env=launcher.environment({"PYTHONHASHSEED": "0"}), out=folder / "said"
    )
    try:
        code = process.wait(timeout)
    finally:
        launcher.end(process)
    return code, (folder / "said").read_text()


def told(folder: Path, names: str, differing, timeout: float) -> tuple[dict[str, str], dict[str, str]]:
    """What `tests.unlike` says of each method: without a fault, and with a flipped bit."""
    if platform.machine() != "x86_64" or not FLAGS <= set(Path("/proc/cpuinfo").read_text().split()):
        pytest.skip("this CPU is not x86-64-v3, so that it cannot compute as the two that are to differ")
    code, said = run(folder, [*PROGRAM, names], *differing, timeout=timeout)
    assert code == 0, said
    lines = [line.split(" ", 2) for line in said.splitlines() if " alike " in line or " UNLIKE " in line]
    assert lines and all(found.startswith("alike ") for *_, found in lines), lines
    sound, flipped = ({name: found for kind, name, found in lines if kind == fault} for fault in ("none", "flip"))
    assert sound.keys() == flipped.keys()
    return sound, flipped


def check(folder: Path, names: str, differing=CORES, timeout: float = 240.0) -> None:
    """Ranks that compute unlike last bits agree to the last bit; a flipped bit is told within PARTS rounds, or is healed."""
    sound, flipped = told(folder, names, differing, timeout)
    assert not any("Error" in line for line in sound.values()), sound
    noticed = 0
    for name, line in flipped.items():
        noticed += "UnlikeError: rank 1 has other numbers than rank 0 in " in line
        assert "UnlikeError" in line or line == sound[name] or "async" in name or name == "downpour", line
    assert noticed >= len(sound) / 2


def test_ranks_on_unlike_cpus_agree_and_a_flipped_bit_is_noticed(tmp_path):
    check(tmp_path, FEW)


@pytest.mark.study
@pytest.mark.parametrize("env", [CORES[1], {"NUMBA_CPU_NAME": "nehalem"}], ids=["blas", "numba"])
@pytest.mark.parametrize("kind", ["solve", "train"])
def test_every_method_bears_ranks_on_unlike_cpus(tmp_path, kind, env):
    check(tmp_path, kind, ({"OPENBLAS_CORETYPE": "Haswell"}, env), timeout=1800)


MPIOPT = [sys.executable, "-m", "mpiopt.jobs"]
BLOBS = ["train", "--data", "blobs:rows=100", "--model", "softmax", "--epochs", "1"]


def sentences(said: str) -> list[str]:
    return [line for line in said.splitlines() if line.startswith("mpiopt: ")]


def apart(folder: Path, *commands: list[str]) -> tuple[int, str]:
    """A job in which every rank has a command of its own."""
    argv = [part for command in commands for part in (":", "-n", "1", *command)][1:]
    process = launcher.start([*launcher.mpiexec(), *argv], cwd=folder, env=launcher.environment(), out=folder / "said")
    try:
        code = process.wait(200)
    finally:
        launcher.end(process)
    return code, (folder / "said").read_text()


@pytest.mark.skipif(not launcher.mpiexec(), reason="no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")
@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ([*BLOBS, "--lr", "0.1"], [*BLOBS, "--lr", "0.2"], "--lr is 0.2 on rank 1 and 0.1 on rank 0"),
        (["solve", "--workers", "2"], ["solve", "--workers", "3"], "--workers is 3 on rank 1 and 2 on rank 0"),
        (["convert", "a.svm", "d.h5"], ["convert", "b c.svm", "d.h5"], "is 'b c.svm' d.h5 on rank 1 and a.svm d.h5 on rank 0"),
        (["solve"], BLOBS, "the command is train on rank 1 and solve on rank 0"),
    ],
)
def test_ranks_with_unlike_options_end_in_one_sentence(tmp_path, first, second, told):
    code, said = apart(tmp_path, [*MPIOPT, *first], [*MPIOPT, *second])
    assert code and len(sentences(said)) == 1 and told in said and "same command" in said


@pytest.mark.skipif(not launcher.mpiexec(), reason="no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")
def test_ranks_with_unlike_versions_end_in_one_sentence(tmp_path):
    other = "import sys, mpiopt; mpiopt.__version__ = '9.9'; from mpiopt.jobs.launch import main; sys.exit(main())"
    code, said = apart(tmp_path, [*MPIOPT, *BLOBS], [sys.executable, "-c", other, *BLOBS])
    assert code == 1 and len(sentences(said)) == 1 and "the version of mpiopt is 9.9 on rank 1" in said


@pytest.mark.skipif(not launcher.mpiexec(), reason="no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")
def test_ranks_that_read_unlike_data_end_in_one_sentence(tmp_path):
    for name, value in (("a", 1.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "d.svm").write_text(f"1 1:{value}\n-1 2:1\n1 2:1\n")
        code, said = apart(tmp_path / name, [*MPIOPT, "convert", "d.svm", "d.h5"])
        assert code == 0, said
    there = ["env", "-C"]
    code, said = apart(tmp_path, *([*there, str(tmp_path / name), *MPIOPT, "solve", "d.h5"] for name in "ab"))
    assert code == 1 and len(sentences(said)) == 1 and "belongs to another conversion than d.h5" in said


@pytest.mark.ranks(2)
def test_a_name_that_one_rank_lacks_is_unlike(world):
    with pytest.raises(UnlikeError, match=r"^rank 1 has other numbers than rank 0 in x after round 3: a bit"):
        world.demand_alike({"a": 1} | ({"x": 5} if world.rank else {}), "after round 3")
    world.demand_alike({"a": 1}, "now")


def test_a_run_that_diverges_leaves_its_windows_freed(launch):
    argv = [*BLOBS, "--method", "async_sgd", "--rule", "sgd", "--lr", "1e300"]
    done = launch(2, ["-m", "mpiopt.jobs", *argv], env={"UCX_LOG_LEVEL": "warn"})
    assert done.returncode == 1 and "no longer a finite number" in done.stderr
    assert "WARN" not in done.stderr + done.stdout, done.stderr
