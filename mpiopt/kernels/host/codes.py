"""What compressors need of vectors on the CPU; `device.codes` has the same functions for vectors on a GPU.

Vectors are (n,) float32 or float64. A bucket is ``bucket`` coordinates in a row, the last perhaps fewer. What is sent lies
in host memory wherever the vector is: ``packed`` (.,) uint8, written or read from byte ``at`` on, and the scales.
"""

import numpy as np

from mpiopt.kernels.host import bits, quantise, select, shuffle
from mpiopt.kernels.host.bits import CHUNK


def peaks(x: np.ndarray, bucket: int) -> np.ndarray:
    """The largest magnitude of each bucket, like x; NaN above infinity above all numbers."""
    out = np.empty(-(-x.size // bucket), x.dtype)
    select.peaks(_keys(x), bucket, _keys(out))
    return out


def measure(x: np.ndarray, bucket: int, kind: int) -> np.ndarray:
    """The mean magnitude or the Euclidean length of each bucket, float64; see `quantise.measure`."""
    out = np.empty(-(-x.size // bucket))
    quantise.measure(x, bucket, kind, out)
    return out


def two_means(x: np.ndarray, bucket: int) -> np.ndarray:
    """The mean of each bucket's entries >= 0 and that of its negative ones, (buckets, 2) float64, 0 where there are none."""
    out = np.empty((-(-x.size // bucket), 2))
    quantise.two_means(x, bucket, out)
    return out


def largest(x: np.ndarray, k: int) -> np.ndarray:
    """Where the k largest magnitudes are, (k,) int64, ascending; of equal ones those that come first; 1 <= k <= n."""
    out = np.empty(k, np.int64)
    select.largest(_keys(x), k, out)
    return out


def subset(key: int, first: int, count: int, n: int) -> np.ndarray:
    """The places ``first`` to first + count - 1 of a random permutation of 0 .. n - 1, (count,) int64."""
    out = np.empty(count, np.int64)
    shuffle.subset(np.uint64(key), first, n, out)
    return out


def scatter(values: np.ndarray, indices: np.ndarray, scale: float, out: np.ndarray) -> None:
    """out[indices[i]] += scale values[i]; an index beyond the end of ``out`` is passed over, and none occurs twice."""
    select.scatter(values, indices, scale, out)


def signs(x: np.ndarray, packed: np.ndarray, at: int) -> None:
    """One bit a coordinate: 1 where x < 0."""
    quantise.signs(x, packed, at)


def pack(codes: np.ndarray, b: int, packed: np.ndarray, at: int) -> None:
    """Codes (n,) int64 of b <= 32 bits side by side."""
    bits.pack(codes, codes.size, b, packed, at)


def unpack(packed: np.ndarray, at: int, n: int, b: int) -> np.ndarray:
    """The codes (n,) int64 of `pack`."""
    out = np.empty(n, np.int64)
    bits.unpack(packed, at, n, b, out)
    return out


def dither(x: np.ndarray, scales: np.ndarray, bucket: int, levels: int, b: int, key: int, packed: np.ndarray, at: int) -> None:
    """|x_j| rounded to a multiple of scale / levels at random; see `quantise.dither`."""
    quantise.dither(x, scales, bucket, levels, b, np.uint64(key), packed, at, _room(b))


def powers(
    x: np.ndarray, scales: np.ndarray, bucket: int, low: int, top: int, b: int, key: int, packed: np.ndarray, at: int
) -> None:
    """|x_j| / scale rounded to 0 or a power of two at random; see `quantise.powers`."""
    quantise.powers(x, scales, bucket, low, top, b, np.uint64(key), packed, at, _room(b))


def look_up(
    packed: np.ndarray,
    at: int,
    b: int,
    table: np.ndarray,
    scales: np.ndarray,
    bucket: int,
    scale: float,
    fresh: bool,
    out: np.ndarray,
) -> None:
    """out_j = scale scales[bucket of j] table[code of j] if ``fresh``, else out_j += that."""
    quantise.look_up(packed, at, b, table, scales, bucket, scale, fresh, out, _room(b))


def choose(packed: np.ndarray, at: int, pairs: np.ndarray, bucket: int, scale: float, fresh: bool, out: np.ndarray) -> None:
    """out_j = scale pairs[bucket of j, bit of j] if ``fresh``, else out_j += that. pairs : (buckets, 2)."""
    quantise.choose(packed, at, pairs, bucket, scale, fresh, out)


def _keys(x: np.ndarray) -> np.ndarray:
    """The bits of x as unsigned integers; without their sign bit they are ordered as the magnitudes are."""
    return x.view(np.uint32 if x.itemsize == 4 else np.uint64)


def _room(b: int) -> np.ndarray:
    """Where kernels put the codes of a chunk."""
    return np.empty(CHUNK, np.uint8 if b <= 8 else np.uint16)
