"""Arrays of a GPU on their way through MPI: copied to pinned host memory before a call and back after it.

World calls this, and compressors, which bring less than a whole vector. The copies run on the caller's current stream,
which is waited for, so that MPI never reads what the card has yet to write. Pinned memory is taken from CuPy's pool, which
keeps it for the next call.
"""

from collections.abc import Callable, Sequence

import numpy as np

from mpiopt.arrays import Array, namespace

Reduce = Callable[[Sequence[np.ndarray], np.ndarray], np.ndarray]  # parts on the host, out: one of them -> out


def on_device(x: Array) -> bool:
    """Whether ``x`` is in the memory of a GPU."""
    return not isinstance(x, np.ndarray)


def brought(x: Array) -> np.ndarray:
    """``x`` itself, or its copy in pinned host memory, once the card has finished what it was told."""
    if isinstance(x, np.ndarray):
        return x
    out = landing(x)
    x.get(out=out)
    namespace(x).cuda.get_current_stream().synchronize()
    return out


def landing(x: Array) -> np.ndarray:
    """Where MPI may write what is to become ``x``: itself, or as much pinned host memory, of any content."""
    if not on_device(x):
        return x
    return room(x, x.size, x.dtype).reshape(x.shape)


def room(beside: Array, size: int, kind: np.typing.DTypeLike) -> np.ndarray:
    """New host memory for ``size`` numbers of this kind, of any content; pinned where ``beside`` is on a GPU."""
    if not on_device(beside):
        return np.empty(size, kind)
    count = max(size * np.dtype(kind).itemsize, 1)
    return np.frombuffer(namespace(beside).cuda.alloc_pinned_memory(count), kind, size)


def landed(value: np.ndarray, x: Array) -> Array:
    """``x``, holding what MPI wrote to its `landing`."""
    if not isinstance(x, np.ndarray):
        x.set(value)
    return x


def returned(value: np.ndarray, like: Array) -> Array:
    """``value`` where ``like`` is: itself, or a new array on the GPU."""
    return namespace(like).asarray(value) if on_device(like) else value


def reduced(reduce: Reduce, parts: Sequence[Array], out: Array | None, *, ordered: bool, alone: bool) -> Array:
    """The sum of device arrays over all workers, left in ``out`` (a new array for None); ``reduce`` is World's own for hosts.

    Unless the order of the workers matters (``ordered``) a rank's parts are added up on the card, and one array crosses;
    none does where one rank is ``alone``.
    """
    out = namespace(parts[0]).empty_like(parts[0]) if out is None else out
    if ordered:
        staged = [brought(part) for part in parts]
        return landed(reduce(staged, staged[0]), out)
    if out is not parts[0]:
        out[...] = parts[0]
    for part in parts[1:]:
        out += part
    if not alone:
        mine = brought(out)
        landed(reduce([mine], mine), out)
    return out
