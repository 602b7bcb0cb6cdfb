"""Files of ours with other content under a sound seal: what somebody who means harm would hand over."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from mpiopt.io.dataset.index import folder, shard_name
from mpiopt.io.disk.sealed_file import seal_path

Change = Callable[[h5py.File], None]


def forged(path: Path, change: Change) -> None:
    """Change what is in a sealed file, and seal it anew."""
    with h5py.File(path, "r+", locking=False) as file:  # HDF5 cuts the old seal off
        change(file)
    seal_path(path)


def forged_shard(index: Path, number: int, change: Change) -> None:
    """Change a shard of a data set, and the index so that it knows the shard's new size."""
    shard = folder(index) / shard_name(number)
    forged(shard, change)

    def resize(file: h5py.File) -> None:
        file["shards/nbytes"][number] = shard.stat().st_size

    forged(index, resize)


def put(name: str, values: np.ndarray, **options: object) -> Change:
    """Other values, of another shape or type perhaps, in place of a dataset's."""

    def change(file: h5py.File) -> None:
        attributes = dict(file[name].attrs) if name in file else {}
        if name in file:
            del file[name]
        file.create_dataset(name, data=values, **options).attrs.update(attributes)

    return change


def entry(name: str, at: object, value: object) -> Change:
    """One other entry of a dataset."""

    def change(file: h5py.File) -> None:
        file[name][at] = value

    return change
