"""CuPy, the packaged CUDA sources, their compilation, and the memory of the card: what every device kernel stands on.

Kernels are compiled by NVRTC when first needed, once for every pair of types, and kept on disk by CuPy. They run on the
caller's current stream and device. Nothing here imports CuPy before it is needed.
"""

from functools import cache
from importlib.resources import files
from types import ModuleType
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError

THREADS = 256  # in a block, as in common.cu
SOURCES = ("products", "updates", "packing", "codes", "generate")  # margins.cu is compiled once for each loss
C_NAMES = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
MOST_BLOCKS = 1024  # of a reduction: enough to fill any card


def library() -> ModuleType:
    """CuPy, with a GPU behind it. Raises UsageError, in one sentence, where either is missing."""
    try:
        import cupy
    except ImportError as error:
        raise UsageError(
            "`device=gpu`: CuPy is not installed here: pip install 'mpiopt[cuda13]' (or 'mpiopt[cuda12]', for an older driver)"
            ", or use `device=cpu`"
        ) from error
    if not cupy.cuda.is_available():
        raise UsageError(
            "`device=gpu`: CuPy finds no usable NVIDIA GPU here: start the job where nvidia-smi shows one, with a driver "
            "for the CUDA version of pip install 'mpiopt[cuda13]' or 'mpiopt[cuda12]', or use `device=cpu`"
        )
    return cupy


def choose_device(local_rank: int) -> int:
    """Take this node's GPU number ``local_rank`` modulo their count: ranks share where there are fewer. Returns it.

    Raises UsageError as `library`.
    """
    cupy = library()
    number = local_rank % cupy.cuda.runtime.getDeviceCount()
    cupy.cuda.Device(number).use()
    return number


def free_bytes() -> int:
    """What can be allocated on the current GPU: free memory, and what CuPy keeps for reuse."""
    cupy = library()
    return int(cupy.cuda.runtime.memGetInfo()[0]) + int(cupy.get_default_memory_pool().free_bytes())


def demand(needed: int, what: str) -> None:
    """Refuse what does not fit before it is begun. Raises UsageError with the bytes needed and free."""
    free = free_bytes()
    if needed > free:
        raise UsageError(
            f"{what} needs {needed:,} bytes on the GPU, of which {free:,} are free: use more ranks on further GPUs, "
            "fewer rows, or `device=cpu`"
        )


def source(name: str, before: str = "") -> str:
    """The text of one compilation unit: common.cu, ``before``, and ``name``.cu."""
    folder = files("mpiopt.kernels.device")
    common, own = ((folder / f"{part}.cu").read_text(encoding="utf-8") for part in ("common", name))
    return "\n".join((common, before, own))


def options(value: Any, vector: Any) -> tuple[str, ...]:
    """What every compiler is told: the language, and the types of matrix entries and of vectors."""
    return "-std=c++17", f"-DVALUE={C_NAMES[np.dtype(value)]}", f"-DVECTOR={C_NAMES[np.dtype(vector)]}"


@cache
def _module(name: str, value: np.dtype, vector: np.dtype, before: str) -> Any:
    return library().RawModule(code=source(name, before), options=options(value, vector))


FLOAT = np.dtype(np.float32)


@cache
def kernel(unit: str, name: str, vector: np.dtype, value: np.dtype = FLOAT, before: str = "") -> Any:
    """The compiled kernel ``name`` of the unit for these types; ``before`` as in `source`. Raises UsageError for types that
    there are none for.
    """
    if vector not in C_NAMES or value not in C_NAMES:
        raise UsageError(f"device kernels take float32 or float64; got entries of {value} and vectors of {vector}")
    return _module(unit, value, vector, before).get_function(name)


def run(made: Any, threads: int, *arguments: Any) -> None:
    """Start a kernel with at least ``threads`` threads; none at all for 0."""
    if threads > 0:
        made((-(-threads // THREADS),), (THREADS,), arguments)


def blocks_for(n: int) -> int:
    """Blocks of a reduction over n elements; depends on nothing else, and so do the bits of the sum."""
    return max(1, min(MOST_BLOCKS, -(-n // (8 * THREADS))))


def sums(unit: str, name: str, width: int, vector: np.dtype, n: int, *arguments: Any, before: str = "") -> np.ndarray:
    """Run a kernel that leaves ``width`` sums a block, and add them up: (width,) float64, on the host. Waits for the card."""
    cupy, blocks = library(), blocks_for(n)
    partial, out = cupy.empty(blocks * width, np.float64), cupy.empty(width, np.float64)
    run(kernel(unit, name, vector, before=before), blocks * THREADS, np.int64(n), *arguments, partial)
    run(kernel(unit, "finish", vector, before=before), width * THREADS, partial, np.int64(blocks), np.int64(width), out)
    return out.get()


def same_kind(first: Array, *others: Array, weights: Array | None = None) -> None:
    """Check what kernels rely on: equal lengths and types, contiguous; weights may be empty. Raises UsageError."""
    if weights is not None and weights.size:
        others = (*others, weights)
    for other in (first, *others):
        fits = other.shape[-1:] == first.shape[-1:]
        if not (fits and other.dtype == first.dtype and other.flags.c_contiguous):
            raise UsageError(
                f"a device kernel was given {first.dtype}{first.shape} and {other.dtype}{other.shape}: lengths and types "
                "must agree, and arrays be contiguous"
            )
