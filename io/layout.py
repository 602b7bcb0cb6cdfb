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
from mpiopt.io.guard import parsing, tail, wrong
from mpiopt.io.item import Item
from mpiopt.io.labels import Labels
from mpiopt.io.sealed import is_sealed, seal_path

SCHEMA, VERSION = "mpiopt-data", 1
CHUNK = 1 << 18  # elements
STRIDES = 1 << 17  # at most so many entries in the table of nonzeros: 1 MiB
TEXT = h5py.string_dtype()


class Shard(NamedTuple):
    """One shard file: its name, what it holds, its size in bytes and a checksum of its chunks' checksums."""

    name: str
    rows: int
    nnz: int
    nbytes: int
    digest: int


@dataclass(frozen=True, kw_only=True)
class Index:
    """What DATA.h5 says of the whole data set.

    lengths : least, median and greatest number of nonzeros in a row. prefix[k] : nonzeros before row k * stride, the
    last entry those of all rows. shuffle : the seed of the rows' order, None for the order of the sources. item : one row
    of a dense set, of which every value counts as a nonzero; None for a sparse one.
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


def stride_for(rows: int) -> int:
    """Rows between two entries of the table of nonzeros: a power of two, 1 up to STRIDES rows."""
    return 1 << max(0, (max(rows, 1) - 1).bit_length() - STRIDES.bit_length() + 1)


def strides(rows: int) -> int:
    """How many spans of `stride_for` rows there are."""
    return -(-rows // stride_for(rows))


def folder(index: Path) -> Path:
    """DATA.shards for DATA.h5."""
    return index.with_name(index.name.removesuffix(".h5") + ".shards")


def shard_name(number: int) -> str:
    """0000.h5, 0001.h5, ... 10000.h5."""
    return f"{number:04d}.h5"


def write_index(path: Path, index: Index) -> None:
    """Write the index file and seal it. Not collective. Raises OSError."""
    _write_content(path, index)
    seal_path(path)


def _write_content(path: Path, index: Index) -> None:
    labels = index.labels
    with h5py.File(path, "w") as file:
        file.attrs.update(
            schema=SCHEMA, schema_version=VERSION, rows=index.rows, cols=index.cols, nnz=index.nnz,
            shuffle="none" if index.shuffle is None else index.shuffle, normalize=index.normalize,
            created=index.created, version=index.version, row_lengths=np.array(index.lengths, np.float64),
            label_least=labels.least, label_greatest=labels.greatest, label_mean=labels.mean,
        )  # fmt: skip
        file.attrs.create("sources", list(index.sources), dtype=TEXT)
        if labels.distinct is not None:
            file["labels/values"], file["labels/rows"] = np.array(labels.distinct), np.array(labels.counts or ())
        file["nonzeros"] = index.prefix
        file["nonzeros"].attrs["stride"] = index.stride
        _write_shards(file.create_group("shards"), index.shards)
        if index.features is not None:
            file.create_dataset("features", data=list(index.features), dtype=TEXT)
        if index.item is not None:
            _write_item(file.create_group("item"), index.item)


def _write_item(group: h5py.Group, item: Item) -> None:
    group.attrs.update(shape=np.array(item.shape, np.int64), stored=item.stored, scale=item.scale)
    if item.mean is not None:
        group["mean"], group["std"] = np.array(item.mean), np.array(item.std)


def _read_item(group: h5py.Group) -> Item:
    mean, std = (tuple(group[name][()].tolist()) if name in group else None for name in ("mean", "std"))
    shape = tuple(group.attrs["shape"].tolist())
    return Item(shape=shape, stored=group.attrs["stored"], scale=float(group.attrs["scale"]), mean=mean, std=std)


def _write_shards(group: h5py.Group, shards: tuple[Shard, ...]) -> None:
    group.create_dataset("name", data=[shard.name for shard in shards], dtype=TEXT)
    for column in ("rows", "nnz", "nbytes", "digest"):
        group[column] = np.array([getattr(shard, column) for shard in shards], np.int64)


def read_index(path: Path) -> Index:
    """The index in ``path``. Not collective. Raises DataError."""
    if path.is_dir():
        raise DataError(f"{path} is a folder: name the index beside it, the DATA.h5 that mpiopt convert wrote")
    if not path.is_file():
        raise DataError(f"{path} does not exist; convert text or images with: mpiopt convert SOURCE {path}")
    if not h5py.is_hdf5(path):
        raise DataError(f"{path} is not HDF5; convert text or images first: mpiopt convert {path} DATA.h5")
    with parsing(path, "convert again"):
        if (found := wrong(path)) or (not is_sealed(path) and tail(path)):
            raise DataError(f"{path} cannot be read as a data set ({found or 'its seal is damaged'}): convert again")
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs.get("schema") != SCHEMA:
                raise DataError(f"{path} is HDF5, but not the index of a data set as `mpiopt convert` writes it")
            if file.attrs["schema_version"] > VERSION:
                raise DataError(f"{path} was written by a newer mpiopt ({file.attrs['version']}): update this one")
            return _index(file)


def _index(file: h5py.File) -> Index:
    attrs = file.attrs
    return Index(
        rows=int(attrs["rows"]), cols=int(attrs["cols"]), nnz=int(attrs["nnz"]), labels=_labels(file),
        lengths=_lengths(attrs["row_lengths"]), normalize=attrs["normalize"], created=attrs["created"],
        shuffle=None if isinstance(attrs["shuffle"], str) else int(attrs["shuffle"]), version=attrs["version"],
        sources=tuple(attrs["sources"]), shards=_read_shards(file["shards"]), prefix=file["nonzeros"][()],
        stride=int(file["nonzeros"].attrs["stride"]),
        features=tuple(file["features"].asstr()[()]) if "features" in file else None,
        item=_read_item(file["item"]) if "item" in file else None,
    )  # fmt: skip


def _lengths(values: np.ndarray) -> tuple[int, float, int]:
    return int(values[0]), float(values[1]), int(values[2])


def _labels(file: h5py.File) -> Labels:
    ends = (float(file.attrs[f"label_{end}"]) for end in ("least", "greatest", "mean"))
    if "labels" not in file:
        return Labels(None, None, *ends)
    counts = tuple(file["labels/rows"][()].astype(int).tolist())
    return Labels(tuple(file["labels/values"][()].tolist()), counts or None, *ends)


def _read_shards(group: h5py.Group) -> tuple[Shard, ...]:
    names = group["name"].asstr()[()]
    numbers = (group[column][()].tolist() for column in ("rows", "nnz", "nbytes", "digest"))
    return tuple(Shard(*entry) for entry in zip(names.tolist(), *numbers, strict=True))
