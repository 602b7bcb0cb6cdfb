"""Random subsets and random signs that both sides of a message make from one key, in no memory."""

import numpy as np

from mpiopt.kernels.host.bits import kernel, part
from mpiopt.kernels.host.hashing import draw, mix

_ROUNDS = 6
_32, _1 = np.uint64(32), np.uint64(1)


@part
def _below(bits, n):
    """A random number from 0 to n - 1, n far below 2^32, from the upper half of a random uint64."""
    return ((bits >> _32) * np.uint64(n)) >> _32


@kernel
def subset(key, first, n, out):
    """Fill ``out`` : (k,) int64 with the places ``first`` to first + k - 1 of a random permutation of 0 .. n - 1.

    Every place is uniform over 0 .. n - 1 (a random rotation sees to it). A Feistel network on ceil(log2 n) bits
    in two parts, walked until the number is below n (Black, Rogaway, Ciphers with arbitrary finite domains, 2002, methods
    2 and 3).
    """
    wide = 2
    while (1 << wide) < n:
        wide += 1
    low, high = np.uint64(wide // 2), np.uint64(wide - wide // 2)
    low_mask, high_mask = (_1 << low) - _1, (_1 << high) - _1
    turn = draw(key, np.uint64(0)) % np.uint64(n)
    for i in range(out.size):
        value = np.uint64(first + i)
        while True:
            left, right = value & low_mask, value >> low
            for stage in range(_ROUNDS):
                left ^= mix(key + (np.uint64(4 * stage + 1) << np.uint64(40)) + right) & low_mask
                right ^= mix(key + (np.uint64(4 * stage + 3) << np.uint64(40)) + left) & high_mask
            value = left | (right << low)
            if value < np.uint64(n):
                break
        value += turn
        out[i] = value - np.uint64(n) if value >= np.uint64(n) else value


@kernel
def random_signs(key, out):
    """Fill ``out`` : (n,) float64 with 1 and -1."""
    for j in range(out.size):
        out[j] = 1.0 if draw(key, np.uint64(j)) >> np.uint64(63) else -1.0


@kernel
def sketch(x, key, table):
    """table[r, h_r(j)] += s_r(j) x_j for every row r, with h_r(j) a random column and s_r(j) a random sign."""
    rows, width = table.shape
    for j in range(x.size):
        for r in range(rows):
            h = draw(key, np.uint64(j * rows + r))
            v = np.float64(x[j])
            table[r, _below(h, width)] += v if h & _1 else -v


@kernel
def estimate(table, key, median, scale, fresh, out):
    """out_j = scale times the mean (or median) over the rows r of s_r(j) table[r, h_r(j)]; added if not ``fresh``."""
    rows, width = table.shape
    seen = np.empty(rows, np.float64)
    for j in range(out.size):
        total = 0.0
        for r in range(rows):
            h = draw(key, np.uint64(j * rows + r))
            v = np.float64(table[r, _below(h, width)])
            seen[r] = v if h & _1 else -v
            total += seen[r]
        guessed = np.median(seen) if median else total / rows
        if fresh:
            out[j] = guessed * scale
        else:
            out[j] += guessed * scale
