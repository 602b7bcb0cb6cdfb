"""Images and other dense rows to a data set, by all ranks: the same shards from any number of them.

Every rank reads a block of the rows, as they lie in the sources, and keeps them in memory or, beyond ``ImageOptions.memory``,
in a scratch file beside the output. Row i goes to place p(i), p the seeded permutation of `Shuffle`; the places are divided
into shards and these into pieces of some PIECE bytes; piece by piece all ranks send their rows to the shard's owner, which
puts them in order and appends them. A rank's memory is thus that limit, some ten pieces (without a shuffle as many more as
there are ranks), and 24 bytes for each of its rows.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from mpiopt.comm.blocks import even
from mpiopt.comm.world import World
from mpiopt.errors import DataError
from mpiopt.io.dataset.dense import DenseDataset
from mpiopt.io.dataset.dense_row import Item, Moments
from mpiopt.io.dataset.index import Index, shard_name
from mpiopt.io.dataset.labels import Labels, Tallied
from mpiopt.io.dataset.output_files import Output, told_plainly
from mpiopt.io.dataset.rows_to_shards import Pieces, demand_two, move
from mpiopt.io.dataset.shard_writing import DenseWriter
from mpiopt.io.dataset.shuffle import Shuffle
from mpiopt.io.dataset.writing import dense_index, finish, shard_count, together_labels, writing
from mpiopt.io.images.sources import Pack
from mpiopt.io.text.vocabulary import Lexicon
from mpiopt.words import counted

Sent = tuple[np.ndarray, np.ndarray, np.ndarray]  # places, values and labels of rows
PIECE = 1 << 22  # bytes
_SHARD = 1 << 3  # bytes that count as one nonzero of a sparse set when the shards are counted


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How to convert.

    normalize : "channels" stores mean and standard deviation of each channel, to be taken off and divided by when rows are
    read. like : a converted training set whose mean and standard deviation are taken instead, for its test set. shuffle :
    seed of the rows' order, None to keep it. shards : their number, None for one per 32 MiB up to 256. gzip : level, None
    for none. one_label : accept rows of one class. memory : bytes of rows that a rank keeps. vocabulary : of rows of tokens.
    """

    normalize: Literal["none", "channels"] = "none"
    like: str | Path | None = None
    shuffle: int | None = 0
    shards: int | None = None
    gzip: int | None = None
    one_label: bool = False
    overwrite: bool = False
    memory: int = 1 << 30
    vocabulary: Lexicon | None = None


def convert_dense(
    world: World,
    packs: Sequence[Pack],
    target: str | Path,
    options: ImageOptions = ImageOptions(),
    progress: Callable[[str], None] = lambda text: None,
) -> Index:
    """Convert the rows of ``packs`` (see `scan`), one after the other, to the data set ``target`` and return its index.

    Collective. Raises UsageError or DataError on every rank; then nothing is left behind, and nothing that was there is lost.
    """
    item = _item(packs[0], options, world) if options.vocabulary is None else _tokens(packs[0], options.vocabulary)
    with writing(world, target, options.overwrite) as output:
        return _ImageConversion(world, packs, item, output, options, progress).run()


def _tokens(pack: Pack, vocabulary: Lexicon) -> Item:
    """What a row of text is."""
    return Item(shape=pack.shape, stored=pack.stored, vocabulary=vocabulary)


def _item(pack: Pack, options: ImageOptions, world: World) -> Item:
    """What a row will be, still without a mean of its own. Collective."""
    item = Item(shape=pack.shape, stored=pack.stored, scale=255.0 if pack.stored == "uint8" else 1.0)
    if options.like is None:
        return item
    like = DenseDataset.open(options.like, world)
    if (like.shape, like.item.stored) != (item.shape, item.stored):
        raise DataError(
            f"{like.name} has rows of {like.item.text()} ({like.item.stored}), but {pack.path} of {item.text()} "
            f"({item.stored}): their scales have nothing to do with each other"
        )
    return like.item


class _ImageConversion:
    """One conversion: read, move, describe. Every method but those of one rank's rows is collective."""

    def __init__(
        self,
        world: World,
        packs: Sequence[Pack],
        item: Item,
        output: Output,
        options: ImageOptions,
        progress: Callable[[str], None],
    ) -> None:
        self.world, self.packs, self.item, self.output = world, packs, item, output
        self.options, self.progress = options, progress
        self.rows = sum(pack.rows for pack in packs)
        self.measure = options.normalize == "channels" and options.like is None
        self.moments: dict[int, Moments] = {}

    def run(self) -> Index:
        """All of it."""
        if not self.rows:
            raise DataError(f"{self._named}: there are no rows")
        self.progress(f"reading {counted(self.rows, 'row')} of {self.item.text()}")
        scratch = self.output.folder / f"scratch-{self.world.rank}.bin"
        with self.world.together(f"reading {self._named}"), told_plainly(self.output.target):
            self._hold(scratch)
        labels = self._labels()
        self._plan()
        mine = move(self.world, self.output, self.pieces, self._exchange, self._writer, self._append, self.progress)
        del self.x
        scratch.unlink(missing_ok=True)
        self.world.barrier()  # the folder is renamed only when it holds nothing but shards
        sources = tuple(str(path) for pack in self.packs for path in pack.files)
        index = dense_index(self.rows, self._measured(), labels, shuffle=self.options.shuffle, sources=sources)
        return finish(self.world, self.output, mine, index)

    @property
    def _named(self) -> str:
        return ", ".join(str(pack.path) for pack in self.packs)

    def _hold(self, scratch: Path) -> None:
        """Read this rank's rows: x (n, values of a row) as stored, y (n,); and where they go, in ascending order."""
        bounds = even(self.rows, self.world.size)
        lo, hi = int(bounds[self.world.rank]), int(bounds[self.world.rank + 1])
        shape, stored = (hi - lo, self.item.size), np.dtype(self.item.stored)
        fits = shape[0] * shape[1] * stored.itemsize <= self.options.memory
        self.x, self.y = np.empty(shape if fits else (0, shape[1]), stored), np.empty(hi - lo, np.int32)
        at, self.tallied = 0, Tallied()
        with nullcontext() if fits else open(scratch, "wb") as file:
            for x, y in self._blocks(lo, hi):
                if file is None:
                    self.x[at : at + len(y)] = x.reshape(len(y), -1)
                else:
                    file.write(x.data)  # not through the map: a full disk is then an error and not a signal
                self.y[at : at + len(y)] = y
                self.tallied.add(y)
                at += len(y)
        if not fits:
            self.x = np.memmap(scratch, stored, "r", shape=shape)
        places = Shuffle(self.rows, self.options.shuffle)(lo, hi - lo)
        self.order = np.argsort(places)
        self.places = places[self.order]

    def _blocks(self, lo: int, hi: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows lo <= i < hi of all packs together."""
        starts = np.concatenate(([0], np.cumsum([pack.rows for pack in self.packs])))
        for pack, (start, stop) in zip(self.packs, pairwise(starts.tolist()), strict=True):
            if max(lo, start) < min(hi, stop):
                yield from pack.blocks(max(lo, start) - start, min(hi, stop) - start)

    def _labels(self) -> Labels:
        labels = together_labels(self.world, self.tallied, [float(self.y.sum(dtype=np.int64))], self.rows)
        demand_two(labels, self.options.one_label, self._named)
        return labels

    def _plan(self) -> None:
        """Divide the places into shards and pieces, whatever the number of ranks."""
        nbytes = self.rows * self.item.size * np.dtype(self.item.stored).itemsize
        shards = shard_count(self.options.shards, self.rows, nbytes // _SHARD)
        self.pieces = Pieces.of(self.rows, shards, max(1, round(nbytes / shards / PIECE)))

    def _writer(self, shard: int) -> DenseWriter:
        return DenseWriter(self.output.folder / shard_name(shard), self.pieces.rows(shard), self.item, self.options.gzip)

    def _exchange(self, pieces: list[int]) -> list[Sent]:
        """Send each rank d the rows of ``pieces[d]`` and receive this rank's: places, values and labels by sender."""
        outgoing = [self._take(piece) for piece in pieces]
        if self.world.size == 1:
            return outgoing
        return list(zip(*(self.world.alltoall(field) for field in zip(*outgoing, strict=True)), strict=True))

    def _take(self, piece: int) -> Sent:
        """This rank's rows that go to ``piece``, none if there is no such piece."""
        ends = self.pieces.bounds[piece : piece + 2] if piece < len(self.pieces) else (0, 0)
        lo, hi = np.searchsorted(self.places, ends)
        rows = self.order[lo:hi]
        return self.places[lo:hi], self.x[rows].reshape(-1), self.y[rows]

    def _append(self, writer: DenseWriter, shard: int, piece: int, arrived: list[tuple[np.ndarray, ...]]) -> None:
        """The rows of one piece in their order, to the file."""
        lo, hi = self.pieces.bounds[piece : piece + 2].tolist()
        x, y = np.empty((hi - lo, self.item.size), self.item.stored), np.empty(hi - lo, np.int32)
        for places, values, labels in arrived:
            x[places - lo], y[places - lo] = values.reshape(len(places), self.item.size), labels
        writer.append(x.reshape(hi - lo, *self.item.shape), y)
        if self.measure and hi > lo:
            found = Moments.of(x, self.item)
            self.moments[shard] = self.moments[shard].merged(found) if shard in self.moments else found

    def _measured(self) -> Item:
        """What a row is, with its mean if that was asked for, merged shard by shard: the same for any rank count."""
        if not self.measure:
            return self.item
        found = {shard: moments for part in self.world.tell_all(self.moments) for shard, moments in part.items()}
        whole = reduce(Moments.merged, (found[shard] for shard in sorted(found)))
        return replace(self.item, mean=tuple(whole.mean.tolist()), std=tuple(whole.std.tolist()))
