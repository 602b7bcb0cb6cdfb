"""In which order dual coordinate descent visits rows.

The order of visits decides the speed. Rows that share popular features pull one common direction of z back and forth,
and forget its value within `reach` visits; rows that are visited together within that time epoch after epoch (any
fixed order, large blocks) converge slower by orders of magnitude, whereas a fresh order of every row makes each row a
cache miss. So blocks of about reach / 4 neighbouring rows are visited in an order that is new in every epoch, block b
after block b - stride (mod the number of blocks), which needs no memory and is known ahead, so that the rows to come
are asked for early.
"""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.hashing import draw

SLOTS = 1 << 14  # far more than most rows have entries
_SLOT, _FREE = np.uint32(SLOTS - 1), np.uint32(0xFFFFFFFF)
_1 = np.uint64(1)

_kernel = njit(cache=True, nogil=True, error_model="numpy")
_part = njit(cache=True, part=True, nogil=True, error_model="numpy")
_elementary = njit(cache=True, part=True, nogil=True, error_model="numpy", fastmath={"contract"})


@_elementary
def row_energy(k, end, index, data, inverse):
    """a_i . D^-1 a_i."""
    total = 0.0
    while k < end:
        total += np.float64(data[k]) * data[k] * inverse[index[k]]
        k += _1
    return total


@_part
def _overlap(start, index, data, i, j, inverse, held, value):
    """a_i . D^-1 a_j, but for the factor where D is a number; nearly so for rows nearly as long as the tables.

    held, value : (SLOTS,) uint32 and float64, the columns of a row by their last digits; held is all ones before and after.
    """
    total = 0.0
    for k in range(start[i], start[i + 1]):
        slot = index[k] & _SLOT
        held[slot], value[slot] = index[k], data[k]
    for k in range(start[j], start[j + 1]):
        slot = index[k] & _SLOT
        if held[slot] == index[k]:
            total += value[slot] * data[k] * (inverse[index[k]] if inverse.size > 1 else 1.0)
    for k in range(start[i], start[i + 1]):
        held[index[k] & _SLOT] = _FREE
    return total


@_part
def _draw(seed, counter, n):
    """A random number below n."""
    return np.int64(draw(np.uint64(seed), np.uint64(counter)) % np.uint64(n))


@_kernel
def block_shift(start, index, data, norms, total, inverse, bias):
    """log2 of the rows per block: a quarter of `reach`, estimated from 256 pairs of rows."""
    n, even, seed = norms.size, inverse.size == 1, np.int64(1)
    held, value = np.empty(SLOTS, np.uint32), np.empty(SLOTS)
    for slot in range(SLOTS):
        held[slot] = _FREE
    shared, own = 0.0, 0.0
    for pair in range(256):
        i, j = _draw(seed, 2 * pair, n), _draw(seed, 2 * pair + 1, n)
        if i != j:
            shared += abs(_overlap(start, index, data, i, j, inverse, held, value)) / 256
        own += (norms[i] if even else row_energy(start[i], start[i + 1], index, data, inverse)) / 256
    if even:
        shared *= inverse[0]
        own *= inverse[0]
    common = 1.0 / bias if bias > 0.0 else 0.0
    reach = (4.0 * total + own + common) / (shared + common + 1e-300)
    shift = 0
    while shift < 6 and (8 << shift) <= reach and (512 << shift) <= n:
        shift += 1
    return shift


@_part
def after(i, n, shift, stride):
    """The row visited after row i."""
    j = i + 1
    if j < n and (j & ((1 << shift) - 1)):
        return j
    blocks = (n + (1 << shift) - 1) >> shift
    b = (i >> shift) + stride
    return (b - blocks if b >= blocks else b) << shift


@_kernel
def order_of(n, shift, seed, epoch):
    """log2 of the rows of a block, a random step that visits every block once, and the first row, of a block at random."""
    blocks = (n + (1 << shift) - 1) >> shift
    counter = epoch << 20
    first = _draw(seed, counter, blocks) << shift
    while True:
        counter += 1
        stride = _draw(seed, counter, blocks) + 1
        a, b = stride, blocks
        while b:
            a, b = b, a % b
        if a == 1:
            return shift, (stride if stride < blocks else 0), first
