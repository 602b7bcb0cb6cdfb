"""Finding out by their content what files of dense rows are: idx pairs, npz archives, CIFAR batches, or none of these."""

from collections.abc import Sequence
from math import prod
from pathlib import Path

import numpy as np

from mpiopt.errors import DataError, UsageError
from mpiopt.io.images.cifar import read_batch
from mpiopt.io.images.idx import pairs
from mpiopt.io.images.npz import names, open_arrays
from mpiopt.io.images.pictures import open_pictures
from mpiopt.io.images.sources import Pack, stream
from mpiopt.io.text.parts import LINE

_HEAD = 512


def scan(sources: Sequence[str | Path]) -> list[Pack] | None:
    """The packs that the files make, without their rows; None if all are text. Not collective.

    Raises DataError for files that are neither or do not fit together, UsageError for text among images.
    """
    kinds = [(_kind(path), path) for path in map(Path, sources)]
    if {kind for kind, _ in kinds} == {"text"}:
        return None
    if text := [str(path) for kind, path in kinds if kind == "text"]:
        raise UsageError(f"{text[0]} is text, but other sources are not: convert them one after the other")
    packs = [_archive(path, kind) for kind, path in kinds if kind != "idx"]
    packs += pairs([path for kind, path in kinds if kind == "idx"])
    for pack in packs:
        _fits(pack, packs[0])
    return packs


def _kind(path: Path) -> str:
    """What a file is by its first bytes, decompressed: "idx", "npz", "pickle" or "text". Raises DataError."""
    with stream(path) as file:
        head = file.read(_HEAD)
    if head.startswith(b"PK\x03\x04"):
        return "npz"
    if head[:2] == b"\0\0" and len(head) > 4 and head[3]:
        return "idx"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "pickle"
    if head[257:262] == b"ustar":
        raise DataError(f"{path} is a tar archive: unpack it and give the files in it")
    if any(byte < 9 or 13 < byte < 32 for byte in head[:16]):
        raise DataError(
            f"{path} is neither svmlight text nor images: it begins with the bytes {head[:4].hex(' ')}, where idx files "
            "have 00 00 08, npz archives 50 4b 03 04 and pickled CIFAR batches 80"
        )
    return "text"


def _archive(path: Path, kind: str) -> Pack:
    if kind == "pickle":
        return read_batch(path)
    found = names(path)
    if found >= {"header", "payload", "offsets", "labels"}:
        return open_pictures(path)
    if found >= {"x", "y"}:
        return open_arrays(path)
    raise DataError(
        f"{path} holds the arrays {', '.join(sorted(found)) or 'none'}: rows need x (rows, ...) and y (rows), packed pictures "
        "header, payload, offsets and labels"
    )


def _fits(pack: Pack, first: Pack) -> None:
    size = prod(pack.shape) * np.dtype(pack.stored).itemsize
    if min(pack.rows, *pack.shape) < 0 or size > LINE:
        raise DataError(f"{pack.path} announces {pack.rows:,} rows of {size:,} bytes each: a row may have {LINE:,}")
    if (pack.shape, pack.stored) != (first.shape, first.stored):
        raise DataError(
            f"{pack.path} has rows of shape {pack.shape} ({pack.stored}), but {first.path} has {first.shape} "
            f"({first.stored}): convert them to two data sets"
        )
