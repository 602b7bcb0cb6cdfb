"""Damage to files, drawn from a seed: what disks, copies and people do to bytes."""

import random
from collections.abc import Sequence

SCRAPS = [
    b":",
    b" ",
    b"\n",
    b"\r\n",
    b"#",
    b"\t",
    b"-",
    b"+",
    b".",
    b"e",
    b"E-",
    b"0",
    b"9" * 9,
    b"9" * 17,
    b"9" * 25,
    b"\x00",
    b"\xff",
    b"qid:3 ",
    b"nan",
    b"inf",
    b"-0",
    b"1e999",
    b"1e-999",
    b"4294967296:1 ",
    b"2147483647:1",
    b"2147483648:1",
    b"1:1 1:1",
    b"0:0",
    b" 0:1",
    b"#\n",
    b"\n\n",
    b"1." + b"0" * 60,
    b"0." + b"3" * 60,
    b"1:2:3",
    b":1",
    b"1:",
    b"a:1",
    b"1,5",
    b"0x1p3",
    b"1_0",
    b"\xc2\xa0",
    b"\x1f\x8b",
    b"3.4028235e38",
    b"3.5e38",
    b"1" * 5000,
    b" " * 300,
    b"1#",
    b"\xef\xbb\xbf",
]


def mutated(content: bytes, draws: random.Random, most: int = 6, scraps: Sequence[bytes] = SCRAPS) -> bytes:
    """``content`` after 1 to ``most`` mutations, most often few."""
    for _ in range(min(most, 1 + int(draws.expovariate(1.5)))):
        content = draws.choice(WAYS)(content, draws, scraps)
    return content


def _place(content: bytes, draws: random.Random, longest: int = 64) -> tuple[int, int]:
    start = draws.randrange(len(content) + 1)
    return start, min(len(content), start + draws.randint(0, longest))


def _flip(content: bytes, draws: random.Random, scraps: Sequence[bytes]) -> bytes:
    if not content:
        return content
    at = draws.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << draws.randrange(8)]) + content[at + 1 :]


def _overwrite(content: bytes, draws: random.Random, scraps: Sequence[bytes]) -> bytes:
    start, stop = _place(content, draws)
    fill = draws.choice([bytes(stop - start), b"\xff" * (stop - start), draws.randbytes(stop - start)])
    return content[:start] + fill + content[stop:]


def _delete(content: bytes, draws: random.Random, scraps: Sequence[bytes]) -> bytes:
    start, stop = _place(content, draws)
    return content[:start] + content[stop:]


def _repeat(content: bytes, draws: random.Random, scraps: Sequence[bytes]) -> bytes:
    start, stop = _place(content, draws)
    return content[:stop] + content[start:stop] * draws.choice([1, 1, 2, 40]) + content[stop:]


def _swap(content: bytes, draws: random.Random, scraps: Sequence[bytes]) -> bytes:
    (a, b), (c, d) = sorted([_place(content, draws), _place(content, draws)])
    return content if b > c else content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def _insert(content: bytes, draws: random.Random, scraps: Sequence[bytes]) -> bytes:
    at = draws.randrange(len(content) + 1)
    return content[:at] + draws.choice(scraps) + content[at:]


def _cut(content: bytes, draws: random.Random, scraps: Sequence[bytes]) -> bytes:
    return content[: draws.randrange(len(content) + 1)]


WAYS = [_flip, _flip, _flip, _overwrite, _delete, _repeat, _swap, _insert, _insert, _insert, _cut]
EVEN = [_flip, _flip, _overwrite, _swap]  # what leaves the length as it was, so that sizes do not give it away


def harmed(content: bytes, draws: random.Random) -> bytes:
    """A binary file with damage: half of the time of the same length."""
    if draws.random() < 0.5:
        return mutated(
            content, draws, scraps=[b"\x00" * 8, b"\xff" * 8, b"OHDR", b"TREE", b"SNOD", b"HEAP", b"\x89HDF\r\n\x1a\n"]
        )
    for _ in range(draws.randint(1, 4)):
        content = draws.choice(EVEN)(content, draws, [])
    return content
