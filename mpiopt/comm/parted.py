"""PartedWorld: ranks of which each has some coordinates of a vector and knows no others.

One of the ranks that have a coordinate owns it. In a sum the others tell the owner what they have, and it tells them what that
adds up to, in lists that were fixed beforehand: coordinates are never named, and those of a single rank never sent. Inner
products are of what ranks own. All this is for one worker a rank, with vectors in the memory of a CPU.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.comm.world import World


class HeldPart(NamedTuple):
    """Which coordinates a rank has, in this order: those of others by owner, its own, and those that all have.

    dim : of the whole vector. own : its own. lent : by rank, what belongs to that one. shared : by rank, the places (k,) int64
    of its own that that one has too, in the order in which it keeps them.
    """

    dim: int
    own: slice
    lent: tuple[slice, ...]
    shared: tuple[np.ndarray, ...]


class PartedWorld(World):
    """The ranks of another World, whose communicator, tally and watchers it shares. Vectors are parts of such."""

    def __init__(self, world: World, parts: HeldPart) -> None:  # it is that World, and must not make another communicator
        self.__dict__.update(world.__dict__)
        self.parts = parts

    def whole(self, size: int) -> int:
        """See `Ranks.whole`."""
        return self.parts.dim

    def slices(self, size: int) -> list[slice]:
        """What this rank owns of a part of so many entries; rank 0 sees to those at the end that all have."""
        own = self.parts.own
        return [slice(own.start, own.stop if self.rank else size)]

    def sum(self, parts: Sequence[np.ndarray], name: str = "sum", out: np.ndarray | None = None) -> np.ndarray:
        """As `Sums.sum`: of each coordinate over those that have it, of what stands behind over all. Collective.

        Two messages to every rank that has some of the same, and a small sum; counts a vector round.
        """
        total = np.array(parts[0]) if out is None else out
        if total is not parts[0]:
            total[...] = parts[0]
        _, own, lent, shared = self.parts
        arrived = self._passed([total[cut] for cut in lent], [at.size for at in shared], name, True)
        for at, values in zip(shared, arrived, strict=True):
            total[at] += values
        arrived = self._passed([total[at] for at in shared], [cut.stop - cut.start for cut in lent], name, False)
        for cut, values in zip(lent, arrived, strict=True):
            total[cut] = values
        if total.size > own.stop:
            total[own.stop :] = self.total([total[own.stop :]], name)
        return total

    def _passed(self, parts: list[np.ndarray], lengths: list[int], name: str, vector: bool) -> list[np.ndarray]:
        with self._call(name, sum(part.nbytes for part in parts), vector):
            return self._wire.exchange(parts, np.array(lengths, np.int64))
