"""Codes of a few bits for bins as wide as a share of the standard deviation, each decoded as the mean of what fell into it."""

from dataclasses import dataclass
from math import frexp

import numpy as np

from mpiopt.arrays import Array
from mpiopt.compress.compressor import Compressor, Payload, Stream, demand, kernels, peak, segment


@dataclass(frozen=True)
class Bins(Compressor):
    """2^bits bins about the mean, of width range sigma / 2^bits; those at the ends have no end.

    code_j = round((x_j - mean) / width) + 2^(bits - 1), between 0 and 2^bits - 1. The payload: the value of every bin, then
    the codes. Biased, and without a contraction constant that does not fall with d: for numbers that another compressor has
    kept, with error feedback. Sarfi, Therien, Lidin, Belilovsky, Communication efficient LLM pre-training with SparseLoCo,
    2025, arXiv 2508.15706, as in the authors' code. Raises UsageError unless 1 <= bits <= 8 and range > 0.
    """

    bits: int = 2
    range: float = 6.0

    def __post_init__(self) -> None:
        demand(1 <= self.bits <= 8, "bits", self.bits, "1 to 8")
        demand(self.range > 0, "the range of bins in standard deviations", self.range, "a number above 0")

    def nbytes(self, d: int, dtype: np.typing.DTypeLike = np.float32) -> int:
        """A number a bin, and the codes."""
        return np.dtype(dtype).itemsize * (1 << self.bits) + -(-d * self.bits // 8)

    def _packed(self, x: Array, stream: Stream) -> Payload:
        """Codes of the nearest middles."""
        power = frexp(peak(x))[1]  # near 1, exactly: squares need room
        bins, wide = 1 << self.bits, np.ldexp(x.astype(np.float64), -power)
        mean = wide.mean()
        wide -= mean
        width = self.range * np.sqrt((wide @ wide) / max(1, x.size - 1)) / bins
        codes = np.clip(np.rint(wide / (width or 1.0)) + bins // 2, 0, bins - 1).astype(np.int64)
        counts = np.bincount(codes, minlength=bins)
        values = mean + np.bincount(codes, wide, bins) / np.maximum(counts, 1)
        payload = np.zeros(self.nbytes(x.size, x.dtype), np.uint8)
        payload[: bins * x.itemsize] = np.ldexp(values, power).astype(x.dtype).view(np.uint8)
        kernels(x).pack(codes, self.bits, payload, bins * x.itemsize)
        return payload

    def _write(self, payload: Payload, out: Array, stream: Stream, scale: float, fresh: bool) -> None:
        bins = 1 << self.bits
        values = segment(payload, 0, bins, out.dtype)
        found = values[kernels(out).unpack(payload, bins * out.itemsize, out.size, self.bits)]
        if fresh:
            out.fill(0)
        out += found if scale == 1 else found * out.dtype.type(scale)
