"""Compressors that send fewer numbers: the payload is a shorter vector and, beside it, what says where it belongs.

A linear one sends the shorter vector alone, in the type of x; another sends its bytes, then the bytes beside it. `Then`
compresses the shorter vector once more.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.staging import brought, returned
from mpiopt.compress.compressor import Compressor, Payload, Stream, segment

NOTHING = np.zeros(0, np.uint8)


@dataclass(frozen=True)
class Reducer(Compressor):
    """A compressor in two stages: numbers kept, and their coding (here: as they are)."""

    gpu: ClassVar[bool] = True

    @property
    def projection(self) -> bool:
        """Whether decode(encode(x)) keeps some coordinates of x as they are, and 0 for the others."""
        return False

    @property
    def selects(self) -> bool:
        """Whether the numbers kept are entries of x, and come back each to its place, times one factor."""
        return True

    @abstractmethod
    def length(self, d: int) -> int:
        """The number of numbers kept of ``d``. Raises UsageError where that is impossible."""

    def beside(self, d: int) -> int:
        """The number of bytes sent beside them."""
        return 0

    @abstractmethod
    def reduce(self, x: Array, stream: Stream) -> tuple[Array, np.ndarray]:
        """The numbers kept, (length,) like x, where x is; and the bytes beside them, in host memory.

        Raises NumericalError.
        """

    @abstractmethod
    def expand(self, kept: Array, beside: np.ndarray, out: Array, stream: Stream, scale: float) -> None:
        """out += scale times the vector of these numbers, which are where ``out`` is."""

    def nbytes(self, d: int, dtype: np.typing.DTypeLike = np.float32) -> int:
        """The numbers kept in the type of x, and the bytes beside them."""
        return self.length(d) * np.dtype(dtype).itemsize + self.beside(d)

    def _packed(self, x: Array, stream: Stream) -> Payload:
        """The numbers kept, then the bytes beside them."""
        kept, beside = self.reduce(x, stream)
        kept = brought(kept)
        return kept if self.linear else np.concatenate([kept.view(np.uint8), beside])

    def _write(self, payload: Payload, out: Array, stream: Stream, scale: float, fresh: bool) -> None:
        n = self.length(out.size)
        kept = segment(payload.view(np.uint8), 0, n, out.dtype)
        if fresh:
            out.fill(0)
        self.expand(returned(kept, out), payload.view(np.uint8)[kept.nbytes :], out, stream, scale)
