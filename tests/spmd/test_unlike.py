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
FEW = {"solve": "spcg,tron,fista,lbfgs,spag,diana", "train": "sgd,sgd scaled_sign back,slowmo,lsgd,dpf"}  # in every run


def run(folder: Path, argv: list[str], *differing: dict[str, str], timeout: float = 240.0) -> tuple[int, str]:
    """A job of one rank for each environment; its exit code and all it says."""
    if not launcher.mpiexec():
        pytest.skip("no mpiexec beside this Python or on PATH: pip install 'mpiopt[mpich]'")
    blocks = [["-n", "1", "env", *(f"{name}={value}" for name, value in env.items()), *argv] for env in differing]
    whole = [part for block in blocks for part in (":", *block)][1:]
    process = launcher.start([*launcher.mpiexec(), *whole], cwd=folder, env=launcher.environment({"PYTHONHASHSEED": "0"}),
                             out=folder / "said")  # fmt: skip
    try:
        code = process.wait(timeout)
    finally:
        launcher.end(process)
    return code, (folder / "said").read_text()


def told(folder: Path, *argv: str, differing=CORES, timeout: float = 240.0) -> dict[str, str]:
    """What `tests.unlike` says of each method."""
    if platform.machine() != "x86_64" or not FLAGS <= set(Path("/proc/cpuinfo").read_text().split()):
        pytest.skip("this CPU is not x86-64-v3, so that it cannot compute as the two that are to differ")
    folder.mkdir(exist_ok=True)
    code, said = run(folder, [*PROGRAM, *argv], *differing, timeout=timeout)
    assert code == 0, said
    found = dict(line.split(" ", 1) for line in said.splitlines() if " alike " in line or " UNLIKE " in line)
    assert found and all(line.startswith("alike ") for line in found.values()), found
    return found


def check(folder: Path, names: str, differing=CORES, timeout: float = 240.0) -> None:
    """Ranks that compute unlike last bits agree to the last bit; a flipped bit is told within PARTS rounds, or is healed."""
    sound = told(folder / "sound", names, "none", differing=differing, timeout=timeout)
    assert not any("Error" in line for line in sound.values()), sound
    noticed = 0
    for name, line in told(folder / "flipped", names, "flip", differing=differing, timeout=timeout).items():
        noticed += "UnlikeError: rank 1 has other numbers than rank 0 in " in line
        assert "UnlikeError" in line or line == sound[name] or "async" in name or name == "downpour", line
    assert noticed >= len(sound) / 2


@pytest.mark.parametrize("kind", FEW)
def test_ranks_on_unlike_cpus_agree_and_a_flipped_bit_is_noticed(tmp_path, kind):
    check(tmp_path, FEW[kind])


@pytest.mark.study
@pytest.mark.parametrize("env", [CORES[1], {"NUMBA_CPU_NAME": "nehalem"}], ids=["blas", "numba"])
@pytest.mark.parametrize("kind", FEW)
def test_every_method_bears_ranks_on_unlike_cpus(tmp_path, kind, env):
    check(tmp_path, kind, ({"OPENBLAS_CORETYPE": "Haswell"}, env), timeout=1800)


@pytest.mark.ranks(2)
def test_a_name_that_one_rank_lacks_is_unlike(world):
    with pytest.raises(UnlikeError, match=r"^rank 1 has other numbers than rank 0 in x after round 3: a bit"):
        world.demand_alike({"a": 1} | ({"x": 5} if world.rank else {}), "after round 3")
    world.demand_alike({"a": 1}, "now")
