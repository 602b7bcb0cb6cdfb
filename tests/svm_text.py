"""svmlight text for the tests: written at random, and read by this package's parser without MPI."""

from pathlib import Path

import h5py
import numpy as np
from numpy.testing import assert_array_equal

from mpiopt.io.text.asked import RowRequest
from mpiopt.io.text.parsed_rows import RunStore
from mpiopt.io.text.parts import parts
from mpiopt.io.text.svmlight import Parser


def parsed(path: Path, values=np.float64, base: int = 0, ranks: int = 1):
    """Labels, row pointers, indices, values of a file, read as ``ranks`` ranks would, one after the other."""
    y, lengths, indices, data = [], [], [], []
    for rank in range(ranks):
        parser = Parser(RunStore(1 << 40, path.with_suffix(".scratch")), RowRequest(values=np.dtype(values), base=base))
        for part in parts([path], rank, ranks):
            parser.read(part, lambda size: True)
        for run in parser.store.runs:
            y.append(run.y)
            lengths.append(np.diff(run.indptr))
            indices.append(run.indices)
            data.append(run.data)
    whole = [np.concatenate(column) if column else np.empty(0) for column in (y, lengths, indices, data)]
    return whole[0], np.concatenate(([0], np.cumsum(whole[1]))).astype(int), whole[2], whole[3]


def random_text(rows: int, features: int, seed: int = 0, base: int = 1, labels=(-1, 1)) -> str:
    """Rows of 0 to 9 features with short decimals, in the forms that one finds in the wild."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(rows):
        columns = np.sort(rng.choice(features, rng.integers(0, min(10, features) + 1), replace=False)) + base
        values = rng.choice(["1", "0.5", "-2", "1e-3", "0.333333", "7.25E1", "3", "12345.678", ".5", "+1"], len(columns))
        pairs = [f"{c}:{v}" for c, v in zip(columns, values, strict=True)]
        lines.append(" ".join([f"{rng.choice(labels)}", *pairs]) + rng.choice(["", " ", "\r", " # a comment"]))
    return "\n".join(lines) + "\n"


def assert_same_rows(got, wanted) -> None:
    """Labels, lengths, indices and values are equal; each of the two: (y, indptr, indices, data)."""
    for one, other in zip(got, wanted, strict=True):
        assert_array_equal(one, other)


def contents(path: Path) -> dict:
    """Everything in an HDF5 file: stored chunks, attributes and types. HDF5 leaves stray bytes between them."""
    found = {}

    def visit(name, item):
        found[name, "attributes"] = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
        if isinstance(item, h5py.Dataset):
            count = item.id.get_num_chunks() if item.chunks else 0
            chunks = [item.id.read_direct_chunk(item.id.get_chunk_info(k).chunk_offset) for k in range(count)]
            found[name] = item.dtype, item.shape, item.chunks, chunks

    with h5py.File(path) as file:
        file.visititems(visit)
        visit("/", file)
    return found
