"""The k largest magnitudes of a vector, exactly, in about one pass over it.

A magnitude is compared through its bits: those of x as an unsigned integer without the sign (`key`), which are ordered
as magnitudes are, NaN above infinity above all numbers. Ties go to the lower index.
"""

import numpy as np

from mpiopt.kernels.host.bits import kernel, part
from mpiopt.kernels.host.hashing import draw

SAMPLE = 8192  # coordinates looked at to guess a threshold
_BLOCK = 16  # coordinates skipped at once where none is large enough
_DIGIT = 11  # bits sorted at once when counting


@part
def magnitude_mask(keys):
    """All bits but the sign, in the type of ``keys``: uint32 or uint64."""
    return ~(np.ones(1, keys.dtype)[0] << (np.ones(1, keys.dtype)[0] * (8 * keys.itemsize - 1)))


@kernel
def peaks(keys, bucket, out):
    """out[i] : the largest magnitude in bucket i of ``keys`` : (d,) uint32 or uint64, as its bits."""
    mask = magnitude_mask(keys)
    for i in range(out.size):
        top = mask & ~mask
        for j in range(i * bucket, min((i + 1) * bucket, keys.size)):
            top = max(top, keys[j] & mask)
        out[i] = top


@part
def kth(keys, k):
    """The k-th largest magnitude as its bits, and how many are larger: counting digits from the top, k from 1 to d."""
    mask = magnitude_mask(keys)
    bits = 8 * keys.itemsize
    found, larger, known = np.uint64(0), 0, np.uint64(0)
    for low in range((bits - 1) // _DIGIT * _DIGIT, -1, -_DIGIT):
        shift = np.uint64(low)
        counts = np.zeros(1 << _DIGIT, np.int64)
        for i in range(keys.size):
            key = np.uint64(keys[i] & mask)
            counts[(key >> shift) & np.uint64((1 << _DIGIT) - 1)] += (key & known) == found
        digit = (1 << _DIGIT) - 1
        while larger + counts[digit] < k:
            larger += counts[digit]
            digit -= 1
        found |= np.uint64(digit) << shift
        known |= np.uint64((1 << _DIGIT) - 1) << shift
    return found, larger


@part
def guess(keys, k):
    """A magnitude that more than k entries probably reach, yet not many more, from a random sample."""
    mask = magnitude_mask(keys)
    seen = np.empty(SAMPLE, keys.dtype)
    for i in range(SAMPLE):
        seen[i] = keys[draw(np.uint64(0), np.uint64(i)) % np.uint64(keys.size)] & mask
    expected = SAMPLE * (k / keys.size)
    return kth(seen, min(SAMPLE, np.int64(expected + 4 * np.sqrt(expected) + 5)))[0]


@part
def collect(keys, least, out):
    """Put the indices of magnitudes >= ``least`` into ``out`` : (.,) int64, in order; their number, -1 if it is too short."""
    mask, n, room = magnitude_mask(keys), 0, out.size
    for block in range(0, keys.size, _BLOCK):
        end = min(block + _BLOCK, keys.size)
        some = False
        if end - block == _BLOCK:
            for i in range(_BLOCK):
                some |= (keys[block + i] & mask) >= least
        else:
            some = True
        if some:
            if n + _BLOCK > room:
                return -1
            for i in range(block, end):
                out[n] = i
                n += (keys[i] & mask) >= least
    return n


@part
def take(keys, least, larger, out):
    """Fill ``out`` : (k,) int64 with the indices above ``least``, ``larger`` in number, and the first ones equal to it."""
    mask, n, ties = magnitude_mask(keys), 0, out.size - larger
    for i in range(keys.size):
        key = np.uint64(keys[i] & mask)
        if key > least or (key == least and ties > 0):
            ties -= key == least
            out[n] = i
            n += 1


@kernel
def largest(keys, k, out):
    """Fill ``out`` : (k,) int64 with the indices of the k largest magnitudes, in order; 1 <= k <= d."""
    if keys.size > 8 * SAMPLE and k < keys.size // 8:
        some = np.empty(2 * k + 4096, np.int64)
        n = collect(keys, guess(keys, k), some)
        if n >= k:
            few = np.empty(n, keys.dtype)
            for i in range(n):
                few[i] = keys[some[i]]
            least, larger = kth(few, k)
            take(few, least, larger, out)
            for i in range(k):
                out[i] = some[out[i]]
            return
    least, larger = kth(keys, k)
    take(keys, least, larger, out)


@kernel
def scatter(values, indices, scale, out):
    """out[indices[i]] += scale values[i]; an index beyond the end of ``out`` is passed over."""
    for i in range(indices.size):
        if indices[i] < out.size:
            out[indices[i]] += values[i] * scale
