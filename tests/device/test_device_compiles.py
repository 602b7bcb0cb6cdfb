"""Every CUDA source compiles for the cards of the last years, without a card; and the emulator sees what it must see."""

import shutil
import subprocess

import numpy as np
import pytest

from mpiopt.kernels.device import launch
from mpiopt.losses.registry import catalogue, find
from tests.device import standin

ARCHITECTURES = ("80", "90")
TYPES = (("f4", "f8"), ("f8", "f8"), ("f4", "f4"))


def nvcc(source, architecture, options, folder):
    compiler = shutil.which("nvcc")
    file = folder / "unit.cu"
    file.write_text(source)
    command = [compiler, f"-arch=sm_{architecture}", "-cubin", "-Werror", "all-warnings", *options, "-o", folder / "out", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.stderr if done.returncode else ""


def nvrtc(source, architecture, options, folder):
    from cuda.bindings import nvrtc as compiler

    error, program = compiler.nvrtcCreateProgram(source.encode(), b"unit.cu", 0, [], [])
    assert error == compiler.nvrtcResult.NVRTC_SUCCESS
    given = [option.encode() for option in (f"-arch=sm_{architecture}", *options)]
    (error,) = compiler.nvrtcCompileProgram(program, len(given), given)
    _, size = compiler.nvrtcGetProgramLogSize(program)
    log = b" " * size
    compiler.nvrtcGetProgramLog(program, log)
    return log.decode() if error != compiler.nvrtcResult.NVRTC_SUCCESS else ""


def compiler_here():
    if shutil.which("nvcc"):
        return nvcc
    try:
        from cuda.bindings import nvrtc as _  # noqa: F401
    except ImportError:
        pytest.skip("neither nvcc nor NVRTC is here to compile CUDA with: pip install cuda-python nvidia-cuda-nvrtc")
    return nvrtc


UNITS = {unit: launch.source(unit) for unit in launch.SOURCES}
UNITS |= {f"margins of {name}": launch.source("margins", find(name).device().text) for name in catalogue()}


@pytest.mark.parametrize("unit", UNITS)
def test_a_source_compiles(unit, tmp_path):
    """For the oldest card, whose instructions the others have too; the study asks for all."""
    assert compiler_here()(UNITS[unit], ARCHITECTURES[0], launch.options("f4", "f8"), tmp_path) == ""


@pytest.mark.study
@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("unit", UNITS)
def test_a_source_compiles_for_all_types(unit, types, tmp_path):
    for architecture in ARCHITECTURES:
        assert compiler_here()(UNITS[unit], architecture, launch.options(*types), tmp_path) == ""


def test_a_source_that_is_wrong_does_not_compile(tmp_path):
    assert compiler_here()(
        launch.source("updates") + "\nKERNEL wrong() { nothing(); }", "90", launch.options("f4", "f8"), tmp_path
    )


HEAD = '#define KERNEL extern "C" __global__ void __launch_bounds__(64)\n'
STUCK = (
    HEAD
    + """
KERNEL halfway(double* out) {
    if (threadIdx.x < 40) return;
    if (threadIdx.x < 50) __syncthreads();
    else __shfl_xor_sync(0xffffffffu, 1.0, 1);
    out[threadIdx.x] = 1;
}
KERNEL gone(double* out) {
    if (threadIdx.x % 32 == 3) return;
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, (double)threadIdx.x, 1);
}
KERNEL outside(double* out) { if (threadIdx.x == 0) out[64] = 1; }
KERNEL turned(double* out) {
    __shared__ double held[64];
    held[threadIdx.x] = threadIdx.x;
    BARRIER;
    out[threadIdx.x] = held[63 - threadIdx.x];
}
"""
)


@pytest.fixture
def start():
    if standin.COMPILER is None:
        pytest.skip("there is no g++ to compile the kernels for the CPU with")

    def run(name, barrier="__syncthreads()"):
        out = standin.made(np.zeros(64))
        standin.RawModule(code=STUCK, options=(f"-DBARRIER={barrier}",)).get_function(name)((1,), (64,), (out,))
        return out.get()

    return run


@pytest.mark.parametrize(
    ("name", "says"), [("halfway", "barrier"), ("gone", "outside a mask"), ("outside", "outside an array")]
)
def test_the_emulator_sees(start, name, says):
    with pytest.raises(AssertionError, match=says):
        start(name)
    standin.guarded.clear()
    assert np.array_equal(start("turned"), 63.0 - np.arange(64))  # and goes on after an error


def test_the_emulator_sees_a_missing_barrier(start):
    found = [np.array_equal(start("turned", ""), 63.0 - np.arange(64)) for _ in range(10)]
    assert not all(found)


def test_the_emulator_checks_arguments():
    if standin.COMPILER is None:
        pytest.skip("there is no g++ to compile the kernels for the CPU with")
    kernel = standin.RawModule(code=STUCK, options=("-DBARRIER=",)).get_function("turned")
    for wrong in ((standin.made(np.zeros(64, np.float32)),), (np.float64(1),), ()):
        with pytest.raises(AssertionError, match=r"argument 0 of turned|takes 1 argument"):
            kernel((1,), (64,), wrong)
