"""Vectors on the GPU: optimiser steps in one pass, the largest coordinates, signs and small numbers packed into words.

Vectors are (n,) float64 or float32. Words are uint32; code i of b bits fills the bits from b i on, lowest bits and words
first: on a little-endian machine the bytes are those of `host.bits`.
"""

from math import sqrt

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import UsageError
from mpiopt.kernels.device.launch import THREADS, blocks_for, kernel, library, run, same_kind, sums
from mpiopt.kernels.replicated import power

BINS = 2048  # of a selection's pass: 11 bits
FORMS = ("inside", "outside", "nesterov")


def gradient_step(x: Array, g: Array, lr: float) -> None:
    """x -= lr g, in place."""
    same_kind(x, g)
    run(kernel("updates", "gradient_step", x.dtype), x.size, np.int64(x.size), g, x, np.float64(-lr))


def momentum_step(x: Array, g: Array, v: Array, lr: float, gamma: float = 0.9, form: str = "inside") -> None:
    """One step in place on x and v.

    form : "inside", v <- gamma v - lr g, x += v (with g taken at x + gamma v it is Nesterov's own); "outside",
    v <- gamma v + g, x -= lr v; "nesterov", v <- gamma v + g, x -= lr (g + gamma v). As in `transforms.momentum`.
    """
    same_kind(x, g, v)
    if form not in FORMS:
        raise UsageError(f"there is no form {form!r} of momentum: choose one of {', '.join(FORMS)}")
    a, b, c = {"inside": (-lr, 1.0, 0.0), "outside": (1.0, -lr, 0.0), "nesterov": (1.0, -lr * gamma, -lr)}[form]
    run(kernel("updates", "momentum_step", x.dtype), x.size, np.int64(x.size), g, v, x, *map(np.float64, (gamma, a, b, c)))


def adam_step(
    x: Array,
    g: Array,
    mean: Array,
    square: Array,
    t: int,
    lr: float = 1e-3,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> None:
    """Step number t >= 1 of Adam in place on x, mean and square, as in `transforms.adaptive.Adam`."""
    same_kind(x, g, mean, square)
    root = sqrt(1 - power(b2, t))
    numbers = b1, b2, -lr * root / (1 - power(b1, t)), eps * root
    run(kernel("updates", "adam_step", x.dtype), x.size, np.int64(x.size), g, mean, square, x, *map(np.float64, numbers))


def inner(a: Array, b: Array) -> float:
    """a.b in float64, the same bits in every run and on every card."""
    same_kind(a, b)
    return float(sums("updates", "inner_product", 1, a.dtype, a.size, a, b)[0])


def largest(x: Array, k: int) -> tuple[Array, Array]:
    """Indices (k,) int64, ascending, and values (k,) of the k largest |x_i|; of equal ones those that come first.

    NaN counts as larger than infinity, as in `host.select`. A radix selection: 3 (float32) or 6 (float64) passes over
    x, then one to count and one to write. Raises UsageError unless 0 <= k <= n.
    """
    if not 0 <= k <= x.size:
        raise UsageError(f"the {k} largest of {x.size} coordinates were asked for: give a number from 0 to {x.size}")
    cupy = library()
    index, value = cupy.empty(k, np.int64), cupy.empty(k, x.dtype)
    if k == 0:
        return index, value
    threshold, ties = _threshold(x, k)
    blocks = blocks_for(x.size)
    span = -(-x.size // (blocks * THREADS)) * THREADS
    counts = cupy.empty(2 * blocks, np.int64)
    head = np.int64(x.size), np.int64(span), x, np.uint64(threshold)
    run(kernel("packing", "count_large", x.dtype), blocks * THREADS, *head, counts)
    above, equal = counts[:blocks], counts[blocks:]
    before = cupy.cumsum(above) - above, cupy.cumsum(equal) - equal
    run(kernel("packing", "take_large", x.dtype), blocks * THREADS, *head, np.int64(ties), *before, index, value)
    return index, value


def _threshold(x: Array, k: int) -> tuple[int, int]:
    """The k-th largest magnitude as an integer, and how many equal to it are among the k."""
    cupy, prefix, wanted = library(), 0, k
    for shift in (22, 11, 0) if x.dtype == np.float32 else (55, 44, 33, 22, 11, 0):
        counts = cupy.zeros(BINS, np.uint64)
        run(
            kernel("packing", "magnitude_counts", x.dtype),
            blocks_for(x.size) * THREADS,
            np.int64(x.size),
            x,
            np.uint64(prefix),
            np.int32(shift),
            counts,
        )
        from_the_top = np.cumsum(counts.get()[::-1])
        place = int(np.searchsorted(from_the_top, wanted))
        wanted -= int(from_the_top[place - 1]) if place else 0
        prefix = prefix * BINS + BINS - 1 - place
    return prefix, wanted


def signs(x: Array) -> Array:
    """Bit i = whether x_i < 0: (ceil(n / 32),) uint32."""
    words = library().empty(-(-x.size // 32), np.uint32)
    run(kernel("packing", "pack_signs", x.dtype), x.size, np.int64(x.size), x, words)
    return words


def signed(words: Array, n: int, scale: float = 1.0, dtype=np.float64) -> Array:
    """-scale where the bit is set and scale elsewhere, (n,)."""
    _enough(words, n, 1)
    x = library().empty(n, dtype)
    run(kernel("packing", "unpack_signs", x.dtype), n, np.int64(n), words, np.float64(scale), x)
    return x


def pack(codes: Array, bits: int) -> Array:
    """The low ``bits`` (1 to 32) of codes (n,) uint32 side by side: (ceil(n bits / 32),) uint32."""
    if codes.dtype != np.uint32 or not 1 <= bits <= 32:
        raise UsageError(f"codes to pack are uint32 of 1 to 32 bits; got {codes.dtype} and {bits} bits")
    words = library().empty(-(-codes.size * bits // 32), np.uint32)
    run(kernel("packing", "pack_bits", np.dtype(np.float64)), words.size, np.int64(codes.size), np.int64(bits), codes, words)
    return words


def unpack(words: Array, n: int, bits: int) -> Array:
    """The codes (n,) uint32 of `pack`."""
    _enough(words, n, bits)
    codes = library().empty(n, np.uint32)
    run(kernel("packing", "unpack_bits", np.dtype(np.float64)), n, np.int64(n), np.int64(bits), words, codes)
    return codes


def _enough(words: Array, n: int, bits: int) -> None:
    if words.dtype != np.uint32 or words.size != -(-n * bits // 32) or not 1 <= bits <= 32:
        raise UsageError(
            f"{n} codes of {bits} bits fill {-(-n * bits // 32)} words of uint32; got {words.dtype}({words.size},)"
        )
