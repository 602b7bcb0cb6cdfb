"""What compressors need of vectors on a GPU: the functions of `host.codes`.

Only what is sent crosses: codes are made, and turned back into numbers, on the card. Random numbers, codes and indices
are those of the CPU bit for bit; sums (`measure`, `two_means`) are added in another order, and agree to their last digits.
"""

from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.device import vectors
from mpiopt.kernels.device.launch import THREADS, blocks_for, kernel, library, run
from mpiopt.kernels.host.bits import TRITS
from mpiopt.kernels.host.quantise import MEAN

F8 = np.dtype(np.float64)


def peaks(x: Array, bucket: int) -> np.ndarray:
    """The largest magnitude of each bucket, like x but in host memory; NaN above infinity above all numbers."""
    tops = _stretches(x, bucket, "bucket_peaks", 1, np.uint64).max(axis=(1, 2))
    return tops.astype(np.uint32).view(x.dtype) if x.itemsize == 4 else tops.view(x.dtype)


def measure(x: Array, bucket: int, kind: int) -> np.ndarray:
    """The mean magnitude or the Euclidean length of each bucket, float64, in host memory."""
    if kind != MEAN:
        return np.sqrt(_stretches(x, bucket, "bucket_squares", 1, np.float64).sum(axis=(1, 2)))
    return _stretches(x, bucket, "bucket_sums", 1, np.float64).sum(axis=(1, 2)) / _lengths(x.size, bucket)


def two_means(x: Array, bucket: int) -> np.ndarray:
    """The mean of each bucket's entries >= 0 and that of its negative ones, (buckets, 2) float64, in host memory."""
    up, down, low = _stretches(x, bucket, "bucket_halves", 3, np.float64).sum(axis=1).T
    return np.stack([up / np.maximum(1, _lengths(x.size, bucket) - low), down / np.maximum(1, low)], axis=1)


def _lengths(n: int, bucket: int) -> np.ndarray:
    out = np.full(-(-n // bucket), bucket)
    out[-1] = n - bucket * (out.size - 1)
    return out


def _stretches(x: Array, bucket: int, name: str, width: int, kind: type) -> np.ndarray:
    """``width`` numbers of every stretch of every bucket, (buckets, stretches, width), in host memory."""
    buckets, parts = -(-x.size // bucket), blocks_for(bucket)
    partial = library().empty(buckets * parts * width, kind)
    piece = -(-bucket // parts)
    run(kernel("codes", name, x.dtype), buckets * parts * THREADS, *map(np.int64, (x.size, bucket, piece, parts)), x, partial)
    return partial.get().reshape(buckets, parts, width)


def largest(x: Array, k: int) -> Array:
    """Where the k largest magnitudes are, (k,) int64, ascending; of equal ones those that come first."""
    return vectors.largest(x, k)[0]


def subset(key: int, first: int, count: int, n: int) -> Array:
    """The places ``first`` to first + count - 1 of a random permutation of 0 .. n - 1, (count,) int64."""
    out = library().empty(count, np.int64)
    wide = np.int32(max(2, (n - 1).bit_length()))
    run(kernel("codes", "subset", F8), count, np.int64(count), np.uint64(key), np.int64(first), np.int64(n), wide, out)
    return out


def scatter(values: Array, indices: Array, scale: float, out: Array) -> None:
    """out[indices[i]] += scale values[i]; an index beyond the end of ``out`` is passed over, and none occurs twice."""
    run(
        kernel("codes", "scatter", out.dtype),
        values.size,
        np.int64(values.size),
        np.int64(out.size),
        values,
        indices,
        np.float64(scale),
        out,
    )


def signs(x: Array, packed: np.ndarray, at: int) -> None:
    """One bit a coordinate: 1 where x < 0."""
    _bring(vectors.signs(x), packed, at, -(-x.size // 8))


def pack(codes: Array, b: int, packed: np.ndarray, at: int) -> None:
    """Codes (n,) of b <= 32 bits side by side."""
    _bring(vectors.pack(codes.astype(np.uint32), b), packed, at, -(-codes.size * b // 8))


def unpack(packed: np.ndarray, at: int, n: int, b: int) -> Array:
    """The codes (n,) int64 of `pack`."""
    return _codes(packed, at, n, b).astype(np.int64)


def dither(x: Array, scales: np.ndarray, bucket: int, levels: int, b: int, key: int, packed: np.ndarray, at: int) -> None:
    """|x_j| rounded to a multiple of scale / levels at random; see `quantise.dither`."""
    about = np.float64(levels), np.uint32(2 if b == TRITS else 1 << (b - 1)), np.int32(b == TRITS)
    _packed(_rounded("dither", x, scales, bucket, key, *about), b, packed, at)


def powers(
    x: Array, scales: np.ndarray, bucket: int, low: int, top: int, b: int, key: int, packed: np.ndarray, at: int
) -> None:
    """|x_j| / scale rounded to 0 or a power of two at random; see `quantise.powers`."""
    about = np.int32(low), np.float64(2.0**low), np.float64(2.0**-low), np.int64(top), np.uint32(1 << (b - 1))
    _packed(_rounded("powers", x, scales, bucket, key, *about), b, packed, at)


def _rounded(name: str, x: Array, scales: np.ndarray, bucket: int, key: int, *about: Any) -> Array:
    """The codes (n,) uint32 of x, by the kernel ``name``, which takes what is ``about`` its rounding."""
    codes = library().empty(x.size, np.uint32)
    where = np.int64(x.size), np.int64(bucket), x, _there(scales, x.dtype), np.uint64(key)
    run(kernel("codes", name, x.dtype), x.size, *where, *about, codes)
    return codes


def look_up(
    packed: np.ndarray,
    at: int,
    b: int,
    table: np.ndarray,
    scales: np.ndarray,
    bucket: int,
    scale: float,
    fresh: bool,
    out: Array,
) -> None:
    """out_j = scale scales[bucket of j] table[code of j] if ``fresh``, else out_j += that."""
    codes = _codes(packed, at, out.size, b)
    run(
        kernel("codes", "look_up", out.dtype),
        out.size,
        np.int64(out.size),
        np.int64(bucket),
        codes,
        _there(table, F8),
        _there(scales, out.dtype),
        np.float64(scale),
        np.int32(fresh),
        out,
    )


def choose(packed: np.ndarray, at: int, pairs: np.ndarray, bucket: int, scale: float, fresh: bool, out: Array) -> None:
    """out_j = scale pairs[bucket of j, bit of j] if ``fresh``, else out_j += that. pairs : (buckets, 2)."""
    words = _sent(packed, at, -(-out.size // 8))
    run(
        kernel("codes", "choose", out.dtype),
        out.size,
        np.int64(out.size),
        np.int64(bucket),
        words,
        _there(pairs.reshape(-1), F8),
        np.float64(scale),
        np.int32(fresh),
        out,
    )


# ------------------------------------------------------------------------------------------ what crosses
def _packed(codes: Array, b: int, packed: np.ndarray, at: int) -> None:
    """Codes (n,) uint32 of b bits, or trits, as bytes in host memory."""
    if b != TRITS:
        pack(codes, b, packed, at)
        return
    out = library().empty(-(-codes.size // 5), np.uint8)
    run(kernel("codes", "pack_trits", F8), out.size, np.int64(codes.size), codes, out)
    _bring(out, packed, at, out.size)


def _codes(packed: np.ndarray, at: int, n: int, b: int) -> Array:
    """The inverse: (n,) uint32."""
    if b != TRITS:
        return vectors.unpack(_sent(packed, at, -(-n * b // 8)), n, b)
    codes, sent = library().empty(n, np.uint32), _sent(packed, at, -(-n // 5))
    run(kernel("codes", "unpack_trits", F8), n, np.int64(n), sent.view(np.uint8), codes)
    return codes


def _bring(there: Any, packed: np.ndarray, at: int, count: int) -> None:
    """Copy the first ``count`` bytes of an array of the card, and wait for them."""
    there.view(np.uint8)[:count].get(out=packed[at : at + count])
    library().cuda.get_current_stream().synchronize()


def _sent(packed: np.ndarray, at: int, count: int) -> Array:
    """``count`` bytes of ``packed`` on the card, as words; the last one's rest is whatever was there, and never looked at."""
    words = library().empty(-(-count // 4), np.uint32)
    words.view(np.uint8)[:count].set(packed[at : at + count])
    return words


def _there(numbers: np.ndarray, kind: np.dtype) -> Array:
    return library().asarray(np.ascontiguousarray(numbers, kind))
