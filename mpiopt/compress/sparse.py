"""All entries of a vector, which add up, or the k largest (delta = k / d), which are gathered: every worker keeps others.

Of the k largest there are those of the whole vector, and those of each chunk of it, whose places take fewer bits.
"""

from dataclasses import dataclass

import numpy as np

from mpiopt.arrays import Array, namespace
from mpiopt.comm.staging import room
from mpiopt.compress.compressor import Stream, demand, demand_finite, demand_vector, kernels, peak
from mpiopt.compress.reducer import NOTHING, Reducer

DEFAULT = 0.01  # of the coordinates


@dataclass(frozen=True)
class Identity(Reducer):
    """The vector as it is."""

    @property
    def unbiased(self) -> bool:
        """Yes."""
        return True

    @property
    def linear(self) -> bool:
        """Yes."""
        return True

    @property
    def projection(self) -> bool:
        """Yes."""
        return True

    def omega(self, d: int) -> float:
        """0."""
        return 0.0

    def length(self, d: int) -> int:
        """d."""
        return d

    def reduce(self, x: Array, stream: Stream) -> tuple[Array, np.ndarray]:
        """A copy."""
        peak(x)
        return x.copy(), NOTHING

    def expand(self, kept: Array, beside: np.ndarray, out: Array, stream: Stream, scale: float) -> None:
        """One pass."""
        out += kept if scale == 1 else kept * out.dtype.type(scale)


@dataclass(frozen=True)
class Few(Reducer):
    """k coordinates, or a fraction of them, one at least; 0.01 unless given. Raises UsageError for what cannot be kept."""

    fraction: float | None = None
    k: int | None = None

    def __post_init__(self) -> None:
        demand(self.fraction is None or self.k is None, "k", self.k, "a fraction or k, not both")
        demand(self.fraction is None or 0 < self.fraction <= 1, "the fraction kept", self.fraction, "one above 0, up to 1")
        demand(self.k is None or self.k >= 1, "k", self.k, "at least 1")

    def length(self, d: int) -> int:
        """k, or the fraction of d to the nearest."""
        if self.k is None:
            return max(1, round((DEFAULT if self.fraction is None else self.fraction) * d))
        demand(self.k <= d, "k", self.k, f"at most the {d} coordinates that there are")
        return self.k

    def share(self, d: int) -> float:
        """k / d."""
        return self.length(d) / d


@dataclass(frozen=True)
class TopK(Few):
    """The k entries of largest magnitude, exactly; of equal ones the first.

    Aji, Heafield, Sparse communication for distributed gradient descent, 2017; Stich, Cordonnier, Jaggi, Sparsified SGD with
    memory, 2018, lemma A.1. Values in the type of x, then indices in ceil(log2 d) bits each, in order. For large d a
    threshold from a sample leaves few candidates, so that one pass over x is enough.
    """

    @property
    def projection(self) -> bool:
        """Yes."""
        return True

    def delta(self, d: int) -> float:
        """k / d."""
        return self.share(d)

    def beside(self, d: int) -> int:
        """The indices."""
        return -(-self.length(d) * index_bits(d) // 8)

    def reduce(self, x: Array, stream: Stream) -> tuple[Array, np.ndarray]:
        """Values and packed indices."""
        demand_vector(x)
        chosen, packed = kernels(x).largest(x, self.length(x.size)), room(x, self.beside(x.size), np.uint8)
        kept = x[chosen]
        demand_finite(float(abs(kept).max()))  # bits that stand for no finite number are larger than all others
        kernels(x).pack(chosen, index_bits(x.size), packed, 0)
        return kept, packed

    def expand(self, kept: Array, beside: np.ndarray, out: Array, stream: Stream, scale: float) -> None:
        """k additions."""
        chosen = kernels(out).unpack(beside, 0, kept.size, index_bits(out.size))
        kernels(out).scatter(kept, chosen, scale, out)


@dataclass(frozen=True)
class ChunkTopK(Reducer):
    """The k entries of largest magnitude of every chunk; of a last, shorter chunk as large a share, one at least.

    Sarfi, Therien, Lidin, Belilovsky, Communication efficient LLM pre-training with SparseLoCo, 2025, arXiv 2508.15706, whose
    chunks are tiles of a matrix; here those of its rows one after the other. Values in the type of x, then places in
    ceil(log2 chunk) bits each. Raises UsageError unless 1 <= k <= chunk.
    """

    k: int = 64
    chunk: int = 4096

    def __post_init__(self) -> None:
        demand(self.chunk >= 1, "the length of a chunk", self.chunk, "at least 1")
        demand(1 <= self.k <= self.chunk, "k", self.k, f"1 to the {self.chunk} coordinates of a chunk")

    @property
    def projection(self) -> bool:
        """Yes."""
        return True

    def _counts(self, d: int) -> list[int]:
        """How many are kept of every chunk."""
        whole, rest = divmod(d, self.chunk)
        return [self.k] * whole + [max(1, round(self.k * rest / self.chunk))] * (rest > 0)

    def length(self, d: int) -> int:
        """The sum over the chunks."""
        return sum(self._counts(d))

    def delta(self, d: int) -> float:
        """The smallest share of a chunk."""
        return min(count / min(self.chunk, d - i * self.chunk) for i, count in enumerate(self._counts(d)))

    def beside(self, d: int) -> int:
        """The places."""
        return -(-self.length(d) * index_bits(self.chunk) // 8)

    def reduce(self, x: Array, stream: Stream) -> tuple[Array, np.ndarray]:
        """Values and packed places."""
        demand_vector(x)
        home, packed = kernels(x), room(x, self.beside(x.size), np.uint8)
        starts = range(0, x.size, self.chunk)
        places = [home.largest(x[at : at + self.chunk], n) for at, n in zip(starts, self._counts(x.size), strict=True)]
        chosen = namespace(x).concatenate([at + place for at, place in zip(starts, places, strict=True)])
        kept = x[chosen]
        demand_finite(float(abs(kept).max()))
        home.pack(chosen % self.chunk, index_bits(self.chunk), packed, 0)
        return kept, packed

    def expand(self, kept: Array, beside: np.ndarray, out: Array, stream: Stream, scale: float) -> None:
        """An addition for each."""
        chosen = kernels(out).unpack(beside, 0, kept.size, index_bits(self.chunk))
        counts = np.array(self._counts(out.size))
        chosen += namespace(chosen).asarray(np.repeat(self.chunk * np.arange(counts.size), counts))
        kernels(out).scatter(kept, chosen, scale, out)


def index_bits(d: int) -> int:
    """ceil(log2 d), and 1 for d = 1."""
    return max(1, (d - 1).bit_length())
