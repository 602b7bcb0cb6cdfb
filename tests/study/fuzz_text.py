"""A program: read mutated svmlight text and compare with a slow reader that follows the format's definition.

python fuzz_text.py FOLDER FIRST COUNT      prints one JSON object; the number of the present case is in FOLDER/case
"""

import bz2
import gzip
import json
import lzma
import random
import re
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from mpiopt.errors import DataError
from mpiopt.io.text import parts
from tests.study.mutations import mutated
from tests.svm_text import parsed, random_text

NUMBER = re.compile(rb"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
PAIR = re.compile(rb"(\d{1,18}):(.*)", re.DOTALL)
LARGEST = 3.4028235677973366e38
PACKERS = [gzip.compress, bz2.compress, lambda text: lzma.compress(text, preset=0)]


class Refused(Exception):
    """What the definition does not allow."""


def number(token: bytes, single: bool) -> float:
    """The nearest number of the type, exactly. Raises Refused."""
    if not NUMBER.fullmatch(token):
        raise Refused(token)
    value = float(token)
    if abs(value) > (LARGEST if single else sys.float_info.max):
        raise Refused(token)
    return nearest(token, value) if single else value


def nearest(token: bytes, value: float) -> float:
    guess = np.float32(max(-3.4028235e38, min(3.4028235e38, value)))
    if value == 0 or not midway(value):
        return float(guess)
    exact, ends = Fraction(token.decode()), (np.float32(-np.inf), np.float32(np.inf))
    with np.errstate(over="ignore"):
        near = [n for n in (guess, *(np.nextafter(guess, end) for end in ends)) if np.isfinite(n)]
    return float(min(near, key=lambda n: (abs(Fraction(float(n)) - exact), int(n.view(np.uint32)) & 1)))


def midway(value: float) -> bool:
    """Whether a double is so near to the middle of two singles that the decimals behind it decide."""
    low = int(np.float64(value).view(np.uint64)) & 0x1FFFFFFF
    return abs(low - 0x10000000) <= 2 or abs(value) < 1.2e-38


def slow(text: bytes, single: bool, base: int) -> tuple[list[float], list[int], list[int], list[float]]:
    """Labels, lengths, indices and values of svmlight text by its definition. Raises Refused."""
    y, lengths, indices, data = [], [], [], []
    for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        tokens = [token for token in re.split(rb"[ \t\r]+", line.partition(b"#")[0]) if token]
        if not tokens:
            continue
        y.append(number(tokens[0], False))
        count, last = 0, -1
        for token in tokens[1:]:
            if token.startswith(b"qid:"):
                continue
            pair = PAIR.fullmatch(token)
            if not pair or int(pair[1]) < base or not last < int(pair[1]) < 2**31:
                raise Refused(token)
            last, count = int(pair[1]), count + 1
            indices.append(last)
            data.append(number(pair[2], single))
        lengths.append(count)
    return y, lengths, indices, data


def case(seed: int, folder: Path) -> str:
    """ "accepted" or "refused" where that is right; else what is wrong with how one file was read."""
    draws = random.Random(seed)
    base = draws.choice([0, 0, 1])
    text = random_text(draws.randint(1, 12), draws.choice([5, 40, 3_000_000]), seed, base).encode()
    text = mutated(text, draws) if draws.random() < 0.97 else text
    single, ranks = draws.random() < 0.5, draws.choice([1, 1, 2, 3])
    parts.BLOCK = draws.choice([64, 256, 1 << 20])
    content = text
    if draws.random() < 0.1:
        content = draws.choice(PACKERS)(text)
        if draws.random() < 0.7:
            content, text = mutated(content, draws), None
    path = folder / "a.svm"
    path.write_bytes(content)
    return compared(path, text, single, base, ranks)


def compared(path: Path, text: bytes | None, single: bool, base: int, ranks: int) -> str:
    try:
        found = parsed(path, np.float32 if single else np.float64, base, ranks)
    except DataError as error:
        if "\n" in str(error) or len(str(error)) > 400:
            return f"not one sentence: {error}"
        if "has more than 4096 characters" in str(error):
            return "refused"
        try:
            if text is None or text[:2] == b"\x1f\x8b" or text[:3] == b"BZh" or text[:6] == b"\xfd7zXZ\x00":
                return "refused"
            slow(text, single, base)
        except Refused:
            return "refused"
        return f"refused what is right: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if text is None:
        return "accepted"
    try:
        y, lengths, indices, data = slow(text, single, base)
    except Refused as token:
        return f"accepted {token}"
    wanted = (np.array(y), np.concatenate(([0], np.cumsum(lengths))), np.array(indices), np.array(data))
    for name, one, other in zip(("labels", "rows", "indices", "values"), found, wanted, strict=True):
        if len(one) != len(other) or not np.array_equal(np.asarray(one, float), np.asarray(other, float)):
            return f"other {name}: {one} instead of {other}"
    return "accepted"


def main(folder: Path, first: int, count: int) -> None:
    sys.set_int_max_str_digits(0)
    found: dict[str, int] = {"accepted": 0, "refused": 0}
    wrong = []
    for seed in range(first, first + count):
        (folder / "case").write_text(str(seed))
        told = case(seed, folder)
        if told in found:
            found[told] += 1
        else:
            wrong.append([seed, told[:500]])
            (folder / f"wrong-{seed}.svm").write_bytes((folder / "a.svm").read_bytes())
    print(json.dumps({**found, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
