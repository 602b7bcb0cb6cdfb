"""Whether an index can be of a data set at all: what it says of rows, columns, labels and shards must go together."""

from itertools import pairwise

import numpy as np

from mpiopt.io.dataset.beside import COLUMNS
from mpiopt.io.dataset.dense_row import Item
from mpiopt.io.dataset.index import WIDEST, Index, stride_for, strides
from mpiopt.io.dataset.labels import Labels

NORMALISED, STORED = ("none", "l2", "channels"), ("uint8", "float32", "float64")
KNOWN = ("given", "like", "seen", "guessed")  # how the number of the first feature is


def consistent(index: Index) -> Index:
    """The index itself. Raises ValueError with the first thing that cannot be, in a few words."""
    claims = [*_whole(index), *_labels(index.labels, index.rows), *_shards(index)]
    if (numbering := index.numbering) is not None:
        known = numbering.base in (0, 1) and numbering.by in KNOWN and numbering.dropped >= 0
        claims.append((known, "its features are numbered as none are"))
    if index.item is not None:
        claims += _item(index.item, index)
    if index.reduced is not None:
        shards = index.shards
        claims += index.reduced.claims([shard.rows for shard in shards], [shard.nnz for shard in shards], index.cols)
    for holds, what in claims:
        if not holds:
            raise ValueError(what)
    return index


def _whole(index: Index) -> list[tuple[bool, str]]:
    stride, spans = (stride_for(index.rows), strides(index.rows)) if index.item is None else (index.rows, 1)
    prefix = index.prefix
    return [
        (index.rows > 0, f"it has {index.rows} rows"),
        (0 < index.cols <= WIDEST, f"it has {index.cols} columns, where 1 to {WIDEST} are possible"),
        (0 <= index.nnz <= index.rows * index.cols, f"it has {index.nnz} nonzeros in {index.rows} rows"),
        (index.stride == stride and prefix.shape == (spans + 1,), "its table of nonzeros does not fit its rows"),
        (prefix[0] == 0 and prefix[-1] == index.nnz and bool((np.diff(prefix) >= 0).all()), "its table of nonzeros is no sum"),
        (0 <= index.lengths[0] <= index.lengths[2] <= index.cols, "its rows are of impossible lengths"),
        (index.normalize in NORMALISED, f"its rows are normalised by {index.normalize!r}"),
        (index.values in (None, "float32", "float64"), f"its values are stored as {index.values!r}"),
        (set(index.beside) <= set(COLUMNS), f"its rows have {', '.join(index.beside)[:60]!r} beside their labels"),
        (index.features is None or len(index.features) == index.cols, "it does not name every column"),
    ]


def _labels(labels: Labels, rows: int) -> list[tuple[bool, str]]:
    known = (labels.least, labels.greatest) if labels.distinct is None else labels.distinct
    counts = (rows,) if labels.counts is None else labels.counts
    ascending = all(a < b for a, b in pairwise(known)) or (labels.distinct is None and known[0] == known[1])
    return [
        (bool(known) and bool(np.isfinite(known).all()) and ascending, "its labels are not ascending numbers"),
        ((known[0], known[-1]) == (labels.least, labels.greatest), "its labels contradict each other"),
        (labels.positive is None or bool(np.isfinite(labels.positive)), "its positive label is no number"),
        (labels.distinct is None or len(counts) in (1, len(known)), "it does not count every label"),
        (min(counts) > 0 and sum(counts) == rows, "its labels are not counted as often as there are rows"),
    ]


def _shards(index: Index) -> list[tuple[bool, str]]:
    shards = index.shards
    return [
        (all(min(shard.rows, shard.nnz, shard.nbytes) >= 0 for shard in shards), "a shard has less than nothing"),
        (sum(shard.rows for shard in shards) == index.rows, "its shards do not add up to its rows"),
        (sum(shard.nnz for shard in shards) == index.nnz, "its shards do not add up to its nonzeros"),
    ]


def _item(item: Item, index: Index) -> list[tuple[bool, str]]:
    labels, scales = index.labels, [item.scale, *(item.std or ())]
    means = [len(values) for values in (item.mean, item.std) if values is not None]
    return [
        (bool(item.shape) and min(item.shape) > 0 and item.size == index.cols, f"a row is {item.text()}"),
        (index.nnz == index.rows * item.size, "its rows are not full"),
        (item.stored in STORED, f"its rows are stored as {item.stored!r}"),
        (bool(np.isfinite(scales).all()) and min(scales) > 0, "its rows are divided by what is no scale"),
        (means in ([], [item.channels] * 2) and bool(np.isfinite(item.mean or 0).all()), "its means are not one a channel"),
        (labels.least >= 0 and labels.greatest < WIDEST, "its labels are no classes"),
        (all(map(float.is_integer, map(float, labels.distinct or ()))), "its labels are not whole"),
    ]
