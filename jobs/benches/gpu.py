"""``mpiopt bench gpu``: every kernel of the GPU as a share of the bandwidth of the same card, and against cupyx's products.

The copy bandwidth (bytes read and written) is measured first. The bytes of a kernel are those that must move, as
`mpiopt.kernels.device` counts them; reaching the copy's rate with them would leave nothing to gain.
"""

from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.jobs.cli.console import Console, table
from mpiopt.kernels import device
from mpiopt.losses.logistic import Logistic

if TYPE_CHECKING:
    from mpiopt.comm.world import World

COPY = 1 << 30  # bytes that the copy reads, and as many that it writes


class Timed(NamedTuple):
    """One kernel: median seconds, bytes that must move, and cupyx's seconds where it has the same product."""

    name: str
    seconds: float
    bytes: int
    peer: str = ""
    peer_seconds: float = float("nan")


def gpu(spec: str, l2: float, target: float, runs: int, world: "World", console: Console) -> dict[str, Any]:
    """Measure on one card, with rows made on it. Raises UsageError without a GPU, or on several ranks. Collective."""
    if world.size > 1:
        raise UsageError(
            f"bench gpu measures one card from one rank, and was started on {world.size}: start it without mpiexec"
        )
    xp, made = device.library(), from_spec(spec)
    device.choose_device(0)
    console("measuring the copy")
    copied = copy_rate(min(COPY, device.free_bytes() // 4), runs)
    console(f"making {spec} on the GPU")
    matrix, y = device.binary_rows(made)
    console("timing kernels")
    found = [*kernels(matrix, y, runs), *peers(matrix, runs)]
    rows = [
        [
            one.name,
            f"{1e3 * one.seconds:.3f}",
            f"{one.bytes / one.seconds / 1e9:,.0f}",
            f"{100 * one.bytes / one.seconds / copied:.0f} %",
            one.peer,
        ]
        for one in found
    ]
    console.show(
        f"copy: {copied / 1e9:,.0f} GB/s read and written, CuPy {xp.__version__}; {made.rows:,} x {made.cols:,}, "
        f"{matrix.nnz:,} nonzeros; medians of {runs}\n"
    )
    console.show(table(["kernel", "ms", "GB/s", "of copy", "times faster than cupyx"], rows, "lrrrl"))
    from mpiopt.jobs.benches.gpu_solve import solving

    solved = solving(made, matrix, y, l2, target, world, console)
    return {"spec": spec, "nnz": matrix.nnz, "copy": copied, "kernels": [one._asdict() for one in found], "solve": solved}


def seconds(act: Callable[[], object], runs: int) -> float:
    """Median of the card's own seconds for one call, after one that does not count."""
    cuda, found = device.library().cuda, []
    for _ in range(runs + 1):
        start, end = cuda.Event(), cuda.Event()
        start.record()
        act()
        end.record()
        end.synchronize()
        found.append(cuda.get_elapsed_time(start, end) / 1e3)
    return median(found[1:])


def copy_rate(count: int, runs: int) -> float:
    """Bytes a second, read and written, of a copy on the card."""
    xp = device.library()
    source, target = xp.zeros(count // 8), xp.empty(count // 8)

    def act() -> None:
        target[...] = source

    return 2 * source.nbytes / seconds(act, runs)


def kernels(a: Any, y: Any, runs: int) -> Iterator[Timed]:
    """Our kernels on the rows, their margins, and vectors of their length."""
    xp, (n, d), z = device.library(), a.shape, a.nnz
    rng = np.random.default_rng(0)
    x, r, h = (xp.asarray(rng.standard_normal(k)) for k in (d, n, n))
    rows = Logistic().device()
    none, out, long, p = xp.empty(0), xp.empty(n), xp.empty(d), xp.asarray(rng.standard_normal((2, n)))
    entries = z * (4 + a.data.dtype.itemsize)
    by_rows, by_columns = entries + 8 * n + 8 * (d + n), entries + 8 * d + 8 * (d + n)

    def slope() -> None:
        rows.value_residual(r, y, none, out)
        a.tdot(out, long)

    yield Timed("A x", seconds(lambda: a.dot(x, out), runs), by_rows)
    yield Timed("A^T r", seconds(lambda: a.tdot(r, long), runs), by_columns)
    yield Timed("value and gradient", seconds(slope, runs), by_columns + 24 * n)
    yield Timed("A^T (h A v)", seconds(lambda: a.hvp(h, x, long), runs), by_rows + by_columns + 16 * n)
    yield Timed("squares by column", seconds(lambda: a.squares(h), runs), by_columns)
    yield Timed("squares by row", seconds(a.row_squares, runs), z * a.data.dtype.itemsize + 16 * n)
    yield Timed("logistic", seconds(lambda: rows.value_residual(r, y, none, out), runs), 24 * n)
    yield Timed("curvature", seconds(lambda: rows.curvature(r, y, none, out), runs), 24 * n)
    yield Timed("plane, 2 directions", seconds(lambda: rows.plane(r, p, np.zeros(2), y, none), runs), 32 * n)
    yield Timed("bregman", seconds(lambda: rows.bregman(r, h, y, none), runs), 24 * n)
    yield from vector_kernels(x, runs)


def vector_kernels(x: Any, runs: int) -> Iterator[Timed]:
    """Kernels on vectors of the length of x (d,)."""
    xp, d = device.library(), x.size
    g, v, s = x.copy(), xp.zeros(d), xp.zeros(d)
    codes, k = xp.zeros(d, np.uint32), max(1, d // 100)
    yield Timed("inner product", seconds(lambda: device.inner(x, g), runs), 16 * d)
    yield Timed("momentum step", seconds(lambda: device.momentum_step(x, g, v, 1e-9), runs), 40 * d)
    yield Timed("adam step", seconds(lambda: device.adam_step(x, g, v, s, 1, lr=1e-9), runs), 56 * d)
    yield Timed("largest 1 %", seconds(lambda: device.largest(x, k), runs), 64 * d + 16 * k)
    yield Timed("signs", seconds(lambda: device.signs(x), runs), 8 * d + d // 8)
    yield Timed("codes of 4 bits", seconds(lambda: device.pack(codes, 4), runs), 4 * d + d // 2)


def peers(a: Any, runs: int) -> Iterator[Timed]:
    """cupyx's products in all float64 and all float32, each with ours on the same vectors' type; none where it has none."""
    try:
        from cupyx.scipy.sparse import csr_matrix
    except ImportError:
        return
    xp, (n, d) = device.library(), a.shape
    for kind in (np.float64, np.float32):
        ours = a if a.vector == kind else device.DeviceCSR(a.indptr, a.indices, a.data, a.shape, kind)
        theirs = csr_matrix((a.data.astype(kind), a.indices, a.indptr), shape=a.shape)
        x, r = xp.ones(d, kind), xp.ones(n, kind)
        size = np.dtype(kind).itemsize
        moved = a.nnz * (4 + a.data.dtype.itemsize) + size * (d + n)
        for name, act, other, more in (
            ("A x", lambda: ours.dot(x), lambda: theirs @ x, 8 * n),  # noqa: B023 - called before the loop goes on
            ("A^T r", lambda: ours.tdot(r), lambda: theirs.T @ r, 8 * d),  # noqa: B023
        ):
            mine, peer = seconds(act, runs), seconds(other, runs)
            kinds = f"{np.dtype(kind)} vectors"
            yield Timed(f"{name}, {kinds}", mine, moved + more, f"{peer / mine:.2f} (all {np.dtype(kind)})", peer)
