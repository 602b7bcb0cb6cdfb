"""Rows on their way from all ranks to their shards, piece by piece, whatever a row is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.errors import DataError
from mpiopt.io.dataset.index import Shard
from mpiopt.io.dataset.labels import Labels, shown
from mpiopt.io.dataset.output_files import Output, told_plainly
from mpiopt.words import counted


@dataclass(frozen=True)
class Pieces:
    """Places of rows divided into shards and these into pieces, the same for any number of ranks.

    each : pieces of a shard; bounds : (shards * each + 1,), the first place of every piece and the end of the last.
    """

    shards: int
    each: int
    bounds: np.ndarray

    @staticmethod
    def of(rows: int, shards: int, each: int) -> "Pieces":
        """Pieces of about equally many rows."""
        edges = even(rows, shards)
        inner = [edges[s] + even(edges[s + 1] - edges[s], each)[:-1] for s in range(shards)]
        return Pieces(shards, each, np.concatenate([*inner, [rows]]))

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def rows(self, shard: int) -> int:
        """Rows of a shard."""
        return int(self.bounds[(shard + 1) * self.each] - self.bounds[shard * self.each])


class Writer(Protocol):
    """What puts the rows of a shard into its file."""

    def finish(self) -> Shard:
        """Close the file."""

    def give_up(self) -> None:
        """Close the file as it is."""


def move(
    world: World,
    output: Output,
    pieces: Pieces,
    exchange: Callable[[list[int]], Any],
    writer_of: Callable[[int], Writer],
    append: Callable[[Any, int, int, Any], None],
    progress: Callable[[str], None],
) -> list[tuple[int, Shard]]:
    """Bring every row to its place; every rank writes the shards with its number modulo the ranks. Collective.

    exchange : sends each rank d the rows of piece d of a list and returns what arrives, collectively. writer_of : of a
    shard. append : puts what has arrived for a piece into its shard: (writer, shard, piece, arrived).
    """
    mine = []
    for group in range(0, pieces.shards, world.size):
        progress(f"writing {min(group + world.size, pieces.shards)} of {counted(pieces.shards, 'shard')}")
        shard, writer = group + world.rank, None
        try:
            for k in range(pieces.each):
                arrived = exchange([(group + d) * pieces.each + k for d in range(world.size)])
                with world.together(f"writing {output.target}"), told_plainly(output.target):
                    if shard < pieces.shards:
                        writer = writer or writer_of(shard)
                        append(writer, shard, shard * pieces.each + k, arrived)
            with world.together(f"writing {output.target}"), told_plainly(output.target):
                if writer is not None:
                    mine.append((shard, writer.finish()))
        except BaseException:
            if writer is not None:
                writer.give_up()
            raise
    return mine


def demand_two(labels: Labels, one_label: bool, named: str) -> None:
    """Refuse rows that all have one label, unless that is meant. Raises DataError."""
    if labels.one and not one_label:
        raise DataError(
            f"every row of {named} has the label {shown(labels.least)}, and nothing can be learnt "
            "from one label; give `one_label` if these rows are only to be scored"
        )
