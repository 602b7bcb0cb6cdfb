"""Features by the hashes of their names: Weinberger, Dasgupta, Langford, Smola and Attenberg, Feature hashing for large scale
multitask learning, 2009; bit for bit as scikit-learn's FeatureHasher does it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.comm.world import World
from mpiopt.kernels.host.table import murmur

PENDING = 1 << 20  # keys
OTHER = 0x9747B28C  # the seed of a second hash, by which names that share a feature are told apart


class Places(NamedTuple):
    """Features (n,) int32 of names, and the signs (n,) of their values; keys : (n,) uint64, one for each different name."""

    features: np.ndarray
    signs: np.ndarray
    keys: np.ndarray


def places(names: Sequence[str], cols: int) -> Places:
    """Those of ``names`` among ``cols`` features."""
    encoded = [name.encode() for name in names]
    bounds = np.concatenate(([0], np.cumsum([len(text) for text in encoded], dtype=np.int64)))
    text = np.frombuffer(b"".join(encoded) + b"\0", np.uint8)
    first, second = np.empty(len(names), np.uint32), np.empty(len(names), np.uint32)
    murmur(text, bounds, 0, first)
    murmur(text, bounds, OTHER, second)
    signed = first.view(np.int32).astype(np.int64)
    return Places(
        (np.abs(signed) % cols).astype(np.int32),
        np.where(signed >= 0, 1.0, -1.0),
        (first.astype(np.uint64) << np.uint64(32)) | second,
    )


class Seen:
    """The names that were hashed, by their keys, so that those which share a feature can be counted."""

    def __init__(self, cols: int) -> None:
        self.cols, self._keys = cols, np.empty(0, np.uint64)
        self._new: list[np.ndarray] = []

    def add(self, keys: np.ndarray) -> None:
        """Names that occur (again)."""
        self._new.append(keys)
        if sum(map(len, self._new)) > max(PENDING, len(self._keys)):
            self._merge()

    def _merge(self) -> None:
        keys = np.sort(np.concatenate([self._keys, *self._new]))  # np.unique's own way is slower on such keys
        self._keys, self._new = keys[np.append(True, keys[1:] != keys[:-1])[: len(keys)]], []

    def shared(self, world: World) -> tuple[int, int]:
        """How many names there are on all ranks, and how many of them share their feature. Collective."""
        self._merge()
        owner = self._features(self._keys) % world.size
        mine = np.unique(np.concatenate(world.alltoall([self._keys[owner == rank] for rank in range(world.size)], "names")))
        counts = np.unique(self._features(mine), return_counts=True)[1]
        names, alone = world.total([np.array([len(mine), int((counts == 1).sum())])])
        return int(names), int(names - alone)

    def _features(self, keys: np.ndarray) -> np.ndarray:
        signed = (keys >> np.uint64(32)).astype(np.uint32).view(np.int32).astype(np.int64)
        return np.abs(signed) % self.cols
