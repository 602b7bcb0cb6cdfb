"""Stochastic and sign quantisers: each coordinate becomes a small integer, packed at once, and comes back by a table.

x : (d,) float32 or float64 lies in buckets of ``bucket`` coordinates (the last may be shorter), one scale each.
key : uint64 names the random numbers; coordinate j takes the j-th of them, whatever the buckets are.
packed : (.,) uint8, written or read from byte ``at`` on. Codes with a sign bear it in their highest bit.
"""

import numpy as np

from mpiopt.kernels.host.bits import CHUNK, TRITS, kernel, noise, pack, part, unpack

MEAN, EUCLIDEAN = 1, 2  # the powers of the two norms
_U = 2.0**-32


@part
def _magnitudes(x, lo, hi, kind):
    """The sum of |x_j|^kind from lo to hi: four sums, in an order that is the same on all CPUs."""
    a = b = c = d = 0.0
    for j in range(lo, hi - 3, 4):
        s, t = abs(np.float64(x[j])), abs(np.float64(x[j + 1]))
        u, v = abs(np.float64(x[j + 2])), abs(np.float64(x[j + 3]))
        a += s if kind == MEAN else s * s
        b += t if kind == MEAN else t * t
        c += u if kind == MEAN else u * u
        d += v if kind == MEAN else v * v
    for j in range(hi - (hi - lo) % 4, hi):
        s = abs(np.float64(x[j]))
        a += s if kind == MEAN else s * s
    return (a + b) + (c + d)


@kernel
def measure(x, bucket, kind, out):
    """out[i] : float64, the mean magnitude or the Euclidean length of bucket i; not finite if an entry of x is not."""
    for i in range(out.size):
        lo, hi = i * bucket, min((i + 1) * bucket, x.size)
        total = _magnitudes(x, lo, hi, kind)
        out[i] = total / (hi - lo) if kind == MEAN else np.sqrt(total)


@kernel
def two_means(x, bucket, out):
    """out[i] : the mean of the entries >= 0 of bucket i and the mean of its negative ones, 0 where there are none."""
    for i in range(out.shape[0]):
        lo, hi = i * bucket, min((i + 1) * bucket, x.size)
        up, down, n = np.zeros(4), np.zeros(4), np.int64(0)
        for j in range(lo, hi):
            v = np.float64(x[j])
            low = v < 0
            down[(j - lo) & 3] += v if low else 0.0
            up[(j - lo) & 3] += 0.0 if low else v
            n += low
        out[i, 0] = ((up[0] + up[1]) + (up[2] + up[3])) / max(1, hi - lo - n)
        out[i, 1] = ((down[0] + down[1]) + (down[2] + down[3])) / max(1, n)


@kernel
def signs(x, packed, at):
    """One bit a coordinate: 1 where x < 0."""
    codes = np.empty(CHUNK, np.uint8)
    for lo in range(0, x.size, CHUNK):
        n = min(CHUNK, x.size - lo)
        for i in range(n):
            codes[i] = x[lo + i] < 0
        full = n // 8
        for g in range(full):
            byte = np.uint8(0)
            for i in range(8):
                byte |= np.uint8(codes[8 * g + i] << np.uint8(i))
            packed[at + lo // 8 + g] = byte
        if n % 8:
            pack(codes[8 * full :], n % 8, 1, packed, at + lo // 8 + full)


@part
def _ready(scale, levels):
    """Factors a, b with a b = levels / scale, of which none overflows; 0 for a scale of 0."""
    if scale == 0.0:
        return 0.0, 0.0
    before = 1.0 if scale > 1e-280 else 2.0**300
    return before, levels / (scale * before)


# The loops below run over slices from 0 on: an index that cannot be negative is what lets them use vector instructions.


@part
def _dither(x, random, before, factor, top, sign, codes):
    for m in range(x.size):
        v = np.float64(x[m])
        level = np.int32(min(abs(v) * before * factor + np.float64(random[m]) * _U, top))
        codes[m] = level | (sign if v < 0 else 0)


@kernel
def dither(x, scales, bucket, levels, b, key, packed, at, codes):
    """|x_j| rounded to a multiple of scale / levels, up or down at random so that its mean is |x_j|.

    Alistarh, Grubic, Li, Tomioka, Vojnovic, QSGD: communication-efficient SGD via gradient quantization and encoding,
    2017, section 3.1. b : bits of sign and level; TRITS for levels = 1, five coordinates a byte.
    codes : (CHUNK,) uint8 or uint16, room for them.
    """
    random = np.empty(CHUNK, np.uint32)
    top, sign = np.float64(levels), np.int32(2 if b == TRITS else 1 << (b - 1))
    for lo in range(0, x.size, CHUNK):
        n = min(CHUNK, x.size - lo)
        noise(key, lo // CHUNK, random)
        i = 0
        while i < n:
            at_bucket = (lo + i) // bucket
            end = min(n, (at_bucket + 1) * bucket - lo)
            before, factor = _ready(np.float64(scales[at_bucket]), top)
            _dither(x[lo + i : lo + end], random[i:end], before, factor, top, sign, codes[i:end])
            i = end
        if b == TRITS:
            for m in range(n):
                codes[m] = (codes[m] & 1) * (1 + (codes[m] >> 1))  # 0, 1 and, with the sign bit, 2
            pack(codes, n, TRITS, packed, at + lo // 5)
        else:
            pack(codes, n, b, packed, at + lo // 8 * b)


@kernel
def grid(x, scales, bucket, b, key, packed, at, codes):
    """x_j, from -scale to scale, rounded to one of 2^b even points between them, ends included, so that its mean is x_j."""
    random = np.empty(CHUNK, np.uint32)
    top = np.float64((1 << b) - 1)
    for lo in range(0, x.size, CHUNK):
        n = min(CHUNK, x.size - lo)
        noise(key, lo // CHUNK, random)
        i = 0
        while i < n:
            at_bucket = (lo + i) // bucket
            end = min(n, (at_bucket + 1) * bucket - lo)
            before, factor = _ready(np.float64(scales[at_bucket]), 0.5 * top)
            _grid(x[lo + i : lo + end], random[i:end], before, factor, top, codes[i:end])
            i = end
        pack(codes, n, b, packed, at + lo // 8 * b)


@part
def _grid(x, random, before, factor, top, codes):
    for m in range(x.size):
        part = x[m] * before * factor + 0.5 * top
        codes[m] = np.int32(max(0.0, min(part + np.float64(random[m]) * _U, top)))


@kernel
def powers(x, scales, bucket, low, top, b, key, packed, at, codes):
    """|x_j| / scale rounded to 0 or a power of two from 2^low on, up or down at random so that its mean stays.

    Horvath, Ho, Horvath, Sahu, Canini, Richtarik, Natural compression for distributed deep learning, 2022, definitions 3
    and 5. Code 0 is 0 and code c is 2^(low + c - 1), ``top`` at most; b : bits of sign and code.
    """
    random, parts = np.empty(CHUNK, np.uint32), np.empty(CHUNK, np.float64)
    for lo in range(0, x.size, CHUNK):
        n = min(CHUNK, x.size - lo)
        noise(key, lo // CHUNK, random)
        i = 0
        while i < n:
            at_bucket = (lo + i) // bucket
            end = min(n, (at_bucket + 1) * bucket - lo)
            before, factor = _ready(np.float64(scales[at_bucket]), 1.0)
            _parts(x[lo + i : lo + end], before, factor, parts[i:end])
            i = end
        _powers(parts, random, low, top, codes)
        _mark(x[lo : lo + n], 1 << (b - 1), codes)
        pack(codes, n, b, packed, at + lo // 8 * b)


@part
def _parts(x, before, factor, parts):
    for m in range(x.size):
        parts[m] = abs(np.float64(x[m])) * before * factor


@part
def _powers(parts, random, low, top, codes):
    """A random number added to the mantissa carries into the exponent with the right probability."""
    bits, least, inverse, first = parts.view(np.int64), 2.0**low, 2.0**-low, 1023 + low - 1
    for m in range(CHUNK):
        tiny = 1 if parts[m] * inverse + np.float64(random[m]) * _U >= 1.0 else 0
        code = min(((bits[m] + (np.int64(random[m]) << 20)) >> 52) - first, top)
        codes[m] = code if parts[m] >= least else tiny


@part
def _mark(x, sign, codes):
    for m in range(x.size):
        codes[m] |= sign if x[m] < 0 else 0


@kernel
def look_up(packed, at, b, table, scales, bucket, scale, fresh, out, codes):
    """out_j = scale scales[bucket of j] table[code of j] if ``fresh``, else out_j += that.

    table : float64, one number a code. codes : (CHUNK,) uint8 or uint16, room for codes of b bits.
    """
    for lo in range(0, out.size, CHUNK):
        n = min(CHUNK, out.size - lo)
        unpack(packed, at + (lo // 5 if b == TRITS else lo // 8 * b), n, b, codes)
        i = 0
        while i < n:
            at_bucket = (lo + i) // bucket
            end = min(n, (at_bucket + 1) * bucket - lo)
            _look_up(codes[i:end], table, np.float64(scales[at_bucket]) * scale, fresh, out[lo + i : lo + end])
            i = end


@part
def _look_up(codes, table, factor, fresh, out):
    if fresh:
        for m in range(out.size):
            out[m] = table[codes[m]] * factor
    else:
        for m in range(out.size):
            out[m] += table[codes[m]] * factor


@kernel
def choose(packed, at, pairs, bucket, scale, fresh, out):
    """out_j = scale pairs[bucket of j, bit of j] if ``fresh``, else out_j += that. pairs : (buckets, 2)."""
    codes = np.empty(CHUNK, np.uint8)
    for lo in range(0, out.size, CHUNK):
        n = min(CHUNK, out.size - lo)
        unpack(packed, at + lo // 8, n, 1, codes)
        i = 0
        while i < n:
            at_bucket = (lo + i) // bucket
            end = min(n, (at_bucket + 1) * bucket - lo)
            zero, one = np.float64(pairs[at_bucket, 0]) * scale, np.float64(pairs[at_bucket, 1]) * scale
            _choose(codes[i:end], zero, one, fresh, out[lo + i : lo + end])
            i = end


@part
def _choose(codes, zero, one, fresh, out):
    if fresh:
        for m in range(out.size):
            out[m] = one if codes[m] else zero
    else:
        for m in range(out.size):
            out[m] += one if codes[m] else zero
