"""Columns of a table into rows, and the hashes of texts."""

import numpy as np

from mpiopt.kernels.compiling import njit

_kernel = njit(cache=True, nogil=True)


@_kernel
def put_numbers(values, feature, at, indices, data):
    """Give row i the entry ``feature`` of values[i] : (n,) float64 at place at[i], unless it is 0, and move at[i] on."""
    for i in range(values.size):
        if values[i] != 0:
            indices[at[i]], data[at[i]] = feature, values[i]
            at[i] += 1


@_kernel
def put_entries(bounds, features, values, at, indices, data):
    """Give row i the entries bounds[i] to bounds[i + 1] of features and values at place at[i], and move at[i] on.

    An entry without a feature, -1, is left out.
    """
    for i in range(bounds.size - 1):
        for k in range(bounds[i], bounds[i + 1]):
            if features[k] >= 0:
                indices[at[i]], data[at[i]] = features[k], values[k]
                at[i] += 1


@_kernel
def murmur(text, bounds, seed, out):
    """MurmurHash3_x86_32 (Appleby, 2008) of the texts text[bounds[i] : bounds[i + 1]] : bytes, into out : (n,) uint32."""
    c1, c2, mask = np.uint64(0xCC9E2D51), np.uint64(0x1B873593), np.uint64(0xFFFFFFFF)
    for i in range(bounds.size - 1):
        lo, size = bounds[i], bounds[i + 1] - bounds[i]
        h = np.uint64(seed)
        for b in range(size // 4):
            k = np.uint64(0)
            for j in range(4):
                k |= np.uint64(text[lo + 4 * b + j]) << np.uint64(8 * j)
            h ^= _stirred(k, c1, c2, mask)
            h = ((h << np.uint64(13)) | (h >> np.uint64(19))) & mask
            h = (h * np.uint64(5) + np.uint64(0xE6546B64)) & mask
        k = np.uint64(0)
        for j in range(size & 3):
            k |= np.uint64(text[lo + (size & ~3) + j]) << np.uint64(8 * j)
        if size & 3:
            h ^= _stirred(k, c1, c2, mask)
        h ^= np.uint64(size)
        h ^= h >> np.uint64(16)
        h = (h * np.uint64(0x85EBCA6B)) & mask
        h ^= h >> np.uint64(13)
        h = (h * np.uint64(0xC2B2AE35)) & mask
        h ^= h >> np.uint64(16)
        out[i] = h


@njit(cache=True, nogil=True, inline="always")
def _stirred(k, c1, c2, mask):
    k = (k * c1) & mask
    k = ((k << np.uint64(15)) | (k >> np.uint64(17))) & mask
    return (k * c2) & mask
