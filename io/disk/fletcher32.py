"""HDF5's Fletcher-32 checksum at memory speed, so that finished chunks can be handed to the file as they are."""

import numpy as np

from mpiopt.kernels.compiling import njit

_RUN = 256  # words whose weighted sum still fits 32 bits: 256 * 257 / 2 * 65535 < 2^32
_WEIGHTS = np.arange(_RUN, 0, -1).astype(np.uint32)
_MODULUS = np.uint64(65535)


@njit(cache=True, nogil=True)
def _run(words, weights):
    """sum w_i and sum (n - i) w_i over at most _RUN words; the casts keep the sums in 32 bits, which vectorises."""
    first, second = np.uint32(0), np.uint32(0)
    for i in range(words.size):
        word = np.uint32(words[i])
        first = np.uint32(first + word)
        second = np.uint32(second + np.uint32(weights[i] * word))
    return np.uint64(first), np.uint64(second)


@njit(cache=True, nogil=True)
def _sums(words, weights):
    """The two sums over all words modulo 65535, and whether any word is not zero."""
    first, second, some = np.uint64(0), np.uint64(0), False
    for start in range(0, words.size, _RUN):
        run = words[start : start + _RUN]
        a, b = _run(run, weights[_RUN - run.size :])
        second = (second + np.uint64(run.size) * first + b) % _MODULUS
        first = (first + a) % _MODULUS
        some |= a != 0
    return first, second, some


def fletcher32(data: np.ndarray) -> int:
    """The checksum that HDF5 stores after a chunk; ``data`` : contiguous. An odd last byte counts as if a zero followed.

    Fletcher (An arithmetic checksum for serial transmissions, 1982) over big-endian 16-bit words with one's-complement
    sums: swapping the bytes of a word multiplies it by 256 modulo 65535, so native words will do. A sum that is a
    multiple of 65535 is written as 65535 unless all words are zero, and an all-zero chunk as 0.
    """
    raw = data.reshape(-1).view(np.uint8)
    words = (raw if raw.size % 2 == 0 else np.append(raw, np.uint8(0))).view(np.uint16)
    first, second, some = _sums(words, _WEIGHTS)
    if not some:
        return 0
    high, low = int(second) * 256 % 65535, int(first) * 256 % 65535  # stored little-endian whatever the machine
    return (high or 65535) << 16 | (low or 65535)
