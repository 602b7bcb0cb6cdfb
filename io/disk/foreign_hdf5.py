"""HDF5 that others may have made: what is to be read of it is looked at first.

A dataset is reached by hard links, so that no other file is opened; its bytes lie in this file, and are no more than
this file can hold, so that a few of them do not fill a memory. Raises ValueError, which says what is wrong.
"""

import os
from typing import Any

import h5py
import numpy as np

GROWTH = 1100  # times that a compressed file grows at most: deflate cannot do better than 1032
FILTERS = {h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
INTEGER, FLOAT, NUMBER, TEXTS = ("i4", "i8"), ("f4", "f8"), ("i4", "i8", "f4", "f8", "b1"), ("O",)  # types, without byte order


def column(
    file: h5py.File, name: str, kinds: tuple[str, ...], shape: tuple[int | None, ...] | None, *, packed: bool = False
) -> h5py.Dataset:
    """The dataset ``name`` once it is known to be fit to be read; its bytes are not touched.

    kinds : types that it may have. shape : None for a length that may be any, or all of them. packed : may be
    compressed by deflate.
    """
    found = _linked(file, name)
    if not isinstance(found, h5py.Dataset):
        raise ValueError(f"{name} is not a dataset")
    if found.dtype.str[1:] not in kinds:
        raise ValueError(f"{name} is of type {found.dtype} in place of {' or '.join(kinds)}")
    if shape is not None and not _fits(found.shape, shape):
        raise ValueError(f"{name} is of shape {found.shape} in place of {tuple('any' if n is None else n for n in shape)}")
    _own(file, name, found, packed)
    return found


def columns(file: h5py.File, place: str, kinds: tuple[str, ...]) -> dict[str, np.ndarray]:
    """All datasets of a group of equally typed columns, read; together they are no more than the file can hold."""
    found = {name: column(file, f"{place}/{name}", kinds, (None,)) for name in group(file, place)}
    if sum(dataset.nbytes for dataset in found.values()) > os.stat(file.filename).st_size:
        raise ValueError(f"the columns of {place} claim more bytes than the file can hold")
    return {name: dataset[()] for name, dataset in found.items()}


def group(file: h5py.File, name: str) -> h5py.Group:
    """The group ``name``. Ask its set of names what it holds: ``in`` opens what a link leads to, another file or a pipe."""
    found = _linked(file, name)
    if not isinstance(found, h5py.Group):
        raise ValueError(f"{name} is not a group")
    return found


def attribute(node: h5py.HLObject, name: str, *kinds: type) -> Any:
    """The attribute ``name`` as one of the types ``kinds`` of Python; arrays as tuples."""
    if name not in node.attrs:
        raise ValueError(f"it does not say its {name}")
    value = node.attrs[name]
    value = value.item() if isinstance(value, np.generic) else value.tolist() if isinstance(value, np.ndarray) else value
    value = tuple(value) if isinstance(value, list) else value
    if not isinstance(value, kinds):
        raise ValueError(f"its {name} is {str(value)[:40]!r} in place of {' or '.join(kind.__name__ for kind in kinds)}")
    return value


def _linked(file: h5py.File, name: str) -> Any:
    """What hard links alone lead to."""
    node: Any = file
    for part in name.split("/"):
        if not isinstance(node, h5py.Group) or not isinstance(node.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{name} is missing or leads elsewhere")
        node = node[part]
    return node


def _fits(found: tuple[int, ...] | None, shape: tuple[int | None, ...]) -> bool:
    return found is not None and len(found) == len(shape) and all(m in (None, n) for n, m in zip(found, shape, strict=True))


def _own(file: h5py.File, name: str, found: h5py.Dataset, packed: bool) -> None:
    """See that the bytes of a dataset are in this file, as this package stores them."""
    made = found.id.get_create_plist()
    filters = {made.get_filter(k)[0] for k in range(made.get_nfilters())} - FILTERS
    if made.get_external_count() or found.is_virtual or filters - ({h5py.h5z.FILTER_DEFLATE} if packed else set()):
        raise ValueError(f"{name} is not stored in the way of mpiopt")
    if found.nbytes > os.stat(file.filename).st_size * (GROWTH if packed else 1):
        raise ValueError(f"{name} claims {found.nbytes:,} bytes, more than the file can hold")
