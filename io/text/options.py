"""How text, or what else holds sparse rows, is to be converted."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mpiopt.errors import UsageError
from mpiopt.io.dataset.like_training import Frame
from mpiopt.io.dataset.scaling import Scaling
from mpiopt.io.tables.plan import PLAIN_TABLE, TableOptions
from mpiopt.io.text.asked import Order
from mpiopt.io.text.readers import SVMLIGHT, Reader


@dataclass(frozen=True, kw_only=True)
class TextOptions:
    """How to convert.

    normalize : "l2" divides each row by its Euclidean norm. shuffle : seed of the rows' order, None to keep it. shards :
    their number, None for one per 2^22 nonzeros up to 256. base : the first index; "auto" is 1 unless an index 0 occurs.
    features : at least so many columns. like : the training set (DATA.h5) of this test set, or a run on it (RUN.h5), from
    which base, columns, normalisation and positive label are taken; entries of features that it does not have are left out
    (before rows are normalised) and counted. gzip : level, None for none. one_label : accept rows that all have the same
    label (data to be scored), as with ``like``. weights, offset : files of one number a row, in the order of the sources;
    weights may be "label", for labels that are LABEL:WEIGHT; of a table they may be columns. names : file of the features'
    names, one a line. compact : features are those that occur, whatever their numbers of up to 64 bits. indices : as
    ``order`` of `RowRequest`. scale : "max" divides the values of each feature by the largest in size, "std" by their standard
    deviation, zeros included; none is moved, so that zeros stay. table : how columns of a table are read. memory : bytes of
    parsed rows a rank keeps. reader : of the sources, the same on all ranks. reduce : put rows in
    fewer columns beside X, where that pays.
    """

    normalize: Literal["none", "l2"] = "none"
    shuffle: int | None = 0
    shards: int | None = None
    base: Literal["auto", "0", "1"] = "auto"
    values: Literal["float32", "float64"] = "float32"
    features: int | None = None
    like: str | Path | None = None
    gzip: int | None = None
    one_label: bool = False
    overwrite: bool = False
    memory: int = 1 << 30
    weights: str | Path | None = None
    offset: str | Path | None = None
    names: Path | None = None
    compact: bool = False
    indices: Order = "refuse"
    scale: Scaling = "none"
    table: TableOptions = PLAIN_TABLE
    reader: Reader = SVMLIGHT
    reduce: bool = False


PLAIN = TextOptions()
FROM_THE_FIRST = ("base", "features", "names")  # what is said of features that are numbered from the first one on


def framed(options: TextOptions, like: Frame | None) -> TextOptions:
    """The options, with columns as the training set has them if there is one. Raises UsageError."""
    if like is None:
        told = [name for name in FROM_THE_FIRST if getattr(options, name) != getattr(PLAIN, name)]
        if options.compact and told:
            raise UsageError(
                f"`{told[0]}` is of features that are numbered from the first one on, and `compact` takes those that occur: "
                "leave one of them out"
            )
        return options
    if options.names is not None:
        raise UsageError("`names` contradicts `like`, whose features have their own: leave one of them out")
    if options.compact and like.made.ids is None:
        raise UsageError(f"`compact` contradicts `like`, {like.name}, whose features are numbered without gaps: leave it out")
    return replace(
        options,
        base="1" if like.first else "0",
        features=like.cols,
        normalize="l2" if like.normalize == "l2" else "none",
        one_label=True,
        compact=like.made.ids is not None,
    )
