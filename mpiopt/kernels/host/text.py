"""svmlight text to arrays, at hundreds of megabytes a second on one core.

A line is ``LABEL [qid:N] INDEX:VALUE INDEX:VALUE ... [# comment]``; blank lines are no rows. Digits are read eight at a time
from one 64-bit word (Lemire, Number parsing at a gigabyte per second, 2021, section 4). A decimal of at most 15 digits and
a power of ten up to 22 is exact in one operation (Clinger, How to read floating point numbers accurately, 1990); other
decimals of up to 19 digits go through double-double arithmetic with an error bound. What neither can round for certain,
and what is no plain number, is left to the caller as odd.
"""

from fractions import Fraction

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mpiopt.kernels.compiling import njit

DONE, FULL, ODD_FULL = 0, 1, 2  # all lines read; no room for the next line: of rows or nonzeros, of odd numbers
BAD_PAIR, ZERO_INDEX, BAD_ORDER, WIDE = 3, 4, 5, 6  # what is wrong with the token at the returned position

PAD = 48  # bytes that must be readable past the last line
ROWS, NONZEROS, LEAST, GREATEST, ODDS, UNSORTED = range(6)  # the counters

_U = np.uint64
_ZEROS, _ABOVE, _TOPS = _U(0x3030303030303030), _U(0x4646464646464646), _U(0x8080808080808080)
_PAIRS, _MUL_HIGH, _MUL_LOW = _U(0x000000FF000000FF), _U(0x000F424000000064), _U(0x0000271000000001)
_0, _1, _3, _8, _10, _16, _20, _32, _63 = _U(0), _U(1), _U(3), _U(8), _U(10), _U(16), _U(20), _U(32), _U(63)
_LONG = _U(10**19)  # the least number of 20 digits
_TENS = np.array([10**k for k in range(9)], np.uint64)
_EXACT = np.array([10.0**k for k in range(23)])
_REACH = 270  # powers of ten whose double-double products neither overflow nor lose bits


def _double_double(value: Fraction) -> tuple[float, float]:
    high = float(value)
    return high, float(value - Fraction(high))


_POWERS = np.array([_double_double(Fraction(10) ** k) for k in range(-_REACH, _REACH + 1)])
_SPACE, _TAB, _RETURN, _NEWLINE, _HASH, _COLON, _DOT = (np.uint8(ord(c)) for c in " \t\r\n#:.")
_PLUS, _MINUS, _Q, _I, _D, _E, _ZERO, _LOWER = (np.uint8(c) for c in (*b"+-qide0", 0x20))

_kernel = njit(cache=True, nogil=True, error_model="numpy", boundscheck=False)
_part = njit(cache=True, part=True, nogil=True, error_model="numpy", boundscheck=False)
# LLVM alone would not put them into their callers: a fifth of the time
_inlined = njit(cache=True, part=True, nogil=True, error_model="numpy", forceinline=True)


@intrinsic
def _word(typingctx, array, position):
    """Eight bytes of a uint8 array as a little-endian uint64, at any alignment."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        at = builder.gep(builder.bitcast(data, ir.IntType(8).as_pointer()), [args[1]])
        return builder.load(builder.bitcast(at, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(array, position), codegen


@intrinsic
def _others(typingctx, array, position):
    """A bit for each of the 32 bytes from ``position`` on, set where the byte is no digit; the lowest is the first."""

    def codegen(context, builder, signature, args):
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        vector, byte = ir.VectorType(ir.IntType(8), 32), ir.IntType(8)
        at = builder.gep(builder.bitcast(data, byte.as_pointer()), [args[1]])
        block = builder.load(builder.bitcast(at, vector.as_pointer()), align=1)
        offset = builder.sub(block, ir.Constant(vector, [ord("0")] * 32))
        bits = builder.bitcast(builder.icmp_unsigned(">", offset, ir.Constant(vector, [9] * 32)), ir.IntType(32))
        return builder.zext(bits, ir.IntType(64))

    return types.uint64(array, position), codegen


@intrinsic
def _trailing_zeros(typingctx, value):
    """Zero bits below the lowest one; 64 for 0."""

    def codegen(context, builder, signature, args):
        return builder.cttz(args[0], cgutils.false_bit)

    return types.uint64(types.uint64), codegen


@_inlined
def _eight(word, count):
    """The number that the first ``count`` bytes of a word make, all of them digits, 1 <= count <= 8."""
    eight = (word - _ZEROS) << (((_8 - count) << _3) & _63)
    eight = eight * _10 + (eight >> _8)
    return ((eight & _PAIRS) * _MUL_HIGH + ((eight >> _16) & _PAIRS) * _MUL_LOW) >> _32


@_inlined
def _run(text, p):
    """How many of the eight bytes from p on are digits before the first other, and the number they make."""
    word = _word(text, p)
    stop = ((word + _ABOVE) | (word - _ZEROS)) & _TOPS  # the top bit of the first byte that is no digit, and noise above
    count = _trailing_zeros(stop) >> _3
    return count, _eight(word, count)


@_inlined
def _digits(text, p, number):
    """Append the decimal digits at p to ``number``: the position after them, the number and how many they were.

    Wrong beyond 19 digits in all, which the caller sees from their count.
    """
    first = p
    count, value = _run(text, p)
    while count == _8:
        number = number * _TENS[8] + value
        p += _8
        count, value = _run(text, p)
    if count > _0:
        number = number * _TENS[count] + value
    return p + count, number, p + count - first


@_part
def _product(number, exponent):
    """number * 10^exponent, correctly rounded, and what is missing: number a uint64, |exponent| <= _REACH.

    The third result is a bound on the error of the second. Products without error by Dekker (A floating-point technique
    for extending the available precision, 1971).
    """
    low_bits = number & _U(0x7FF) if number >= _U(1 << 53) else _0  # so that a_low * b is far below what rounds
    a, a_low = np.float64(number - low_bits), np.float64(low_bits)  # both exact
    b, b_low = _POWERS[exponent + _REACH, 0], _POWERS[exponent + _REACH, 1]
    p = a * b
    t = 134217729.0 * a
    a1 = t - (t - a)
    t = 134217729.0 * b
    b1 = t - (t - b)
    a2, b2 = a - a1, b - b1
    error = ((a1 * b1 - p) + a1 * b2 + a2 * b1) + a2 * b2
    rest = error + (a * b_low + a_low * b)
    value = p + rest
    return value, rest - (value - p), value * 2.0**-90


@_part
def _rounded(number, exponent, single):
    """number * 10^exponent such that it or (``single``) its float32 is correctly rounded, and whether that is certain."""
    value, rest, doubt = _product(number, exponent)
    certain = value + (rest - doubt) == value and value + (rest + doubt) == value
    if single and certain:
        if _midway(value):  # the cast would round to even: put the value on its true side of the middle
            value += np.copysign(2.0**-52 * value, rest)
            certain = abs(rest) > doubt
        certain = certain and 1.1754943508222875e-38 <= value <= 3.4028234e38
    return value, certain or number == _0


@_part
def _midway(value):
    """Whether a double lies in the middle between two singles, so that the cast depends on bits that it has lost."""
    return (np.float64(value).view(np.uint64) & _U(0x1FFFFFFF)) == _U(0x10000000)


@_inlined
def _plain_pair(text, p, single):
    """INDEX:WHOLE or INDEX:WHOLE.FRACTION and a blank or newline, of at most 8, 8 and 16 digits, and 19 in the value.

    Returns the position after the value, or 0 for anything else; the index; the value, correctly rounded.
    """
    others = _others(text, p)
    colon = _trailing_zeros(others)
    others &= others - _1
    stop = _trailing_zeros(others)
    index = _eight(_word(text, p), colon)
    whole = stop - colon - _1
    if colon - _1 >= _8 or whole - _1 >= _8 or text[p + colon] != _COLON:
        return _0, _0, 0.0
    number = _eight(_word(text, p + colon + _1), whole)
    end = text[p + stop]
    if end == _SPACE or end == _NEWLINE:
        return p + stop, index, np.float64(number)
    others &= others - _1
    last = _trailing_zeros(others)
    fraction = last - stop - _1
    if end != _DOT or fraction - _1 >= _16 or whole + fraction > _U(19) or not _ends(text[p + last]):
        return _0, _0, 0.0
    start, rest = p + stop + _1, fraction
    if fraction > _8:
        number = number * _TENS[8] + _eight(_word(text, start), _8)
        start, rest = start + _8, fraction - _8
    number = number * _TENS[rest] + _eight(_word(text, start), rest)
    value = np.float64(number) / _EXACT[fraction]
    if number >= _U(1 << 53) or (single and _midway(value)):
        value, fine = _rounded(number, -np.int64(fraction), single)
        if not fine:
            return _0, _0, 0.0
    return p + last, index, value


@_part
def _leading_zeros(text, p):
    """The zeros before the first other digit of the number at p."""
    count = _0
    while text[p] == _ZERO or text[p] == _DOT:
        count += _U(text[p] == _ZERO)
        p += _1
    return count


@_inlined
def _number(text, p, single):
    """The number at p: the position after it, its value, and whether it is certain; ``single`` : as a float32."""
    negative = text[p] == _MINUS
    if negative or text[p] == _PLUS:
        p += _1
    first = p
    p, number, count = _digits(text, p, _0)
    if text[p] == _SPACE and count - _1 < _U(7):  # the common case: a small integer is exact in any type
        return p, -np.float64(number) if negative else np.float64(number), True
    exponent = np.int64(0)
    if text[p] == _DOT:
        p, number, after = _digits(text, p + _1, number)
        count += after
        exponent = -np.int64(after)
    fine = _0 < count <= _U(19) or (count > _0 and count - _leading_zeros(text, first) <= _U(19))
    if text[p] | _LOWER == _E:
        p += _1
        sign = np.int64(-1) if text[p] == _MINUS else np.int64(1)
        if text[p] == _MINUS or text[p] == _PLUS:
            p += _1
        p, power, after = _digits(text, p, _0)
        fine &= _0 < after <= _U(4)
        exponent += sign * np.int64(power)
    value = 0.0
    if fine and number < _U(1 << 53) and -22 <= exponent <= 22:
        value = np.float64(number) * _EXACT[exponent] if exponent >= 0 else np.float64(number) / _EXACT[-exponent]
        if single and _midway(value):
            value, fine = _rounded(number, exponent, single)
    elif fine and -_REACH <= exponent <= _REACH:
        value, fine = _rounded(number, exponent, single)
    else:
        fine = False
    return p, -value if negative else value, fine


@_inlined
def _blank(c):
    return c == _SPACE or c == _TAB or c == _RETURN


@_inlined
def _ends(c):
    return _blank(c) or c == _NEWLINE or c == _HASH


@_part
def _skip_token(text, p):
    while not _ends(text[p]):
        p += _1
    return p


@_part
def _skip_line(text, p):
    while text[p] != _NEWLINE:
        p += _1
    return p


@_inlined
def _whole(first, number, count):
    """Whether a number of so many digits, 19 at least, the first of which is ``first``, has 64 bits: others come out small."""
    return count < _20 or (count == _20 and first == _ZERO + np.uint8(1) and number >= _LONG)


@_kernel
def parse(text, begin, end, y, indptr, indices, data, odd, counters, base, ordered):
    """Append the lines text[begin:end] to a block of rows: a status (above) and the position that it is about.

    text : uint8, text[end - 1] a newline, PAD bytes readable past it. y : float64 labels; indptr : int64, indptr[0] = 0;
    indices : int32 as they stand, or uint64, which takes whatever has 64 bits; data : float32 or float64. odd : (k, 2) int64,
    position in ``text`` of each number that is left to the caller, and its place: a nonzero, or -1 - row for a label.
    counters : int64, ROWS, NONZEROS, LEAST and GREATEST index so far, ODDS and UNSORTED, 1 once indices have not ascended
    within a row, which is an error where ``ordered``. base : the least index allowed. After FULL and ODD_FULL the
    block ends with the last whole line before the position, where to go on with more room.
    """
    p, stop = _U(begin), _U(end)
    long = indices.itemsize == 8
    room, widest = _U(indices.size), ~_0 if long else _U((1 << 31) - 1)
    single = data.itemsize == 4
    row, k, odds = _U(counters[ROWS]), _U(counters[NONZEROS]), _U(counters[ODDS])
    least, greatest = _U(counters[LEAST]), _U(counters[GREATEST])
    status = DONE
    where = stop
    while p < stop:
        line, before, odds_before = p, k, odds
        while _blank(text[p]):
            p += _1
        if text[p] == _NEWLINE or text[p] == _HASH:
            p = _skip_line(text, p) + _1
            continue
        if row >= _U(y.size):
            status, where = FULL, line
            break
        token = p
        p, value, fine = _number(text, p, False)
        if not (fine and _ends(text[p])):
            p = _skip_token(text, token)
            if odds >= _U(len(odd)):
                status, where = ODD_FULL, line
                break
            odd[odds, 0], odd[odds, 1] = token, -1 - np.int64(row)
            odds += _1
        y[row] = value
        last = _0  # the index before
        while True:
            while _blank(text[p]):
                p += _1
            c = text[p]
            if c == _NEWLINE:
                break
            token = p
            after, index, value = _plain_pair(text, p, single)
            if after == _0:
                p, index, count = _digits(text, p, _0)
                if text[p] != _COLON or not (count - _1 < _U(18) or (long and _whole(text[token], index, count))):
                    if c == _HASH:
                        p = _skip_line(text, p)
                        break
                    if c == _Q and text[p + _1] == _I and text[p + _U(2)] == _D and text[p + _U(3)] == _COLON:
                        p = _skip_token(text, p)
                        continue
                    status, where = BAD_PAIR, token
                    break
                number = p + _1
                after, value, fine = _number(text, number, single)
                if not (fine and _ends(text[after])):
                    after = _skip_token(text, number)
                    if odds >= _U(len(odd)):
                        status, where = ODD_FULL, line
                        break
                    odd[odds, 0], odd[odds, 1] = number, np.int64(k)
                    odds += _1
            if index <= last and k > before:
                if ordered:
                    status, where = BAD_ORDER, token
                    break
                counters[UNSORTED] = 1
            if index > widest:
                status, where = WIDE, token
                break
            if k >= room:
                status, where = FULL, line
                break
            if index < least:
                if np.int64(index) < base:
                    status, where = ZERO_INDEX, token
                    break
                least = index
            last = max(last, index)
            p = after
            indices[k] = index
            data[k] = value
            k += _1
        if status != DONE:
            k, odds = before, odds_before
            break
        greatest = max(greatest, last)
        row += _1
        indptr[row] = k
        p += _1
    counters[ROWS], counters[NONZEROS], counters[ODDS] = row, k, odds
    counters[LEAST], counters[GREATEST] = least, greatest
    return status, np.int64(where)
