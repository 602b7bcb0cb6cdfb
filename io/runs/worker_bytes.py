"""Bytes of many workers between their ranks and rank 0, in bounded memory.

What is to move is known to every rank beforehand: for each worker in order, names and sizes. It is cut into loads, one
collective each. Rank 0's own workers never travel.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mpiopt.comm.world import World

LOAD = 1 << 26  # bytes that rank 0 holds at once

Manifest = Sequence[Mapping[str, int]]  # per worker, in order, the bytes of what it owns
Owned = Mapping[int, Mapping[str, np.ndarray]]  # arrays by name of each worker that a rank hosts


class Piece(NamedTuple):
    """Some bytes of what a worker owns: ``start`` <= byte < ``stop``."""

    worker: int
    name: str
    start: int
    stop: int


def loads(manifest: Manifest, first: int, limit: int = LOAD) -> Iterator[list[Piece]]:
    """The loads of the workers from ``first`` on, of at most ``limit`` bytes each, in worker order. Not collective."""
    load, room = [], limit
    for worker in range(first, len(manifest)):
        for name, size in manifest[worker].items():
            start = 0
            while start < size:
                stop = min(size, start + room)
                load.append(Piece(worker, name, start, stop))
                start, room = stop, room - (stop - start)
                if not room:
                    yield load
                    load, room = [], limit
    if load:
        yield load


def gathered(world: World, load: list[Piece], own: Owned) -> Iterator[tuple[Piece, np.ndarray]]:
    """The load at rank 0, piece by piece as bytes; nothing elsewhere. Collective, and done once it is asked for."""
    mine = [content(own[piece.worker][piece.name])[piece.start : piece.stop] for piece in load if piece.worker in own]
    none = np.empty(0, np.uint8)
    sent = np.concatenate(mine) if mine and world.rank else none
    found = world.alltoall([sent, *[none] * (world.size - 1)])
    if world.rank:
        return
    whole, at = np.concatenate(found), 0
    for piece in load:
        yield piece, whole[at : (at := at + piece.stop - piece.start)]


def scattered(world: World, load: list[Piece], found: Sequence[np.ndarray], own: Owned) -> None:
    """Bring a load from rank 0 to its owners. Collective.

    found : at rank 0 the bytes of each piece. own : what to fill.
    """
    parts: list[list[np.ndarray]] = [[np.empty(0, np.uint8)] for _ in range(world.size)]
    for piece, part in zip(load, found, strict=False):
        parts[world.host_of(piece.worker)].append(part)
    whole, at = world.alltoall([np.concatenate(part) for part in parts])[0], 0
    for piece in load:
        if piece.worker in own and world.rank:
            target = content(own[piece.worker][piece.name])[piece.start : piece.stop]
            target[:] = whole[at : (at := at + piece.stop - piece.start)]


def content(array: np.ndarray) -> np.ndarray:
    """The bytes of an array, (nbytes,) uint8: a view where it is contiguous."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
