"""The rows of `synthetic` sets one by one: lengths, columns, values and labels, from numbers hashed of row and seed."""

import numpy as np

from mpiopt.kernels.compiling import njit
from mpiopt.kernels.host.hashing import draw, mix, unit

_LENGTH, _COLUMN, _VALUE, _LABEL, _WEIGHT, _OWN, _TOPIC = (np.uint64(k << 56) for k in range(1, 8))
_21, _42 = np.uint64(21), np.uint64(42)
BINARY, RARE, COUNTS = range(3)  # kinds of values


@njit(cache=True, part=True)
def _stream(key, purpose, row):
    """The key of the random numbers of one row."""
    return mix(mix(key ^ purpose) + np.uint64(row))


@njit(cache=True, nogil=True)
def lengths(key, lo, indptr, mean, spread, cols):
    """Fill indptr : (rows + 1,) from log-normal lengths (Box and Muller, 1958), between 1 and the number of columns."""
    for i in range(indptr.size - 1):
        stream = _stream(key, _LENGTH, lo + i)
        radius, angle = unit(draw(stream, np.uint64(0))), unit(draw(stream, np.uint64(1)))
        normal = np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * angle)
        length = np.int64(mean * np.exp(spread * normal - 0.5 * spread * spread) + 0.5)
        indptr[i + 1] = indptr[i] + min(max(length, 1), cols)


@njit(cache=True, part=True)
def own_begin(key, row, rows, cols):
    """Where the columns of one row alone begin, of cols that the rows share out: evenly, but for half of a row's each way."""
    if row == 0 or row == rows:
        return cols if row else 0
    return np.int64(cols * (row - 0.5 + unit(draw(_stream(key, _OWN, row), np.uint64(0)))) / rows)


@njit(cache=True, nogil=True)
def add_own(key, lo, indptr, rows, cols):
    """Make room in indptr : (rows + 1,) for the columns of one row alone."""
    first = own_begin(key, lo, rows, cols)
    for i in range(indptr.size):
        indptr[i] += own_begin(key, lo + i, rows, cols) - first


@njit(cache=True, part=True, nogil=True)
def _columns(stream, index, gaps, cols, exponent):
    """Fill one row's columns: ascending, distinct, column c with frequency proportional to (c + 10)^-exponent.

    Ascending uniforms are partial sums of exponential gaps over the sum of all (Devroye, Non-uniform random variate
    generation, 1986, V.3.1); the inverse of the distribution function keeps their order, and equals move up by one.
    """
    n = index.size
    total = 0.0
    for j in range(n + 1):
        gaps[j] = -np.log(unit(draw(stream, np.uint64(j))))
        total += gaps[j]
    straight = abs(exponent - 1.0) < 1e-9
    span = np.log1p(cols / 10.0)
    power = 1.0 - exponent
    gain = np.expm1(power * span)
    sofar, last = 0.0, -1
    for j in range(n):
        sofar += gaps[j]
        u = sofar / total
        z = u * span if straight else np.log1p(u * gain) / power
        column = np.int64(10.0 * np.expm1(z))
        last = max(last + 1, min(column, cols - n + j))
        index[j] = last


@njit(cache=True, part=True, nogil=True)
def _to_topic(key, row, index, cols, topics):
    """Half of a row's columns, but for the most frequent, become those that its topic has in their place: of as many
    neighbours as there are topics each prefers one. Distinct and ascending before and after."""
    topic = draw(_stream(key, _TOPIC, row), np.uint64(0)) % np.uint64(topics)
    chosen = _stream(key, _TOPIC, -1 - np.int64(topic))
    last, n = -1, index.size
    for j in range(n):
        column = np.int64(index[j])
        place = column // topics
        if column >= 4 * topics and draw(_stream(key, _TOPIC, row), np.uint64(j + 1)) & np.uint64(1):
            column = place * topics + np.int64(draw(chosen, np.uint64(place)) % np.uint64(topics))
        last = max(last + 1, min(column, cols - n + j))
        index[j] = last


@njit(cache=True, part=True, nogil=True)
def _row_values(stream, index, exact, cols, kind):
    """Fill exact : (n,) with one row's values, of any length: all the same, rare ones the larger, or counts."""
    n = index.size
    span = np.log1p(cols / 10.0)
    burst = -n * np.log(unit(draw(stream, np.uint64(n)))) / span
    for j in range(n):
        if kind == BINARY:
            exact[j] = 1.0
        elif kind == RARE:
            rarity = np.log((cols + 10.0) / (index[j] + 5.0))
            exact[j] = rarity * (0.5 + unit(draw(stream, np.uint64(j))))
        else:
            mean = burst / (index[j] + 10.0)
            exact[j] = 1.0 + np.floor(-mean * np.log(unit(draw(stream, np.uint64(j)))))


@njit(cache=True, part=True, nogil=True)
def _to_norm_one(exact, value):
    squares = 0.0
    for j in range(value.size):
        squares += exact[j] * exact[j]
    scale = 1.0 / np.sqrt(squares)
    for j in range(value.size):
        value[j] = exact[j] * scale


@njit(cache=True, part=True, nogil=True)
def _log_odds(weights, index, value, planted):
    """The row's product with the planted model, whose weights (variance 1/6 where planted) are a hash of the column."""
    margin = 0.0
    for j in range(index.size):
        bits = draw(weights, np.uint64(index[j]))
        if np.float64(bits >> _42) < planted * 4194304.0:
            first, second = np.float64(bits & np.uint64(0x1FFFFF)), np.float64((bits >> _21) & np.uint64(0x1FFFFF))
            margin += value[j] * (first - second) / 2097152.0
    return margin


@njit(cache=True, part=True, nogil=True)
def _longest(indptr):
    """How many entries the longest row has."""
    longest = np.int64(0)
    for i in range(indptr.size - 1):
        longest = max(longest, indptr[i + 1] - indptr[i])
    return longest


@njit(cache=True, nogil=True)
def fill_columns(key, lo, indptr, indices, shape, shared, exponent, topics):
    """Fill the columns of the rows from ``lo`` on.

    shape : of the whole set; shared : columns that are not one row's alone, the first ones.
    """
    rows, cols = shape
    gaps = np.empty(_longest(indptr) + 1)
    for i in range(indptr.size - 1):
        row = lo + i
        index = indices[indptr[i] : indptr[i + 1]]
        begin, end = own_begin(key, row, rows, cols - shared), own_begin(key, row + 1, rows, cols - shared)
        common = index[: index.size - (end - begin)]
        _columns(_stream(key, _COLUMN, row), common, gaps, shared, exponent)
        if topics > 1:
            _to_topic(key, row, common, shared, topics)
        for j in range(end - begin):
            index[common.size + j] = shared + begin + j


@njit(cache=True, nogil=True)
def fill_values(key, lo, indptr, indices, data, y, cols, kind, planted, scale, offset):
    """Fill the values of the rows from ``lo`` on, whose columns are there, and their labels; with offset NaN the log-odds in
    place of the labels."""
    weights = _stream(key, _WEIGHT, np.int64(0))
    exact = np.empty(_longest(indptr))
    for i in range(y.size):
        row = lo + i
        index, value = indices[indptr[i] : indptr[i + 1]], data[indptr[i] : indptr[i + 1]]
        _row_values(_stream(key, _VALUE, row), index, exact, cols, kind)
        _to_norm_one(exact, value)
        odds = scale * _log_odds(weights, index, value, planted)
        if np.isnan(offset):
            y[i] = odds
        else:
            chance = 1.0 / (1.0 + np.exp(offset - odds))
            y[i] = 1.0 if unit(draw(_stream(key, _LABEL, row), np.uint64(0))) < chance else -1.0
