"""The index of a data set, DATA.h5, and the names inside it: what writing and reading share.

DATA.h5 says what DATA.shards/0000.h5, 0001.h5 ... hold; names are relative, so the two move together. Each shard has a
group ``X`` in the CSR layout of AnnData (``data``, ``indices``, ``indptr``) and beside it ``y`` and perhaps ``weight``. The
rows of a dense set lie in ``X/data`` alone, (rows, *shape of one item), whose attributes say what to divide by.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from mpiopt.errors import DataError
from mpiopt.io.dataset.beside import OFFSET
from mpiopt.io.dataset.dense_row import Item
from mpiopt.io.dataset.labels import FEW, Labels
from mpiopt.io.dataset.made_features import Made
from mpiopt.io.dataset.recipe import Recipe
from mpiopt.io.dataset.reduced_index import ReducedIndex
from mpiopt.io.disk.file_kind import DATA
from mpiopt.io.disk.foreign_hdf5 import INTEGER, NUMBER, TEXTS, attribute, column
from mpiopt.io.disk.hdf5_check import parsing, tail, wrong
from mpiopt.io.disk.held_name import partial
from mpiopt.io.disk.sealed_file import is_sealed, seal_path
from mpiopt.words import storable

VERSION, PLAIN = 2, 1  # 2 : of rows with offsets, which an earlier version would leave out
CHUNK = 1 << 18  # elements
WIDEST = 2**31 - 1  # columns: their numbers have 32 bits
SHARDS = 1 << 16  # at most so many
STRIDES = 1 << 17  # at most so many entries in the table of nonzeros: 1 MiB
TEXT, NUMBERS = h5py.string_dtype(), ("rows", "nnz", "nbytes", "digest")


class Shard(NamedTuple):
    """One shard file: its name, what it holds, its size in bytes and a checksum of its chunks' checksums."""

    name: str
    rows: int
    nnz: int
    nbytes: int
    digest: int


class Numbering(NamedTuple):
    """How the columns of a set came from text.

    base : the number of the first feature there. by : how that is known: "given"; "like", from the training set; "seen", since
    an index 0 occurs; "guessed", since none does. like : the training set. dropped : entries left out, of features beyond
    those of the training set.
    """

    base: int
    by: str
    like: str = ""
    dropped: int = 0


@dataclass(frozen=True, kw_only=True)
class Index:
    """What DATA.h5 says of the whole data set.

    lengths : least, median and greatest number of nonzeros in a row. prefix[k] : nonzeros before row k * stride, the
    last entry those of all rows. shuffle : the seed of the rows' order, None for the order of the sources. item : one row
    of a dense set, of which every value counts as a nonzero; None for a sparse one. numbering : of a set from text; None
    for others, and for those of before that was recorded. values : as what those of sparse rows are stored, float32 or
    float64; None for dense rows, and for sets of before that was recorded. beside : of `dataset.beside`, what rows have;
    sets of before that was recorded may have weights all the same. recipe : of a set from a table. scale : what the values of
    each feature were multiplied by (cols,), None for 1. ids : the numbers (cols,) uint64 that columns had in text, where
    those are columns that occurred. reduced : of what shards hold beside X, where it is there.
    """

    rows: int
    cols: int
    nnz: int
    labels: Labels
    lengths: tuple[int, float, int]
    shuffle: int | None
    normalize: str
    sources: tuple[str, ...]
    shards: tuple[Shard, ...]
    prefix: np.ndarray
    stride: int
    created: str
    version: str
    features: tuple[str, ...] | None = None
    item: Item | None = None
    numbering: Numbering | None = None
    values: str | None = None
    beside: tuple[str, ...] = ()
    recipe: Recipe | None = None
    scale: np.ndarray | None = None
    ids: np.ndarray | None = None
    reduced: ReducedIndex | None = None

    @property
    def made(self) -> Made:
        """How the features were made."""
        return Made(self.features, self.scale, self.recipe, self.ids)


def stride_for(rows: int) -> int:
    """Rows between two entries of the table of nonzeros: a power of two, 1 up to STRIDES rows."""
    return 1 << max(0, (max(rows, 1) - 1).bit_length() - STRIDES.bit_length() + 1)


def strides(rows: int) -> int:
    """How many spans of `stride_for` rows there are."""
    return -(-rows // stride_for(rows))


def folder(index: Path) -> Path:
    """DATA.shards for DATA.h5."""
    return index.with_name(index.name.removesuffix(".h5") + ".shards")


def begun(index: Path) -> str:
    """What to do where a conversion to this name has begun and not ended; "" where none has."""
    if not partial(index).is_file():
        return ""
    return (
        f"{partial(index)} is of a conversion that is under way or was killed: wait for its end, or give its command "
        "again, which completes what was being put in place"
    )


def names(index: Path) -> tuple[Path, ...]:
    """What a data set is made of: the index, and the folder of its shards."""
    return index, folder(index)


def shard_name(number: int) -> str:
    """0000.h5, 0001.h5, ... 10000.h5."""
    return f"{number:04d}.h5"


def write_index(path: Path, index: Index) -> None:
    """Write the index file and seal it. Not collective. Raises OSError."""
    _write_content(path, index)
    seal_path(path)


def _write_content(path: Path, index: Index) -> None:
    labels = index.labels
    with h5py.File(path, "w", locking=False) as file:  # the name is held by whoever writes
        file.attrs.update(
            schema=DATA,
            schema_version=VERSION if OFFSET in index.beside else PLAIN,
            rows=index.rows,
            cols=index.cols,
            nnz=index.nnz,
            shuffle="none" if index.shuffle is None else index.shuffle,
            normalize=index.normalize,
            created=index.created,
            version=index.version,
            row_lengths=np.array(index.lengths, np.float64),
            label_least=labels.least,
            label_greatest=labels.greatest,
            label_mean=labels.mean,
        )
        if labels.plus is not None:
            file.attrs["label_positive"] = labels.plus
        if index.values is not None:
            file.attrs["values"] = index.values
        if index.beside:
            file.attrs.create("beside", list(index.beside), dtype=TEXT)
        if index.numbering is not None:
            file.attrs.update({f"number_{name}": value for name, value in index.numbering._asdict().items()})
        file.attrs.create("sources", list(map(storable, index.sources)), dtype=TEXT)
        if labels.distinct is not None:
            file["labels/values"], file["labels/rows"] = np.array(labels.distinct), np.array(labels.counts or ())
        file["nonzeros"] = index.prefix
        file["nonzeros"].attrs["stride"] = index.stride
        _write_shards(file.create_group("shards"), index.shards)
        if index.features is not None:
            file.create_dataset("features", data=list(index.features), dtype=TEXT)
        made = index.made._replace(names=None)
        if any(part is not None for part in made):
            made.write(file.create_group("made"))
        if index.item is not None:
            index.item.write(file.create_group("item"))
        if index.reduced is not None:
            index.reduced.write(file.create_group("reduced"))


def _write_shards(group: h5py.Group, shards: tuple[Shard, ...]) -> None:
    group.create_dataset("name", data=[shard.name for shard in shards], dtype=TEXT)
    for name in NUMBERS:
        group[name] = np.array([getattr(shard, name) for shard in shards], np.int64)


def read_index(path: Path) -> Index:
    """The index in ``path``. Not collective. Raises DataError."""
    if path.is_dir():
        raise DataError(f"{path} is a folder: name the index beside it, the DATA.h5 that mpiopt convert wrote")
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a regular file: a data set is read in many places, so name the DATA.h5 itself")
    if not path.is_file():
        raise DataError(f"{path} does not exist; {begun(path) or f'convert text or images with: mpiopt convert SOURCE {path}'}")
    if not h5py.is_hdf5(path):
        raise DataError(f"{path} is not HDF5; convert text or images first: mpiopt convert {path} DATA.h5")
    with parsing(path, "convert again"):
        if (found := wrong(path)) or (not is_sealed(path) and tail(path)):
            raise DataError(f"{path} cannot be read as a data set ({found or 'its seal is damaged'}): convert again")
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("schema") != DATA:
                raise DataError(f"{path} is HDF5, but not the index of a data set as `mpiopt convert` writes it")
            if attribute(file, "schema_version", int) > VERSION:
                raise DataError(f"{path} was written by a newer mpiopt ({file.attrs['version']}): update this one")
            return _index(file)


def _index(file: h5py.File) -> Index:
    shuffle, prefix = attribute(file, "shuffle", int, str), column(file, "nonzeros", INTEGER, (None,))
    least, median, greatest = attribute(file, "row_lengths", tuple)
    made = Made.read(file, "made", attribute(file, "cols", int)) if "made" in set(file) else Made()
    return Index(
        rows=attribute(file, "rows", int),
        cols=attribute(file, "cols", int),
        nnz=attribute(file, "nnz", int),
        labels=_labels(file),
        lengths=(int(least), float(median), int(greatest)),
        prefix=prefix[()],
        normalize=attribute(file, "normalize", str),
        created=attribute(file, "created", str),
        shuffle=None if isinstance(shuffle, str) else shuffle,
        version=attribute(file, "version", str),
        sources=tuple(map(str, attribute(file, "sources", tuple))),
        shards=_read_shards(file),
        stride=attribute(prefix, "stride", int),
        features=_read_features(file) if "features" in set(file) else None,
        item=Item.read(file, "item") if "item" in set(file) else None,
        numbering=_read_numbering(file) if "number_base" in file.attrs else None,
        values=attribute(file, "values", str) if "values" in file.attrs else None,
        beside=tuple(map(str, attribute(file, "beside", tuple))) if "beside" in file.attrs else (),
        recipe=made.recipe,
        scale=made.scale,
        ids=made.ids,
        reduced=ReducedIndex.read(file, "reduced") if "reduced" in set(file) else None,
    )


def _read_features(file: h5py.File) -> tuple[str, ...]:
    return tuple(column(file, "features", TEXTS, (attribute(file, "cols", int),)).asstr()[()].tolist())


def _read_numbering(file: h5py.File) -> Numbering:
    return Numbering(
        attribute(file, "number_base", int),
        attribute(file, "number_by", str),
        attribute(file, "number_like", str),
        attribute(file, "number_dropped", int),
    )


def _labels(file: h5py.File) -> Labels:
    least, greatest, mean = (float(attribute(file, f"label_{end}", float, int)) for end in ("least", "greatest", "mean"))
    positive = float(attribute(file, "label_positive", float, int)) if "label_positive" in file.attrs else None
    if "labels" not in set(file):
        return Labels(None, None, least, greatest, mean, positive)
    values = column(file, "labels/values", NUMBER, (None,))[()].tolist()
    counts = column(file, "labels/rows", NUMBER, (None,))[()].astype(int).tolist()
    if len(values) > FEW:
        raise ValueError(f"it lists {len(values):,} labels, more than {FEW}")
    return Labels(tuple(values), tuple(counts) or None, least, greatest, mean, positive)


def _read_shards(file: h5py.File) -> tuple[Shard, ...]:
    """The shards, whose names follow from their numbers, so that none leads elsewhere."""
    names = column(file, "shards/name", TEXTS, (None,))
    numbers = [column(file, f"shards/{name}", INTEGER, names.shape)[()].tolist() for name in NUMBERS]
    if not 0 < len(names) <= SHARDS:
        raise ValueError(f"it lists {len(names):,} shards, where 1 to {SHARDS:,} are possible")
    for number, name in enumerate(names.asstr()):
        if name != shard_name(number):
            raise ValueError(f"its shard {number} is called {name[:40]!r} in place of {shard_name(number)}")
    return tuple(Shard(shard_name(number), *entry) for number, entry in enumerate(zip(*numbers, strict=True)))
