"""Small integers packed to the bit, and the random numbers that come with them chunk by chunk.

Codes of b bits stand one after the other, lowest bit first, in a string of bytes: code i has the bits b i to b i + b - 1,
bit j of the string being bit j mod 8 of byte j div 8. Eight codes make b bytes, so pieces of a multiple of eight codes
start at whole bytes. Kernels work on CHUNK coordinates at once, whose codes stay in the first-level cache.
"""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.hashing import draw

CHUNK = 640  # coordinates: a multiple of 8 for bits and of 5 for trits
HALF = CHUNK // 2
TRITS = 0  # the width that stands for five codes of 0, 1, 2 in one byte

kernel = njit(cache=True, nogil=True, error_model="numpy")
part = njit(cache=True, part=True, nogil=True, error_model="numpy")
_8, _32, _64 = np.uint64(8), np.uint64(32), np.uint64(64)


@part
def noise(key, chunk, out):
    """out[i] : uint32, the random number of coordinate i of a chunk; two coordinates share one hash."""
    for i in range(HALF):
        h = draw(key, np.uint64(chunk * HALF + i))
        out[i] = np.uint32(h)
        out[HALF + i] = np.uint32(h >> _32)


@kernel
def pack(codes, n, b, out, at):
    """Write n codes of b <= 32 bits to ``out`` : (.,) uint8 from byte ``at`` on; the last byte is filled up with zeros."""
    done = n // 8 * 8 if b <= 8 or b == 9 else 0
    if b == TRITS:
        _pack_trits(codes, n, out, at)
        return
    if b == 8:
        for i in range(done):
            out[at + i] = np.uint8(codes[i])
    elif b == 4:
        for i in range(done // 2):
            out[at + i] = np.uint8(codes[2 * i]) | np.uint8(np.uint8(codes[2 * i + 1]) << np.uint8(4))
    elif b == 9:
        _pack_nine(codes, done, out, at)
    elif b < 8:
        _pack_eights(codes, done, b, out, at)
    at += done // 8 * b
    held, fill, wide = np.uint64(0), np.uint64(0), np.uint64(b)
    for i in range(done, n):
        held |= np.uint64(codes[i]) << fill
        fill += wide
        while fill >= _8:
            out[at] = np.uint8(held)
            at += 1
            held >>= _8
            fill -= _8
    if fill > 0:
        out[at] = np.uint8(held)


@part
def _pack_eights(codes, n, b, out, at):
    wide = np.uint64(b)
    for g in range(n // 8):
        word = np.uint64(0)
        for i in range(8):
            word |= np.uint64(codes[8 * g + i]) << (wide * np.uint64(i))
        for i in range(b):
            out[at + g * b + i] = np.uint8(word >> (_8 * np.uint64(i)))


@part
def _pack_nine(codes, n, out, at):
    for g in range(n // 8):
        word = np.uint64(0)
        for i in range(7):
            word |= np.uint64(codes[8 * g + i]) << np.uint64(9 * i)
        last = np.uint64(codes[8 * g + 7])
        word |= last << np.uint64(63)
        for i in range(8):
            out[at + 9 * g + i] = np.uint8(word >> (_8 * np.uint64(i)))
        out[at + 9 * g + 8] = np.uint8(last >> np.uint64(1))


@part
def _pack_trits(codes, n, out, at):
    for g in range(n // 5):
        i = 5 * g
        out[at + g] = np.uint8(codes[i] + 3 * codes[i + 1] + 9 * codes[i + 2] + 27 * codes[i + 3] + 81 * codes[i + 4])
    rest, weight = 0, 1
    for i in range(n // 5 * 5, n):
        rest += weight * codes[i]
        weight *= 3
    if weight > 1:
        out[at + n // 5] = np.uint8(rest)


@kernel
def unpack(packed, at, n, b, codes):
    """The inverse of `pack`: n codes of b bits from byte ``at`` of ``packed`` on."""
    done = n // 8 * 8 if b <= 8 or b == 9 else 0
    if b == TRITS:
        _unpack_trits(packed, at, n, codes)
        return
    if b == 8:
        for i in range(done):
            codes[i] = packed[at + i]
    elif b == 4:
        for i in range(done // 2):
            codes[2 * i] = packed[at + i] & np.uint8(15)
            codes[2 * i + 1] = packed[at + i] >> np.uint8(4)
    elif b == 1:
        for g in range(done // 8):
            byte = packed[at + g]
            for i in range(8):
                codes[8 * g + i] = (byte >> np.uint8(i)) & np.uint8(1)
    elif b == 9:
        _unpack_nine(packed, at, done, codes)
    elif b < 8:
        _unpack_eights(packed, at, done, b, codes)
    at += done // 8 * b
    held, fill, wide = np.uint64(0), np.uint64(0), np.uint64(b)
    mask = (np.uint64(1) << wide) - np.uint64(1)
    for i in range(done, n):
        while fill < wide:
            held |= np.uint64(packed[at]) << fill
            at += 1
            fill += _8
        codes[i] = held & mask
        held >>= wide
        fill -= wide


@part
def _unpack_eights(packed, at, n, b, codes):
    wide = np.uint64(b)
    mask = (np.uint64(1) << wide) - np.uint64(1)
    for g in range(n // 8):
        word = np.uint64(0)
        for i in range(b):
            word |= np.uint64(packed[at + g * b + i]) << (_8 * np.uint64(i))
        for i in range(8):
            codes[8 * g + i] = (word >> (wide * np.uint64(i))) & mask


@part
def _unpack_nine(packed, at, n, codes):
    mask = np.uint64(511)
    for g in range(n // 8):
        word = np.uint64(0)
        for i in range(8):
            word |= np.uint64(packed[at + 9 * g + i]) << (_8 * np.uint64(i))
        for i in range(7):
            codes[8 * g + i] = (word >> np.uint64(9 * i)) & mask
        codes[8 * g + 7] = (word >> np.uint64(63)) | (np.uint64(packed[at + 9 * g + 8]) << np.uint64(1))


@part
def _unpack_trits(packed, at, n, codes):
    for g in range(n // 5):
        byte = packed[at + g]
        for i in range(5):
            codes[5 * g + i] = byte % np.uint8(3)
            byte //= np.uint8(3)
    byte = packed[at + n // 5] if n % 5 else np.uint8(0)
    for i in range(n // 5 * 5, n):
        codes[i] = byte % np.uint8(3)
        byte //= np.uint8(3)
