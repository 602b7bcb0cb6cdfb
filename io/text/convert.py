"""svmlight text to a data set, by all ranks: the same shards from any number of them.

Every rank parses its parts of the text into runs. Then row i of the text goes to place p(i), p the seeded permutation (or
the identity): the places are divided into shards and these into pieces of some PIECE nonzeros; piece by piece all ranks
send their rows to the shard's owner, which puts them in order and appends them. A rank's memory: ``TextOptions.memory`` for
parsed rows and some 160 MB for what passes through; the rows beyond that limit go through a scratch file beside the
output, 8 bytes a nonzero and 24 a row, so that text of any size can be converted.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from mpiopt.comm.world import World
from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.index import WIDEST, Index, Numbering, shard_name
from mpiopt.io.dataset.labels import Tallied
from mpiopt.io.dataset.like_training import Frame, training_frame
from mpiopt.io.dataset.nonzero_counts import NonzeroCounts
from mpiopt.io.dataset.output_files import Output, told_plainly
from mpiopt.io.dataset.rows_to_shards import Pieces, demand_two, move
from mpiopt.io.dataset.shard_writing import Form, ShardRows, ShardWriter
from mpiopt.io.dataset.shuffle import Shuffle
from mpiopt.io.dataset.writing import described, finish, shard_count, together_labels, writing
from mpiopt.io.text.asked import RowRequest
from mpiopt.io.text.numbers import IN_LABEL, Accompanying, told_names
from mpiopt.io.text.options import PLAIN, TextOptions, framed
from mpiopt.io.text.parsed_rows import Picked, RunStore, packed, unpacked
from mpiopt.io.text.parts import firsts, parts
from mpiopt.io.text.reading_progress import ReadingProgress
from mpiopt.io.text.scaled_rows import scaled
from mpiopt.io.text.spool import spooled, told_of
from mpiopt.io.text.svmlight import picked
from mpiopt.kernels.host import sound
from mpiopt.kernels.host.rows import place

PIECE, PIECES, LARGEST = 1 << 19, 1 << 11, 1 << 23  # nonzeros of a piece, pieces in all, nonzeros if those are too many


def convert(
    world: World,
    sources: Sequence[str | Path],
    target: str | Path,
    options: TextOptions = PLAIN,
    progress: Callable[[str], None] = lambda text: None,
) -> Index:
    """Convert svmlight text (plain, gzip, bzip2 or xz) to the data set ``target`` (DATA.h5) and return its index.

    Or what ``options.reader`` reads, such as tables. Sources that are pipes on rank 0 are copied beside the output first, and
    read there.

    Collective. Raises UsageError or DataError on every rank, one sentence that names file and line; then nothing is left
    behind, and nothing that was there is lost.
    """
    like = None
    if options.like is not None:
        like = training_frame(options.like, world, options.base, options.features, options.normalize)
    options = framed(options, like)
    with writing(world, target, options.overwrite) as output:
        with told_plainly(output.target):
            files = spooled(world, [Path(source) for source in sources], output.folder)
        return _TextConversion(world, [str(source) for source in sources], files, output, options, like, progress).run()


class _TextConversion:
    """One conversion: parse, plan, move. Every method but those of one rank's rows is collective."""

    def __init__(
        self,
        world: World,
        sources: list[str],
        files: list[Path],
        output: Output,
        options: TextOptions,
        like: Frame | None,
        progress: Callable[[str], None],
    ) -> None:
        self.world, self.sources, self.output, self.options, self.progress = world, sources, output, options, progress
        self.files, self.like = files, like
        self.names = None if like is None else like.made.names

    def run(self) -> Index:
        """All of it."""
        if self.options.names is not None:
            self.names = told_names(self.world, self.options.names)
        self._prepare()
        starts = self._parse()
        self.parser.settle(self.world)
        tallied = self._plan()
        with told_plainly(self.output.target):
            scale = scaled(self.world, self.store, self.form.cols, self.base, self.measured.rows, self.options.scale, self.like)
        self._bin(starts)
        mine = move(self.world, self.output, self.pieces, self._exchange, self._writer, self._append, self.progress)
        labels = together_labels(self.world, tallied, self.sums, self.measured.rows)
        labels = labels if self.like is None else replace(labels, positive=self.like.positive)
        self.measured.merge(self.world)
        self.store.scratch.unlink(missing_ok=True)
        for copy in set(self.files) - set(map(Path, self.sources)):
            copy.unlink(missing_ok=True)
        self.world.barrier()  # the folder is renamed only when it holds nothing but shards
        index = described(
            self.measured,
            self.form.cols,
            labels,
            shuffle=self.options.shuffle,
            normalize=self.options.normalize,
            sources=tuple(self.sources),
            numbering=self.numbering,
            values=self.options.values,
            features=self.names,
            beside=self.beside.columns,
            recipe=self.parser.recipe,
            scale=scale,
            ids=self.parser.ids,
        )
        return finish(self.world, self.output, mine, index, self.options.reduce)

    def _prepare(self) -> None:
        """See what is to be read, which rank 0 finds out where it is a table, and have what reads it."""
        options, like, world = self.options, self.like, self.world
        given = options.weights, options.offset
        with world.together(f"looking at {self._named}"), self._told:
            plan = options.reader.plan(self.files, options.table, like, given) if world.rank == 0 else None
        plan = world.tell(plan)
        self.beside = Accompanying.of(*given, () if plan is None else tuple(plan.beside))
        self.store = RunStore(options.memory, self.output.folder / f"scratch-{world.rank}.bin", self.beside.columns)
        asked = RowRequest(
            values=np.dtype(options.values),
            base=1 if options.base == "1" else 0,
            limit=None if like is None else like.cols + like.first,
            weighted=options.weights == IN_LABEL,
            order=options.indices,
            picked=None if plan is not None else picked(options.table.label),
            plan=plan,
            compact=options.compact,
            known=None if like is None else like.made.ids,
        )
        with world.together("preparing to read"):
            self.parser = options.reader.parser(self.store, asked)

    def _parse(self) -> list[int]:
        """Read this rank's parts into runs; the first row of each run in the whole. A failing rank's mark stops the others."""
        counted, mark = [], self.output.folder / "failed"
        told = ReadingProgress(self.progress)
        with self.world.together(f"reading {self._named}"), told_plainly(self.output.target), self._told:
            try:
                for part in parts(self.files, self.world.rank, self.world.size, self.options.reader.size):
                    counted.append((part.number, self.parser.read(part, lambda size: told(size) and not mark.exists())))
            except BaseException:
                with suppress(OSError):
                    mark.touch()
                raise
        return firsts(self.world, counted)

    def _plan(self) -> Tallied:
        """Agree on shape, base, shards and pieces."""
        options, parser = self.options, self.parser
        told = self.world.tell_all((parser.least, parser.greatest, parser.nnz, parser.singles, parser.rows, parser.dropped))
        least, greatest, nnz, singles, rows, dropped = zip(*told, strict=True)
        self._refuse_nothing(sum(rows), sum(nnz))
        self.numbering = self._numbering(min(least) == 0, sum(dropped))
        self.base = 0 if self.numbering is None else self.numbering.base
        self.names = self.parser.names or self.names
        cols = self._columns(max(greatest) + 1 - self.base)
        if max(cols, options.features or 0) > WIDEST:
            raise UsageError(f"{self._named} with {max(cols, options.features or 0)} features: at most {WIDEST} are possible")
        if options.features is not None and options.features < cols:
            raise UsageError(f"`features={options.features}` is less than the {cols} features in {self._named}")
        labels = together_labels(self.world, parser.labels, [], sum(rows))
        demand_two(labels, options.one_label, self._named)
        self.form = Form(
            max(cols, options.features or 0),
            np.dtype(options.values),
            np.dtype(np.float32 if all(singles) else np.float64),
            self.beside.columns,
            options.gzip,
        )
        shards = shard_count(options.shards, sum(rows), sum(nnz))
        piece = min(max(PIECE, sum(nnz) // PIECES), LARGEST)
        self.pieces = Pieces.of(sum(rows), shards, max(1, round(sum(nnz) / shards / piece)))
        self.measured = NonzeroCounts(sum(rows))
        self.sums: list[float] = []
        return parser.labels

    def _columns(self, seen: int) -> int:
        """How many features there are; ``seen`` : the greatest one in the text. Raises UsageError."""
        if self.like is not None:
            return self.like.cols
        if self.parser.recipe is not None:
            return self.parser.recipe.cols
        if self.names is None:
            return seen
        if (most := max(seen, self.options.features or 0)) > len(self.names):
            raise UsageError(
                f"{self.options.names} names {len(self.names):,} of the {most:,} features in {self._named}: name all of them, "
                "the first one first"
            )
        return len(self.names)

    def _numbering(self, zero: bool, dropped: int) -> Numbering | None:
        """By which number the first feature goes in text, and how that is known; ``zero`` : whether an index 0 occurs."""
        if self.like is None and (self.parser.recipe is not None or self.parser.ids is not None):
            return None
        if self.like is not None:
            return Numbering(self.like.first, "like", str(self.options.like), dropped)
        if self.options.base != "auto":
            return Numbering(int(self.options.base), "given")
        return Numbering(0, "seen") if zero else Numbering(1, "guessed")

    @property
    def _told(self) -> AbstractContextManager:
        return told_of(self.files, list(map(Path, self.sources)))

    @property
    def _named(self) -> str:
        return ", ".join(self.sources)

    def _refuse_nothing(self, rows: int, nnz: int) -> None:
        if not rows:
            raise DataError(f"{self._named}: there are no rows")
        if not nnz:
            known = "" if self.like is None else f" of {self.options.like}"
            raise DataError(
                f"{self._named}: no row of {rows} has a feature{known}; each is to be LABEL INDEX:VALUE INDEX:VALUE ..."
            )

    def _bin(self, firsts: list[int]) -> None:
        """Sort every run by the pieces that its rows go to, and count what each piece will hold."""
        self.progress("sorting rows into shards")
        shuffle, counts = Shuffle(self.measured.rows, self.options.shuffle), np.zeros(len(self.pieces), np.int64)
        stretches = [(first, run.rows) for run, first in zip(self.store.runs, firsts, strict=True)]
        more = self.beside.read(self.world, stretches, self.measured.rows)
        with self.world.together("sorting rows"), told_plainly(self.output.target):
            for run, (first, _), given in zip(self.store.runs, stretches, more, strict=True):
                run.bin(first, shuffle, self.pieces.bounds, given)
                counts += run.nonzeros()
        self.nonzeros = self.world.total([counts])

    def _writer(self, shard: int) -> ShardWriter:
        each = self.pieces.each
        nonzeros = int(self.nonzeros[shard * each : (shard + 1) * each].sum())
        return ShardWriter(self.output.folder / shard_name(shard), self.pieces.rows(shard), nonzeros, self.form)

    def _exchange(self, pieces: list[int]) -> list[Picked]:
        """Send each rank d the rows of ``pieces[d]`` and receive this rank's; one's own are handed over as they lie."""
        own = pieces[self.world.rank]
        kept = [run.take(own) for run in self.store.runs] if own < len(self.nonzeros) else []
        if self.world.size == 1:
            return kept
        outgoing = [
            packed([], self.form)
            if d == self.world.rank or piece >= len(self.nonzeros)
            else packed([run.take(piece) for run in self.store.runs], self.form)
            for d, piece in enumerate(pieces)
        ]
        arrived = [self.world.alltoall(field) for field in zip(*outgoing, strict=True)]
        return kept + [unpacked(self.store.width, *fields) for fields in zip(*arrived, strict=True)]

    def _append(self, writer: ShardWriter, shard: int, piece: int, picked: list[Picked]) -> None:
        """The rows of one piece in their order, to the file."""
        lo, hi = self.pieces.bounds[piece : piece + 2].tolist()
        lengths, y, beside = np.zeros(hi - lo, np.int64), np.empty(hi - lo), np.empty((hi - lo, self.store.width))
        for rows in picked:
            lengths[rows.places - lo], y[rows.places - lo], beside[rows.places - lo] = rows.lengths, rows.y, rows.beside
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        indices, data = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], self.form.values)
        unit = self.options.normalize == "l2"
        for rows in picked:
            place(
                rows.places - lo,
                rows.starts,
                rows.lengths,
                rows.indices,
                rows.data,
                indptr,
                indices,
                data,
                np.int32(self.base),
                unit,
            )
        if len(data) and float(np.abs(data).max()) > sound.LARGEST:
            raise DataError(
                f"{self._named} has the value {data[np.abs(data).argmax()]:g}, and no value may be above {sound.LARGEST:g} in "
                "size, so that it can be squared: scale the features, or give `normalize=l2`"
            )
        self.measured.add(lo, lengths)
        self.sums.append(float(y.sum()))
        writer.append(ShardRows(lengths, indices, data, y, **dict(zip(self.beside.columns, beside.T, strict=True))))
