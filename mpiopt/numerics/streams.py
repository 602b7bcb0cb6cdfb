"""Counter-based random numbers: keyed by what they are for, so that there is nothing to checkpoint.

A stream is named by (seed, purpose, round, worker); the same name gives the same numbers on every rank and after
every restart. Leave the worker out for a stream that all workers share (coins, shared sketches, partitions).
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np


@dataclass(frozen=True)
class Streams:
    """A family of random generators under one ``seed``."""

    seed: int = 0

    def __call__(self, purpose: str, round: int = 0, worker: int = -1) -> np.random.Generator:  # noqa: A002 - the field's word
        """The generator of this purpose, round and worker (Philox 4x64; Salmon et al., Parallel random numbers, 2011)."""
        key = np.array([self.seed & 0xFFFFFFFFFFFFFFFF, crc32(purpose.encode())], np.uint64)
        counter = np.array([0, 0, round, int(worker) & 0xFFFFFFFFFFFFFFFF], np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))
