"""The readers of rows by name, and which one is meant: the one that is named, or by suffix and content."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.like_training import Frame
from mpiopt.io.tables.delimited import CRITEO, CSV
from mpiopt.io.tables.h5ad import ANNDATA
from mpiopt.io.tables.intake import TableIntake
from mpiopt.io.tables.matrix import MatrixFormat, MatrixIntake, MatrixPlan, plan_matrix
from mpiopt.io.tables.parquet import ARROW_FILE, PARQUET
from mpiopt.io.tables.plan import PLAIN_TABLE, Layout, TableOptions, TablePlan, demand_number, planned, planned_like
from mpiopt.io.tables.sheet import TableFormat
from mpiopt.io.tables.sparse_npz import SPARSE_NPZ, is_sparse_npz
from mpiopt.io.text.asked import ReadingPlan, RowRequest
from mpiopt.io.text.blocks import BlockParser, Read
from mpiopt.io.text.intake import Intake
from mpiopt.io.text.parsed_rows import RunStore
from mpiopt.io.text.parts import divisible
from mpiopt.io.text.svmlight import Parser
from mpiopt.registry.entry import Registered
from mpiopt.registry.registry import Registry

Beside = tuple[str | Path | None, str | Path | None]


@dataclass(frozen=True)
class Reader(Registered):
    """One named format. build : path -> iterator of `RowBlock`.

    suffixes, magic : how names of its files end, and with which bytes they begin.
    """

    suffixes: tuple[str, ...] = ()
    magic: bytes = b""

    def size(self, path: Path) -> int | None:
        """How many pieces a file can be divided into among ranks; None for one that is read whole. Raises DataError."""
        return None

    def parser(self, store: RunStore, asked: RowRequest) -> Intake:
        """What reads parts of the sources on one rank. Raises UsageError."""
        unsuited = {
            "`weights=label`": asked.weighted,
            f"`indices={asked.order}`": asked.order != "refuse",
            "`compact` (given, or of the set in `like`)": asked.compact,
        }
        if given := [name for name, is_given in unsuited.items() if is_given]:
            raise UsageError(f"{given[0]} is about svmlight text, and the sources are read by {self.name}: leave it out")
        return BlockParser(self.build, store, asked)

    def plan(self, files: Sequence[Path], options: TableOptions, frame: Frame | None, beside: Beside) -> ReadingPlan | None:
        """How the columns of a table are read, None of what is no table. beside : `weights` and `offset` as they were given.

        Not collective. Raises UsageError.
        """
        plain = replace(PLAIN_TABLE, unlabelled=options.unlabelled)
        if given := [name for name in vars(plain) if getattr(options, name) != getattr(plain, name)]:
            raise UsageError(
                f"`{given[0]}` is about the columns of tables, and {files[0]} is read by {self.name}: leave it out"
            )
        if frame is not None and frame.made.recipe is not None:
            raise UsageError(
                f"the features of {frame.name} were made of columns of a table, and {files[0]} is read by {self.name}"
            )
        return None

    def knows(self, path: Path) -> int:
        """How surely a file is of this format, by its name or its first bytes; 0 for no. Raises DataError."""
        if found := [len(suffix) for suffix in self.suffixes if path.name.endswith(suffix)]:
            return max(found)
        if not self.magic or not path.is_file():
            return 0
        try:
            with path.open("rb") as file:
                return int(file.read(len(self.magic)) == self.magic)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from error


class TextReader(Reader):
    """Of text that ranks divide by lines. build : its parser."""

    def plan(self, files: Sequence[Path], options: TableOptions, frame: Frame | None, beside: Beside) -> ReadingPlan | None:
        """See `Reader`: `label` is the one of several that becomes 1."""
        return super().plan(files, replace(options, label=None), frame, beside)

    def size(self, path: Path) -> int | None:
        """In bytes."""
        return divisible(path)

    def parser(self, store: RunStore, asked: RowRequest) -> Intake:
        """See `Reader`."""
        return self.build(store, asked)


class TableReader(Reader):
    """Of a table. build : nothing -> its `TableFormat`."""

    def size(self, path: Path) -> int | None:
        """As its format counts."""
        return self.build().size(path)

    def parser(self, store: RunStore, asked: RowRequest) -> Intake:
        """See `Reader`."""
        super().parser(store, asked)
        return TableIntake(self.build(), store, asked)

    def plan(self, files: Sequence[Path], options: TableOptions, frame: Frame | None, beside: Beside) -> TablePlan:
        """See `Reader`: by the first file."""
        types, layout = self.build().types(files[0], Layout(header=options.header))
        weight, offset = (str(name) if name is not None and str(name) in types else None for name in beside)
        named = str(files[0])
        demand_number(types, (weight, offset), named)
        if frame is None:
            return planned(named, types, layout, options, (weight, offset))
        if frame.made.recipe is None:
            raise UsageError(f"the features of {frame.name} were not made of a table's columns, and {named} is a table")
        return planned_like(named, types, layout, frame.made, options, (weight, offset))


class MatrixReader(Reader):
    """Of a sparse matrix. build : nothing -> its `MatrixFormat`."""

    def size(self, path: Path) -> int | None:
        """In rows."""
        return self.build().size(path)

    def parser(self, store: RunStore, asked: RowRequest) -> Intake:
        """See `Reader`."""
        super().parser(store, asked)
        return MatrixIntake(self.build(), store, asked)

    def plan(self, files: Sequence[Path], options: TableOptions, frame: Frame | None, beside: Beside) -> MatrixPlan:
        """See `Reader`."""
        return plan_matrix(self.build(), list(files), options, None if frame is None else frame.made)

    def knows(self, path: Path) -> int:
        """See `Reader`; npz archives may hold other things."""
        sure = super().knows(path)
        return sure if not path.name.endswith(".npz") or is_sparse_npz(path) else 0


def _h5ad() -> MatrixFormat:
    return ANNDATA


def _npz() -> MatrixFormat:
    return SPARSE_NPZ


def _csv() -> TableFormat:
    return CSV


def _criteo() -> TableFormat:
    return CRITEO


def _parquet() -> TableFormat:
    return PARQUET


def _arrow() -> TableFormat:
    return ARROW_FILE


PACKED = ("", ".gz", ".bz2", ".xz", ".zst")
SVMLIGHT = TextReader(Parser, "Joachims, Making large-scale SVM learning practical, 1999", name="svmlight")
LINES = tuple(f".{kind}{packed}" for kind in ("csv", "tsv") for packed in PACKED)
TABLES = (
    TableReader(
        _csv,
        "Shafranovich, RFC 4180, 2005",
        name="csv",
        suffixes=tuple(f".{kind}{p}" for kind in ("csv", "tsv") for p in PACKED),
    ),
    TableReader(_criteo, "Criteo, Display advertising challenge, 2014", name="criteo"),
    TableReader(_parquet, "Apache Parquet", name="parquet", suffixes=(".parquet",), magic=b"PAR1"),
    MatrixReader(_h5ad, "Virshup et al., anndata: annotated data, 2021", name="h5ad", suffixes=(".h5ad",)),
    MatrixReader(_npz, "Virtanen et al., SciPy 1.0, 2020", name="npz", suffixes=(".npz",)),
    TableReader(_arrow, "Apache Arrow", name="arrow", suffixes=(".arrow", ".feather"), magic=b"ARROW1"),
)
READERS: Registry[Reader] = Registry("reader", (SVMLIGHT, *TABLES), "mpiopt.readers")


def register(paper: str, *, suffixes: Sequence[str] = (), magic: bytes = b"") -> Callable[[Read], Read]:
    """The decorator that makes a function, path -> iterator of `RowBlock`, known as the reader of its name.

    It is given whole files, each on one rank. suffixes, magic : by which its files are known where no reader is named.
    Raises UsageError for a name that is taken.
    """

    def known(read: Read) -> Read:
        READERS.add(Reader(read, paper, suffixes=tuple(suffixes), magic=magic))
        return read

    return known


def reader_of(name: str | None, sources: Sequence[Path]) -> Reader | None:
    """The reader that is named, or that knows all sources; None where none does. Not collective. Raises UsageError."""
    if name is not None:
        return READERS.find(name)
    found = [_surest(path) for path in sources]
    if len(set(map(id, found))) > 1:
        told = ", ".join(
            f"{path} is {'not known' if one is None else one.name}" for path, one in zip(sources, found, strict=True)
        )
        raise UsageError(f"the sources are of different formats: {told}; convert them one after the other, or name the reader")
    return found[0]


def _surest(path: Path) -> Reader | None:
    """The reader that knows a file best; of those from outside, which come last, rather than of ours."""
    sure = [(reader.knows(path), k, reader) for k, reader in enumerate(READERS.all().values())]
    best = max(sure, key=lambda each: each[:2])
    return best[2] if best[0] else None
