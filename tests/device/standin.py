"""A stand-in for the part of CuPy that mpiopt uses, on the CPU: arrays over NumPy's, and kernels compiled by g++.

It is as strict as CuPy where code for NumPy would slip through: arrays never turn into NumPy's unasked, the two kinds do
not mix, ufuncs know no ``where``, reductions no ``initial``; and stricter where the card would go on without a word: a
kernel's arguments must have the types of its parameters, every array lies between guards that no launch may touch, and
new arrays hold NaN. Functions not listed in FUNCTIONS do not exist.
"""

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import weakref
from itertools import count
from pathlib import Path
from time import perf_counter
from types import ModuleType, SimpleNamespace

import numpy as np

FUNCTIONS = (
    "abs absolute add all allclose any arange argsort array_equal bincount clip concatenate copyto count_nonzero cumsum diff "
    "divide dot empty_like exp expm1 flatnonzero isfinite isnan ldexp log log1p matmul maximum minimum multiply negative "
    "ones_like outer power rint searchsorted sign sqrt square stack subtract sum tanh true_divide where zeros_like full_like"
).split()
GUARD = 64  # bytes on either side of an array
COMPILER = shutil.which("g++")
MEMORY = 1 << 30  # bytes that the card pretends to have

launches = count()
guarded: list[tuple] = []


def allocate(shape, dtype) -> np.ndarray:
    """A new array of 0xFF bytes (NaN, -1) between guards of the same."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    whole = np.full(size + 2 * GUARD, 0xFF, np.uint8)
    out = whole[GUARD : GUARD + size].view(dtype).reshape(shape)
    guarded.append((weakref.ref(whole), size))
    return out


def check_guards() -> None:
    """Fail if a kernel wrote past an array that is still there."""
    alive = []
    for place, size in guarded:
        whole = place()
        if whole is not None:
            assert (whole[:GUARD] == 0xFF).all() and (whole[GUARD + size :] == 0xFF).all(), "a kernel wrote outside an array"
            alive.append((place, size))
    guarded[:] = alive


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of the stand-in."""

    def __init__(self, inner: np.ndarray) -> None:
        self.inner = inner

    shape = property(lambda self: self.inner.shape)
    size = property(lambda self: self.inner.size)
    ndim = property(lambda self: self.inner.ndim)
    dtype = property(lambda self: self.inner.dtype)
    nbytes = property(lambda self: self.inner.nbytes)
    itemsize = property(lambda self: self.inner.itemsize)
    flags = property(lambda self: self.inner.flags)
    strides = property(lambda self: self.inner.strides)
    T = property(lambda self: ndarray(self.inner.T))
    device = property(lambda self: Device(0))

    @property
    def __cuda_array_interface__(self):
        found = dict(self.inner.__array_interface__)
        return found if self.size else found | {"data": (0, False)}

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, dtype=None, **options):
        if method != "__call__" or options:
            raise TypeError(f"Wrong arguments {options} or method {method}")
        options = {} if dtype is None else {"dtype": dtype}
        if out is None:
            return made(ufunc(*map(opened, inputs), **options))
        ufunc(*map(opened, inputs), out=tuple(map(opened, out)), **options)
        return out[0]

    def __array_function__(self, function, types, arguments, options):
        if function.__name__ not in FUNCTIONS:
            raise TypeError(f"no implementation of {function.__name__}")
        return call(function)(*arguments, **options)

    def __getitem__(self, key):
        return viewed(self.inner, self.inner[opened_key(key)])

    def __setitem__(self, key, value):
        self.inner[opened_key(key)] = opened(value)

    def __len__(self):
        return len(self.inner)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __bool__(self):
        return bool(self.inner)

    def __float__(self):
        return float(self.inner)

    def __int__(self):
        return int(self.inner)

    def item(self):
        return self.inner.item()

    def get(self, stream=None, order="C", out=None, blocking=True):
        if out is None:
            return self.inner.copy()
        assert isinstance(out, np.ndarray) and out.shape == self.shape and out.dtype == self.dtype
        assert out.flags.c_contiguous or out.flags.f_contiguous
        out[...] = self.inner
        return out

    def set(self, array, stream=None):
        assert isinstance(array, np.ndarray) and array.shape == self.shape and array.dtype == self.dtype
        assert self.flags.c_contiguous or self.flags.f_contiguous
        self.inner[...] = array

    def copy(self):
        return made(self.inner.copy())

    def astype(self, dtype, copy=True):
        return self if not copy and self.dtype == dtype else made(self.inner.astype(dtype))

    def view(self, dtype):
        return ndarray(self.inner.view(dtype))

    def fill(self, value):
        self.inner.fill(opened(value))

    def reshape(self, *shape):
        return viewed(self.inner, self.inner.reshape(*shape))

    def ravel(self):
        return viewed(self.inner, self.inner.ravel())

    def sum(self, axis=None, dtype=None, out=None, keepdims=False):
        return into(self.inner.sum(axis, dtype, keepdims=keepdims), out)

    def mean(self, axis=None, dtype=None, out=None, keepdims=False):
        return into(self.inner.mean(axis, dtype, keepdims=keepdims), out)

    def max(self, axis=None, out=None, keepdims=False):
        return into(self.inner.max(axis, keepdims=keepdims), out)

    def min(self, axis=None, out=None, keepdims=False):
        return into(self.inner.min(axis, keepdims=keepdims), out)

    def any(self, axis=None, out=None, keepdims=False):
        return into(self.inner.any(axis, keepdims=keepdims), out)

    def all(self, axis=None, out=None, keepdims=False):
        return into(self.inner.all(axis, keepdims=keepdims), out)

    def argmax(self, axis=None):
        return made(self.inner.argmax(axis))

    def take(self, indices, axis=None):
        return made(self.inner.take(opened(indices), axis))


def into(result, out):
    """A result where it is wanted."""
    if out is None:
        return made(result)
    out.inner[...] = result
    return out


def opened(value):
    """The inside of an array; numbers as they are. NumPy's arrays are refused, as CuPy does."""
    if isinstance(value, ndarray):
        return value.inner
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    return [opened(part) for part in value] if isinstance(value, list) else value


def opened_key(key):
    return tuple(map(opened, key)) if isinstance(key, tuple) else opened(key)


def made(result):
    """A result as a new array between guards; numbers become arrays without axes."""
    if isinstance(result, (tuple, list)):
        return type(result)(map(made, result))
    if not isinstance(result, (np.ndarray, np.generic)):
        return result
    out = allocate(result.shape, result.dtype)
    out[...] = result
    return ndarray(out)


def viewed(base, result):
    """A view, or a copy between guards where indexing made one."""
    if isinstance(result, np.ndarray) and result.size and np.may_share_memory(base, result):
        return ndarray(result)
    return made(result)


def call(function):
    """A NumPy function on the insides, without the options that CuPy does not have."""

    def run(*arguments, **options):
        if {"where", "initial"} & set(options):
            raise TypeError(f"unexpected keyword argument in {sorted(options)}")
        out = options.pop("out", None)
        found = function(
            *[opened(part) if not isinstance(part, tuple) else tuple(map(opened, part)) for part in arguments], **options
        )
        if function.__name__ == "argsort":  # CuPy's is stable
            found = function(opened(arguments[0]), kind="stable")
        if out is None:
            return made(found)
        out.inner[...] = found
        return out

    return run


# ------------------------------------------------------------------------------------------------ kernels
MARK = re.compile(r"__global__ void __launch_bounds__\(\d+\) (\w+)\(([^)]*)\)")
C_TYPES = {
    "long long": np.int64,
    "int": np.int32,
    "unsigned long long": np.uint64,
    "double": np.float64,
    "float": np.float32,
    "unsigned": np.uint32,
    "unsigned char": np.uint8,
}
NAMES = {"i64": "long long", "u64": "unsigned long long"}


def signatures(code: str, options: tuple[str, ...]) -> dict[str, list[tuple[str, bool]]]:
    """Per kernel, the type and whether it is a pointer, of every parameter."""
    expanded = subprocess.run(
        [COMPILER, "-E", "-P", "-x", "c++", *options, "-"], input=code, capture_output=True, text=True, check=True
    ).stdout
    out = {}
    for name, parameters in MARK.findall(" ".join(expanded.split())):
        out[name] = []
        for parameter in parameters.split(","):
            kind = re.sub(r"\b(const|__restrict__)\b", "", parameter.rsplit(" ", 1)[0]).strip()
            pointer = kind.endswith("*") or parameter.rsplit(" ", 1)[1].startswith("*")
            kind = " ".join(kind.replace("*", "").split())
            out[name].append((NAMES.get(kind, kind), pointer))
    return out


def compiled(code: str, options: tuple[str, ...], names) -> ctypes.CDLL:
    """The unit as a shared library, kept between runs of the tests."""
    header = (Path(__file__).parent / "emulate.h").read_text()
    ends = "\n".join(
        f'extern "C" int run_{name}(void** a, int b, int t, unsigned long long s) '
        f"{{ return emulate::launch([](void** a) {{ emulate::call({name}, a); }}, a, b, t, s); }}"
        for name in names
    )
    text = "\n".join([header, code, ends])
    folder = Path(tempfile.gettempdir()) / f"mpiopt-emulated-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    key = hashlib.sha256("\n".join([text, *options]).encode()).hexdigest()[:24]
    library = folder / f"{key}.so"
    if not library.exists():
        fresh = folder / f"{key}-{os.getpid()}.so"
        command = [COMPILER, "-O1", "-ffp-contract=off", "-shared", "-fPIC", "-w", "-x", "c++", *options, "-o", str(fresh), "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:4000]
        fresh.replace(library)
    return ctypes.CDLL(str(library))


class RawModule:
    """The kernels of one source."""

    def __init__(self, *, code: str, options: tuple[str, ...] = ()) -> None:
        self.signatures = signatures(code, options)
        self.library = compiled(code, options, self.signatures)

    def get_function(self, name: str):
        parameters, function = self.signatures[name], getattr(self.library, f"run_{name}")

        def start(grid, block, arguments, *, shared_mem=0):
            assert grid[0] >= 1, "invalid configuration argument"
            assert len(arguments) == len(parameters), f"{name} takes {len(parameters)} arguments, got {len(arguments)}"
            cells = [cell(name, k, value, *kind) for k, (value, kind) in enumerate(zip(arguments, parameters, strict=True))]
            places = (ctypes.c_void_p * len(cells))(*[made.ctypes.data for made in cells])
            code = function(places, int(grid[0]), int(block[0]), ctypes.c_ulonglong(next(launches) % 5))
            assert code == 0, f"{name}: " + {1: "a barrier that not all threads reach", 2: "a lane outside a mask"}[code]
            check_guards()

        return start


def cell(name: str, k: int, value, kind: str, pointer: bool) -> np.ndarray:
    """What a launch copies for one argument, as an array of one element."""
    if pointer:
        assert isinstance(value, ndarray), f"argument {k} of {name} is {type(value)}, not an array"
        assert value.dtype == C_TYPES[kind], f"argument {k} of {name} is {value.dtype}, not {kind}"
        assert value.flags.c_contiguous
        return np.array([value.inner.ctypes.data if value.size else 0], np.uint64)
    assert isinstance(value, C_TYPES[kind]), f"argument {k} of {name} is {type(value)}, not {kind}"
    return np.array([value])


# ------------------------------------------------------------------------------------------------ the module
class Device:
    """The one card."""

    used: list[int] = []  # noqa: RUF012 - what tests look at

    def __init__(self, number=0) -> None:
        self.id = number

    def use(self):
        self.used.append(self.id)

    def synchronize(self):
        pass


class Event:
    """A moment."""

    at = 0.0

    def record(self):
        self.at = perf_counter()

    def synchronize(self):
        pass


class Pinned(bytearray):
    """Host memory that the card can read."""


def module() -> ModuleType:
    """The stand-in as a module named cupy."""
    cupy = ModuleType("cupy")
    for name in FUNCTIONS:
        setattr(cupy, name, call(getattr(np, name)))
    stream = SimpleNamespace(synchronize=lambda: synchronised.append(1))
    cupy.cuda = SimpleNamespace(
        is_available=lambda: True,
        Device=Device,
        runtime=SimpleNamespace(getDeviceCount=lambda: 2, memGetInfo=lambda: (MEMORY, MEMORY)),
        get_current_stream=lambda: stream,
        alloc_pinned_memory=Pinned,
        Event=Event,
        get_elapsed_time=lambda start, end: 1e3 * (end.at - start.at) + 1e-3,
    )
    cupy.ndarray, cupy.RawModule, cupy.__version__ = ndarray, RawModule, "stand-in"
    cupy.get_default_memory_pool = lambda: SimpleNamespace(free_bytes=lambda: 0)
    cupy.empty = lambda shape, dtype=float: ndarray(allocate(shape, dtype))
    cupy.empty_like = lambda x: ndarray(allocate(x.shape, x.dtype))
    cupy.zeros = lambda shape, dtype=float: made(np.zeros(shape, dtype))
    cupy.ones = lambda shape, dtype=float: made(np.ones(shape, dtype))
    cupy.full = lambda shape, value, dtype=None: made(np.full(shape, value, dtype))
    cupy.array = lambda x, dtype=None: made(np.array(inside(x), dtype))
    cupy.asarray = lambda x, dtype=None: x if isinstance(x, ndarray) and dtype in (None, x.dtype) else cupy.array(x, dtype)
    cupy.ascontiguousarray = cupy.asarray
    cupy.asnumpy = lambda x: x.get() if isinstance(x, ndarray) else np.asarray(x)
    for name in ("float32", "float64", "int32", "int64", "uint32", "uint64", "finfo", "inf", "nan", "newaxis"):
        setattr(cupy, name, getattr(np, name))
    return cupy


synchronised: list[int] = []


def inside(x):
    return x.inner if isinstance(x, ndarray) else x
