"""AnnData on disk (Virshup, Rybakov, Theis, Angerer, Wolf, anndata: annotated data, 2021): X or a layer, labels in obs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
from scipy.sparse import csr_array

from mpiopt.errors import DataError, UsageError
from mpiopt.io.disk.foreign_hdf5 import TEXTS, attribute, column, group
from mpiopt.io.disk.hdf5_check import parsing
from mpiopt.io.tables.cells import Texts
from mpiopt.io.tables.matrix import AT_ONCE, MatrixAbout, MatrixFormat, MatrixPlan, MatrixRows, pieces
from mpiopt.io.tables.plan import TableOptions, shown
from mpiopt.io.text.parts import Part

VALUES = ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "b1")
WHOLE = ("i4", "i8", "u4")


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """A file for reading. Raises DataError."""
    if not h5py.is_hdf5(path):
        raise DataError(f"{path} is not HDF5, as .h5ad files are")
    with parsing(path, "write it again"), h5py.File(path, "r", locking=False) as file:
        yield file


class AnnDataFile(MatrixFormat):
    """Rows are observations. The labels are a column of obs, numbers or a categorical or texts."""

    def about(self, path: Path, label: str | None, options: TableOptions) -> MatrixAbout:
        """See `MatrixFormat`."""
        with opened(path) as file:
            rows, cols = _shape(file, _place(file, path, options), path)
            var = group(file, "var")
            index = column(file, f"var/{attribute(var, '_index', str)}", TEXTS, (cols,))
            lacking = options.unlabelled and options.label is None and label not in set(group(file, "obs"))
            texts = label is not None and not lacking and _kind(file, path, label, rows) != "number"
            return MatrixAbout(rows, cols, tuple(index.asstr()[()].tolist()), texts)

    def size(self, path: Path) -> int | None:
        """Its observations."""
        with opened(path) as file:
            return len(_index(file))

    def blocks(self, part: Part, plan: MatrixPlan) -> Iterator[MatrixRows]:
        """See `MatrixFormat`."""
        with opened(part.path) as file:
            place = _place(file, part.path, plan.options)
            rows, cols = _shape(file, place, part.path)
            stop = rows if part.stop is None else part.stop
            labels = _labels(file, part.path, plan.label, rows, part.start, stop)
            for lo, found in _rows(file, place, cols, part.start, stop):
                here = slice(lo - part.start, lo - part.start + found.shape[0])
                own = labels._replace(codes=labels.codes[here]) if isinstance(labels, Texts) else labels
                yield MatrixRows(lo, found, own[here] if isinstance(own, np.ndarray) else own)


def _index(file: h5py.File) -> h5py.Dataset:
    return column(file, f"obs/{attribute(group(file, 'obs'), '_index', str)}", (*TEXTS, *WHOLE), (None,), packed=True)


def _place(file: h5py.File, path: Path, options: TableOptions) -> str:
    if options.layer is None:
        return "X"
    known = sorted(group(file, "layers")) if "layers" in set(file) else []
    if options.layer not in known:
        raise UsageError(f"{path} has no layer {options.layer!r}: its layers are {shown(known) or 'none'}")
    return f"layers/{options.layer}"


def _shape(file: h5py.File, place: str, path: Path) -> tuple[int, int]:
    rows = len(_index(file))
    node = file[place] if place in file else None
    if isinstance(node, h5py.Dataset):
        cols = column(file, place, VALUES, (rows, None), packed=True).shape[1]
        return rows, cols
    found = attribute(group(file, place), "encoding-type", str)
    if found != "csr_matrix":
        raise DataError(f"{path}: {place} is stored as {found}, and rows are read: write it as CSR or as an array")
    shape = attribute(group(file, place), "shape", tuple)
    if len(shape) != 2 or shape[0] != rows:
        raise ValueError(f"{place} is of shape {shape}, and there are {rows} observations")
    return rows, int(shape[1])


def _rows(file: h5py.File, place: str, cols: int, start: int, stop: int) -> Iterator[tuple[int, csr_array]]:
    if isinstance(file[place], h5py.Dataset):
        step = max(1, AT_ONCE // cols)
        for lo in range(start, stop, step):
            yield lo, csr_array(np.asarray(file[place][lo : min(lo + step, stop)], np.float64))
        return
    data = column(file, f"{place}/data", VALUES, (None,), packed=True)
    indices = column(file, f"{place}/indices", WHOLE, (None,), packed=True)
    indptr = column(file, f"{place}/indptr", WHOLE, (len(_index(file)) + 1,), packed=True)[start : stop + 1].astype(np.int64)
    if len(data) != len(indices) or (np.diff(indptr) < 0).any() or indptr[0] < 0 or indptr[-1] > len(data):
        raise ValueError(f"{place} is no sparse matrix: its pointers do not ascend")
    for lo, hi in pieces(indptr):
        at = slice(int(indptr[lo]), int(indptr[hi]))
        columns = indices[at].astype(np.int64)
        if len(columns) and not (0 <= columns.min() and columns.max() < cols):
            raise ValueError(f"{place} has columns beyond its {cols}")
        values = data[at].astype(np.float64)
        yield start + lo, csr_array((values, columns, indptr[lo : hi + 1] - at.start), shape=(hi - lo, cols))


def _kind(file: h5py.File, path: Path, label: str, rows: int) -> str:
    """What a column of obs holds: number, text or category. Raises DataError, UsageError."""
    obs = set(group(file, "obs"))
    if label not in obs:
        raise UsageError(f"{path} has no column {label!r} of obs: its columns are {shown(sorted(obs))}")
    if isinstance(file[f"obs/{label}"], h5py.Group):
        return "category"
    return "text" if column(file, f"obs/{label}", (*TEXTS, *VALUES), (rows,), packed=True).dtype.kind == "O" else "number"


def _labels(file: h5py.File, path: Path, label: str | None, rows: int, lo: int, hi: int) -> np.ndarray | Texts | None:
    if label is None or label not in set(group(file, "obs")):
        return None
    kind = _kind(file, path, label, rows)
    if kind == "number":
        return column(file, f"obs/{label}", VALUES, (rows,), packed=True)[lo:hi].astype(np.float64)
    if kind == "text":
        found = column(file, f"obs/{label}", TEXTS, (rows,), packed=True).asstr()[lo:hi].tolist()
        distinct = list(dict.fromkeys(found))
        place = {text: k for k, text in enumerate(distinct)}
        return Texts(np.array([place[text] for text in found], np.int64), distinct)
    codes = column(file, f"obs/{label}/codes", VALUES, (rows,), packed=True)[lo:hi].astype(np.int64)
    distinct = column(file, f"obs/{label}/categories", (*TEXTS, *VALUES), (None,)).astype("O")[()]
    texts = [name.decode() if isinstance(name, bytes) else str(name) for name in distinct.tolist()]
    if len(codes) and codes.max() >= len(texts):
        raise ValueError(f"the column {label} of obs has codes beyond its categories")
    return _occurring(codes, texts)


def _occurring(codes: np.ndarray, texts: list[str]) -> Texts:
    """Only the categories that occur."""
    used = np.unique(codes[codes >= 0])
    place = np.full(len(texts) + 1, -1)
    place[used] = np.arange(len(used))
    return Texts(place[codes], [texts[k] for k in used.tolist()])


ANNDATA = AnnDataFile()
