"""Checksums of what all ranks hold alike, so that a flipped bit or an unlike result is noticed and not trained on.

All leaves of a Run that are neither PerWorker nor PerRow are alike to the last bit on every rank, whatever its CPU: they are
changed by sums that all have from MPI, and by operations that are exact or rounded in one way only (+, -, *, /, square
roots, in a fixed order). No BLAS, no exponential, no contraction comes near them, and none is ever sent anew. Of the points
x is such a leaf where all workers share one; margins and slopes belong to the rows of a worker.

Long leaves are looked at in `PARTS` pieces, one a round, so that it costs nothing to speak of; a flip that stays where it
was is seen within so many rounds, and one that spreads sooner.
"""

from collections.abc import Iterator
from typing import Any
from zlib import crc32

import numpy as np

from mpiopt.arrays import Array, is_array, on_host
from mpiopt.engine.method import Run
from mpiopt.engine.phase import PerRow, PerWorker, Tree
from mpiopt.numerics.trees import names

PARTS = 16
SHORT = 4096  # entries: leaves of at most so many are looked at whole


def fingerprint(run: Run, shared: bool = True, part: int | None = None) -> dict[str, int]:
    """The checksums of the leaves that all ranks hold alike, by name. Not collective.

    shared : whether the workers share one point, and what they agreed on is the same for all; each may have a part of both, and
    then hears its own. part : the round whose piece
    of long leaves is wanted, all of them for None.
    """
    tree = {"state": run.states, "round": run.round}
    if shared and not isinstance(run.agreed, PerWorker):
        tree |= {"x": run.points[0].x, "what was agreed": run.agreed}
    return {name: _checksum(leaf, part) for key, branch in tree.items() for name, leaf in _leaves(branch, key)}


def _leaves(tree: Tree, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(tree, PerWorker | PerRow):
        return
    if isinstance(tree, tuple):
        for name, child in zip(names(tree), tree, strict=True):
            yield from _leaves(child, f"{path}/{name}")
    else:
        yield path, tree


def _checksum(leaf: Any, part: int | None) -> int:
    if not (is_array(leaf) or isinstance(leaf, np.generic)):
        return crc32(repr(leaf).encode())
    flat: Array = leaf.reshape(-1)
    if part is not None and flat.size > SHORT:
        k = part % PARTS
        flat = flat[k * flat.size // PARTS : (k + 1) * flat.size // PARTS]
    words = np.ascontiguousarray(on_host(flat)).view(f"u{flat.dtype.itemsize}")
    return int(np.bitwise_xor.reduce(words))  # at the speed of memory; any flipped bit is one of the result's
