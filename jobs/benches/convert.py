"""``mpiopt bench convert``: svmlight text to shards against scikit-learn's reader and the same writing, per core.

The peer runs in a process of its own, in turn with ours: neither pays for memory that the other gave back.
"""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.errors import UsageError
from mpiopt.jobs.benches.race import race
from mpiopt.jobs.cli.console import Console, size, table

if TYPE_CHECKING:
    from mpiopt.comm.world import World


def peer(text: Path, target: Path) -> None:
    """Read with scikit-learn; write the arrays that shards hold."""
    from sklearn.datasets import load_svmlight_file

    from mpiopt.io.dataset.writing import write_arrays

    matrix, y = load_svmlight_file(str(text))
    values = matrix.data.astype(np.float32)
    write_arrays(target, {"data": values, "indices": matrix.indices, "indptr": matrix.indptr, "y": y})


def converting(data: str, runs: int, world: "World", console: Console) -> dict[str, Any]:
    """Race on the text file ``data``, or on the text of the generator that it names. One rank."""
    import sklearn

    from mpiopt.io.dataset.synthetic import from_spec
    from mpiopt.io.text.convert import convert
    from mpiopt.io.text.options import TextOptions
    from mpiopt.io.text.svmlight import write_svmlight

    if world.size > 1:
        raise UsageError(f"bench convert compares one core with one core: run it on 1 rank, not {world.size}")
    with tempfile.TemporaryDirectory() as name, ProcessPoolExecutor(1, get_context("spawn")) as other:
        text, folder = Path(data), Path(name)
        if not text.is_file():
            console(f"writing {data} as text")
            text = folder / "data.svm"
            write_svmlight(from_spec(data), text)
        console("timing")
        found = race(
            lambda: convert(world, [text], folder / "ours.h5", TextOptions(overwrite=True)),
            lambda: other.submit(peer, text, folder / "peer.h5").result(),
            runs,
        )
        nbytes = text.stat().st_size
    rows = [
        ["mpiopt convert, shuffled", f"{found.ours:.2f}", f"{size(nbytes / found.ours)}/s"],
        [f"scikit-learn {sklearn.__version__}, h5py", f"{found.peer:.2f}", f"{size(nbytes / found.peer)}/s"],
    ]
    console.show(table([f"{size(nbytes)} of text, one core", "seconds", "speed"], rows, "lrr"))
    console.show(f"\n{1 / found.ratio:.1f} times faster (median of {runs})")
    return {
        "bytes": nbytes,
        "seconds": found.ours,
        "peer_seconds": found.peer,
        "speedup": 1 / found.ratio,
        "sklearn": sklearn.__version__,
    }
