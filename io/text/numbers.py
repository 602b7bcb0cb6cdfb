"""Text with one number, or one name, a line: weights, offsets and names that come in a file of their own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mpiopt.comm.world import World
from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.beside import OFFSET, WEIGHT, fault, faulty
from mpiopt.io.text.parts import BROKEN, Part, blocks, cut_off, opened, where
from mpiopt.words import counted

ROOM = 1 << 31  # bytes of a file of names
IN_LABEL = "label"  # in place of a file of weights: they stand behind the labels


def numbers(path: Path, name: str) -> np.ndarray:
    """The numbers in a file, plain or compressed, (lines,): blank lines do not count. Not collective.

    name : "weight" or "offset", whose values are looked at. Raises DataError naming file and line.
    """
    found = [_block(text[:end].tobytes(), path, at, name) for text, end, at in blocks(Part(0, path, 0, None))]
    return np.concatenate(found) if found else np.empty(0)


def _block(text: bytes, path: Path, at: int, name: str) -> np.ndarray:
    lines = [line.strip() for line in text.split(b"\n")]
    tokens = [line for line in lines if line]
    try:
        if any(b"_" in token or b" " in token for token in tokens):
            raise ValueError
        values = np.array(tokens, dtype=bytes).astype(float) if tokens else np.empty(0)
        if not faulty(name, values).any():
            return values
    except ValueError:
        pass
    for number, token in enumerate(lines):
        if token and (wrong := _wrong(token, name)):
            place = where(path, at + sum(map(len, text.split(b"\n")[:number])) + number)
            shown = token.decode("utf-8", "backslashreplace")
            raise DataError(f"{place}: {shown[:40]!r} {wrong}, and every line is to be the {name} of a row")
    raise AssertionError("what was wrong with one of the lines is gone")


def _wrong(token: bytes, name: str) -> str:
    try:
        return "is not a number" if b"_" in token else fault(name, float(token))
    except ValueError:
        return "is not a number"


@dataclass(frozen=True)
class Accompanying:
    """What comes with the rows of a conversion. columns : of `dataset.beside`; apart : files of those that have their own."""

    columns: tuple[str, ...]
    apart: dict[int, Path]

    @staticmethod
    def of(weights: str | Path | None, offset: str | Path | None, inside: tuple[str, ...] = ()) -> "Accompanying":
        """From a file of weights, or "label", and a file of offsets; ``inside`` : those that are columns of a table."""
        given = {name: where for name, where in ((WEIGHT, weights), (OFFSET, offset)) if where is not None}
        apart = {k: Path(path) for k, (name, path) in enumerate(given.items()) if name not in inside and path != IN_LABEL}
        return Accompanying(tuple(given), apart)

    def read(self, world: World, stretches: list[tuple[int, int]], rows: int) -> list[dict[int, np.ndarray]]:
        """What is in the files, by column, for stretches of rows, (first, count). Collective. Raises DataError everywhere."""
        found = {k: dealt(world, path, self.columns[k], stretches, rows) for k, path in self.apart.items()}
        return [{k: parts[number] for k, parts in found.items()} for number in range(len(stretches))]


def dealt(world: World, path: Path, name: str, stretches: list[tuple[int, int]], rows: int) -> list[np.ndarray]:
    """The numbers in a file for stretches of rows, (first, count) on this rank, of ``rows`` in all. Collective.

    One rank reads the file. Raises DataError on every rank.
    """
    told = world.tell_all(stretches)
    parts = [np.empty(0) for _ in told]
    with world.together(f"reading {path}"):
        if world.rank == 0:
            found = numbers(path, name)
            if len(found) != rows:
                raise DataError(
                    f"{path} has {counted(len(found), name)}, and the sources have {counted(rows, 'row')}: give one a row, "
                    "in the order of the sources"
                )
            parts = [np.concatenate([np.empty(0), *(found[lo : lo + n] for lo, n in each)]) for each in told]
    mine = world.alltoall(parts, "beside")[0]
    return np.split(mine, np.cumsum([count for _, count in stretches])[:-1]) if stretches else []


def told_names(world: World, path: Path) -> tuple[str, ...]:
    """`names`, read by one rank. Collective. Raises DataError, UsageError on every rank."""
    with world.together(f"reading {path}"):
        found = names(path) if world.rank == 0 else ()
    return world.tell(found)


def names(path: Path) -> tuple[str, ...]:
    """The names of features in a file, one a line, the first feature's first. Not collective. Raises DataError, UsageError."""
    try:
        with opened(path) as file:
            text = file.read(ROOM + 1) or b""
    except BROKEN as error:
        raise cut_off(path, error) from error
    if len(text) > ROOM:
        raise DataError(f"{path} has more than {ROOM:,} bytes: it is no list of names")
    try:
        found = text.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text in UTF-8 ({error.reason} at byte {error.start})") from error
    seen: dict[str, int] = {}
    for line, name in enumerate(found, 1):
        if not name.strip():
            raise DataError(f"{path}, line {line} is empty: give every feature a name")
        if "\0" in name:
            raise DataError(f"{path}, line {line}: the name {name[:40]!r} holds a null character")
        if name in seen:
            raise DataError(
                f"{path}, line {line}: {name[:40]!r} is the name of feature {seen[name]} already: give each its own"
            )
        seen[name] = line
    if not found:
        raise UsageError(f"{path} is empty: give the name of one feature a line")
    return tuple(found)
