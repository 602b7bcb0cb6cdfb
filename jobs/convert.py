"""``mpiopt convert``: svmlight text, tables or images to a data set that every other job reads, by all ranks."""

if __name__ == "__main__":
    from alone import alone

    alone(__file__)

from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.console import Console, size
from mpiopt.jobs.cli.options import MaybeHash, MaybeWhole, Plugins, Whole
from mpiopt.jobs.describe import contents, facts, labels_text, reduction_text
from mpiopt.jobs.running.job_files import apart, of_conversion, tell_unlocked
from mpiopt.words import counted

if TYPE_CHECKING:
    from mpiopt.comm.world import World
    from mpiopt.io.dataset.index import Index
    from mpiopt.io.images.sources import Pack
    from mpiopt.io.text.readers import Reader
    from mpiopt.io.text.vocabulary import Lexicon


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Convert svmlight text, tables or images to DATA.h5 and the shards beside it: mpiopt convert SOURCE... DATA.h5

    Text is plain or compressed (gzip, bzip2, xz, zstd). Tables are CSV, TSV, Parquet or Arrow files, folders or patterns of
    them (extra: arrow): --label names the column of labels; numbers become features as they are, texts a feature for each
    category. Matrices are h5ad (AnnData; --label is a column of obs) and npz of scipy.sparse (--label is a file of numbers).
    Images are idx files and their labels (MNIST), CIFAR batches, or npz archives of x and y or of packed pictures. Text for
    language models becomes tokens by --tokens. The same
    shards come from any number of ranks.
    """

    files: Annotated[tuple[Path, ...], Parameter(name="--file", metavar="SOURCE... DATA.h5")] = field(kw_only=False)
    """The files to convert, - for text on standard input, and last the data set to write."""
    normalize: Literal["none", "l2", "channels"] = "none"
    """l2: divide each row of text by its Euclidean norm. channels: bring each colour of images to mean 0 and deviation 1."""
    like: Path | None = None
    """The training set of this test set (DATA.h5), or a run on it (RUN.h5). Of text: take base, features, normalisation and
    the label that is +1 from it; entries of features that it does not have are left out and counted. Of images: take mean
    and deviation, from DATA.h5."""
    shuffle: MaybeWhole = None
    """Seed of the order of the rows. [default: 0]"""
    no_shuffle: Annotated[bool, Parameter(negative=())] = False
    """Keep the order of the sources: methods with local models need more rounds where it is sorted."""
    shards: MaybeWhole = None
    """Number of shard files. [default: one per 32 MiB, at most 256]"""
    base: Literal["auto", "0", "1"] = "auto"
    """Text: number of the first feature; auto: 1 unless a 0 occurs, as a warning says."""
    features: str | None = None
    """Text: at least so many features (a test set has them by --like). Tables: the columns that become features, by names and
    patterns such as age,price_*. [default: all but labels, weights and offsets]"""
    label: str | None = None
    """Tables: the column of the labels, numbers or the names of classes. Text whose rows have several labels, 1,3: the one that
    becomes 1, and others -1."""
    drop: str | None = None
    """Tables: columns that are left out, as --features."""
    categorical: str | None = None
    """Tables: columns whose values are categories even where they are numbers, as --features."""
    hash: MaybeHash = None
    """Tables: so many features, such as 2**22, by hashing names (as scikit-learn's FeatureHasher), in place of a vocabulary."""
    missing: Literal["refuse", "zero", "indicator", "mean"] = "refuse"
    """Tables: what a missing value becomes: 0, 0 and a feature that says so, or the mean of its column (0 of a category)."""
    header: bool = True
    """Tables: whether CSV begins with the names of its columns; else these are called 1, 2, 3 ..."""
    layer: str | None = None
    """Of h5ad: this layer in place of X."""
    tokens: str | None = None
    """Text for language models (UTF-8), to rows of tokens: characters, bytes, or a file of pieces, one a line in JSON's quotes,
    of which the longest that fits is taken. A test set has those of --like."""
    block: Whole = 128
    """With --tokens: how many a row has; what is left over at the end of a text is left out."""
    vocabulary: Whole = 1 << 20
    """Tables: the most categories of a column."""
    scale: Literal["none", "max", "std"] = "none"
    """Divide each feature by its largest size, or by its standard deviation; zeros stay. coef and export undo it."""
    compact: Annotated[bool, Parameter(negative=())] = False
    """Text: features are those that occur, whatever their numbers (hashes of up to 64 bits), which are kept as their names."""
    indices: Literal["refuse", "sort", "sum"] = "refuse"
    """Text: what becomes of indices that do not ascend within a row; sum also adds up the values of one that comes twice."""
    values: Literal["float32", "float64"] = "float32"
    """Text: type of the stored values."""
    reduce: Annotated[bool, Parameter(negative=())] = False
    """Also keep the rows in fewer columns, beside X: features of a single entry merged by row, the others by how often they
    occur. Solves with spcg and l2, or no penalty, that would make them at their start then take them from here."""
    gzip: MaybeWhole = None
    """Compress the shards at this level, 1 to 9. [default: no compression]"""
    one_label: Annotated[bool, Parameter(negative=())] = False
    """Accept rows that all have the same label; of a table that is read with --like, also rows without."""
    memory: Whole = 1024
    """Megabytes of rows that a rank keeps; what is beyond goes through a scratch file beside DATA.h5."""
    weights: str | None = None
    """A file of sample weights, one number a row in the order of the sources; a column of a table; or label where labels of
    text are LABEL:WEIGHT."""
    offset: str | None = None
    """A file of offsets, one number a row, or a column of a table: added to margins, such as the logarithm of an exposure."""
    names: Path | None = None
    """Text: a file with the names of the features, one a line, the first feature's first."""
    reader: str | None = None
    """What reads the sources: svmlight, csv, criteo (tab-separated: label, I1 to I13, C1 to C26), parquet, arrow, h5ad, npz,
    or one of a plugin. [default: by suffix and content]"""
    plugin: Plugins = ()
    overwrite: Annotated[bool, Parameter(negative=())] = False
    """Replace an existing data set; nothing else is."""


def run(job: Convert, world: "World", console: Console) -> dict[str, Any]:
    """Convert and say what came of it. Collective. Raises UsageError and DataError on every rank."""
    from mpiopt.io.text.sources import expanded

    if len(job.files) < 2:
        raise UsageError("convert needs at least one source and, last, the data set to write: mpiopt convert a9a.svm a9a.h5")
    *given, target = job.files
    with world.together(f"looking at {given[0]}"):
        sources = world.tell(expanded(given) if world.rank == 0 else None)
    tell_unlocked(apart(of_conversion([*sources, *_beside(job)], job.like, target)), world, console)
    common, start = _common(job), perf_counter()
    console(f"converting {', '.join(map(str, sources))} on {world.size} rank{'s' * (world.size > 1)}")
    reader, packs, words = None, None, None
    if job.tokens is None:
        reader, packs = _found(job.reader, sources, world)
    else:
        packs, words = _windows(job, sources, world)
    if packs is None:
        index = _text(job, sources, common | {"reader": reader}, world, console)
    else:
        index = _dense(job, packs, common | {"vocabulary": words}, world, console)
    seconds = perf_counter() - start
    if job.no_shuffle:
        console.note("note: the rows keep their order; if it is sorted, methods with local models need more rounds")
    if job.reduce and index.reduced is None:
        console.note(f"note: no rows in fewer columns were written: {_unreduced(index)}")
    console.show(
        f"{target}: {counted(index.rows, 'row')}, {contents(index)} in {len(index.shards)} "
        f"shard{'s' * (len(index.shards) > 1)} of {size(sum(s.nbytes for s in index.shards))}, "
        f"{reduction_text(index)}"
        f"labels {labels_text(index)}; {seconds:.1f} s"
    )
    return facts(target, index) | {"seconds": seconds}


def _unreduced(index: "Index") -> str:
    """Why there are none, in a few words."""
    from mpiopt.problems.reduced import MANY, WORTH, many

    if index.item is not None:
        return "those here are dense"
    if not many(index.cols):
        return f"{counted(index.cols, 'feature')} are few, and from {MANY:,} on it may pay"
    return f"features with one entry, or none, are to be {WORTH:.0%} of all for it to pay, and values at most 1e30 in size"


def _beside(job: Convert) -> list[Path]:
    """The files that stand beside the sources."""
    apart = [Path(given) for given in (job.weights, job.offset) if given not in (None, "label") and Path(str(given)).exists()]
    return apart + ([] if job.names is None else [job.names])


def _common(job: Convert) -> dict[str, Any]:
    """The options of either kind of source. Raises UsageError."""
    if job.no_shuffle and job.shuffle is not None:
        raise UsageError("--shuffle and --no-shuffle contradict each other: give one of them")
    limits = {
        "shards": (job.shards, 1, 10**6),
        "vocabulary": (job.vocabulary, 1, 2**31 - 1),
        "gzip": (job.gzip, 1, 9),
        "memory": (job.memory, 1, 10**9),
    }
    for name, (value, least, most) in limits.items():
        if value is not None and not least <= value <= most:
            raise UsageError(f"--{name} {value} is not between {least} and {most}")
    return {
        "shuffle": None if job.no_shuffle else (job.shuffle or 0),
        "shards": job.shards,
        "gzip": job.gzip,
        "one_label": job.one_label,
        "overwrite": job.overwrite,
        "memory": job.memory << 20,
    }


def _found(name: str | None, sources: list[Path], world: "World") -> "tuple[Reader, list[Pack] | None]":
    """What rank 0 finds in the sources: their reader, or packs of dense rows. Collective."""
    from mpiopt.io.images.recognise import scan
    from mpiopt.io.text.readers import READERS, SVMLIGHT, reader_of
    from mpiopt.io.text.spool import is_stream

    reader, packs = None, None
    with world.together(f"looking at {', '.join(map(str, sources))}"):
        if world.rank == 0:
            reader = reader_of(name, sources)
            streams = [source for source in sources if is_stream(source)]
            if reader is None and (files := [source for source in sources if source not in streams]):
                packs = scan(files)
            if packs is not None and streams:
                raise UsageError(f"{streams[0]} is a pipe, and images are read from files alone: give the file")
    chosen, packs = world.tell((None if reader is None else reader.name, packs))
    return SVMLIGHT if chosen is None else READERS.find(chosen), packs


def _windows(job: Convert, sources: list[Path], world: "World") -> "tuple[list[Pack], Lexicon]":
    """Texts as rows of tokens. Collective. Raises DataError, UsageError on every rank."""
    from mpiopt.io.dataset.dense import DenseDataset
    from mpiopt.io.text.vocabulary import vocabulary_of
    from mpiopt.io.text.windows import TokenWindows, read_text

    if not 1 <= job.block <= 1 << 20:
        raise UsageError(f"--block {job.block} is not between 1 and {1 << 20}")
    vocabulary = None if job.like is None else DenseDataset.open(job.like, world).item.vocabulary
    if job.like is not None and vocabulary is None:
        raise UsageError(f"--like {job.like} is no set of tokens: give one that was converted with --tokens")
    with world.together(f"reading {', '.join(map(str, sources))}"):
        asked = str(job.tokens)
        found = vocabulary or vocabulary_of(asked, list(map(read_text, sources)) if asked == "characters" else [])
        return [TokenWindows(source, found, job.block) for source in sources], found


def _text(job: Convert, sources: list[Path], common: dict[str, Any], world: "World", console: Console) -> "Index":
    from mpiopt.io.dataset.like_training import notes, training_frame
    from mpiopt.io.text.convert import convert
    from mpiopt.io.text.options import TextOptions

    if job.normalize == "channels":
        raise UsageError("--normalize channels is for images, but the sources are text")
    same = ("normalize", "base", "like", "values", "weights", "offset", "names", "indices", "scale", "compact", "reduce")
    options = TextOptions(**{name: getattr(job, name) for name in same}, **_columns(job), **common)
    index = convert(world, sources, job.files[-1], options, console)
    base = "auto" if index.numbering is None else str(index.numbering.base)
    like = None if job.like is None else training_frame(job.like, world, base, None, "none")
    for sentence in notes(index, like):
        console.note(f"note: {sentence}")
    return index


def _columns(job: Convert) -> dict[str, Any]:
    """How columns of tables are read, and the least number of features of text. Raises UsageError."""
    from mpiopt.io.tables.plan import TableOptions

    least = job.features is not None and job.features.isdigit()
    if least and not 1 <= int(str(job.features)) <= 2**62:
        raise UsageError(f"--features {job.features} is not between 1 and {2**62}")
    table = TableOptions(
        label=job.label,
        columns=_listed(None if least else job.features),
        drop=_listed(job.drop),
        categorical=_listed(job.categorical),
        hash=job.hash or 0,
        missing=job.missing,
        header=job.header,
        vocabulary=job.vocabulary,
        layer=job.layer,
        unlabelled=job.one_label,
    )
    return {"features": int(str(job.features)) if least else None, "table": table}


def _listed(text: str | None) -> tuple[str, ...]:
    """Names with commas between them."""
    return () if text is None else tuple(part.strip() for part in text.split(","))


def _dense(job: Convert, packs: "list[Pack]", common: dict[str, Any], world: "World", console: Console) -> "Index":
    from mpiopt.io.images.convert import ImageOptions, convert_dense

    unsuited = {
        "--normalize l2": job.normalize == "l2",
        "--base": job.base != "auto",
        "--features": job.features is not None,
        "--values float64": job.values != "float32",
        "--weights": job.weights is not None,
        "--offset": job.offset is not None,
        "--names": job.names is not None,
        f"--scale {job.scale}": job.scale != "none",
        "--label": job.label is not None,
        "--drop": job.drop is not None,
        "--categorical": job.categorical is not None,
        "--hash": job.hash is not None,
        "--layer": job.layer is not None,
        f"--missing {job.missing}": job.missing != "refuse",
        "--no-header": not job.header,
        "--compact": job.compact,
        f"--indices {job.indices}": job.indices != "refuse",
    }
    if given := [name for name, is_given in unsuited.items() if is_given]:
        raise UsageError(f"{given[0]} is for text, but the sources hold dense rows: leave it out")
    scale: Literal["none", "channels"] = "channels" if job.normalize == "channels" else "none"
    if job.tokens is not None:
        if scale != "none":
            raise UsageError("--normalize channels is for images, and --tokens makes numbers of text: leave one of them out")
        common |= {"one_label": True}
    return convert_dense(world, packs, job.files[-1], ImageOptions(normalize=scale, like=job.like, **common), console)
