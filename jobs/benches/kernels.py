"""``mpiopt bench kernels``: the sparse products against scipy's, one core, power-law columns."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.jobs.benches.race import race
from mpiopt.jobs.cli.console import Console, table


def kernels(spec: str, runs: int, console: Console) -> dict[str, Any]:
    """Time A x and A^T r on the set that ``spec`` names; ours with float32 values and float64 vectors. Not collective."""
    import scipy
    from scipy.sparse import csr_array

    source = from_spec(spec)
    console(f"making {spec}")
    ours, *_ = source.read(0, source.rows)
    peers = {
        name: csr_array((ours.data.astype(kind), ours.indices, ours.indptr), shape=ours.shape)
        for name, kind in (("float64", np.float64), ("all float32", np.float32))
    }
    console("timing")
    found = list(_races(ours, peers, runs))
    rows = [[r["product"], r["peer"], *(f"{r[k]:.2f}" for k in ("ours_ns", "peer_ns", "speedup"))] for r in found]
    console.show(f"{ours.shape[0]:,} x {ours.shape[1]:,}, {ours.nnz:,} nonzeros; nanoseconds per nonzero, medians of {runs}\n")
    console.show(table(["product", f"scipy {scipy.__version__}", "mpiopt", "scipy", "times faster"], rows, "llrrr"))
    return {"spec": spec, "nnz": ours.nnz, "scipy": scipy.__version__, "races": found}


def _races(ours: Any, peers: dict[str, Any], runs: int) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(0)
    for product, length, other in (("A x", ours.shape[1], ours.shape[0]), ("A^T r", ours.shape[0], ours.shape[1])):
        v, out = rng.standard_normal(length), np.empty(other)
        act = ours.dot if product == "A x" else ours.tdot
        for name, peer in peers.items():
            theirs = peer if product == "A x" else peer.T
            given = v.astype(peer.dtype)
            found = race(lambda: act(v, out), lambda: theirs @ given, runs)  # noqa: B023 - called before the loop goes on
            yield {
                "product": product,
                "peer": name,
                "ours_ns": found.ours / ours.nnz * 1e9,
                "peer_ns": found.peer / ours.nnz * 1e9,
                "speedup": 1 / found.ratio,
            }
