"""Rows of the device tests: ``emulated``, the same kernels and host code on the CPU, and ``gpu``, where there is one."""

import sys

import pytest

from mpiopt.kernels.device import launch
from tests.device import standin


def gpu_missing() -> str:
    """Why the tests on a real GPU cannot run here, or ""."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed: pip install 'mpiopt[cuda13]'"
    return "" if cupy.cuda.is_available() else "CuPy finds no GPU here"


def forget() -> None:
    """Compiled kernels belong to one library."""
    launch.kernel.cache_clear()
    launch._module.cache_clear()


@pytest.fixture(params=["emulated", "gpu"])
def xp(request, monkeypatch):
    """CuPy, or the stand-in in its place."""
    if request.param == "gpu":
        if why := gpu_missing():
            pytest.skip(why)
        import cupy

        yield cupy
        return
    if standin.COMPILER is None:
        pytest.skip("there is no g++ to compile the kernels for the CPU with")
    forget()
    made = standin.module()
    monkeypatch.setitem(sys.modules, "cupy", made)
    yield made
    forget()
