"""Sparse matrices that scipy.sparse.save_npz has written; their labels stand in a file of numbers."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

from scipy.sparse import csr_array, load_npz

from mpiopt.errors import DataError, UsageError
from mpiopt.io.disk.foreign_hdf5 import GROWTH
from mpiopt.io.tables.matrix import MatrixAbout, MatrixFormat, MatrixPlan, MatrixRows, pieces
from mpiopt.io.tables.plan import TableOptions
from mpiopt.io.text.numbers import numbers
from mpiopt.io.text.parts import Part
from mpiopt.words import counted

MEMBERS = {"format.npy", "shape.npy", "data.npy"}


def is_sparse_npz(path: Path) -> bool:
    """Whether a file has what scipy.sparse.save_npz writes."""
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) >= MEMBERS
    except (OSError, zipfile.BadZipFile):
        return False


class SparseNpz(MatrixFormat):
    """One rank reads a file whole: it is packed."""

    inside = False

    def about(self, path: Path, label: str | None, options: TableOptions) -> MatrixAbout:
        """See `MatrixFormat`."""
        found = _loaded(path)
        if label is not None and not Path(label).is_file():
            raise UsageError(f"`label={label}` is no file: of npz it names a file of labels, one number a row")
        return MatrixAbout(found.shape[0], found.shape[1], None, False)

    def size(self, path: Path) -> int | None:
        """None: it is read whole."""
        return None

    def blocks(self, part: Part, plan: MatrixPlan) -> Iterator[MatrixRows]:
        """See `MatrixFormat`."""
        rows = _loaded(part.path)
        y = None
        if plan.label is not None:
            found = numbers(Path(plan.label), "label")
            if len(found) != plan.rows:
                told = f"{counted(len(found), 'label')}, and the sources have {counted(plan.rows, 'row')}"
                raise DataError(f"{plan.label} has {told}: give one a row, in the order of the sources")
            y = found[plan.before[part.path] :][: rows.shape[0]]
        for lo, hi in pieces(rows.indptr):
            yield MatrixRows(lo, rows[lo:hi], None if y is None else y[lo:hi])


def _loaded(path: Path) -> csr_array:
    """The matrix by rows. Raises DataError."""
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(info.file_size for info in archive.infolist())
        if claimed > GROWTH * path.stat().st_size:
            raise ValueError("it claims more bytes than it can hold")
        found = csr_array(load_npz(path))
        found.check_format(full_check=True)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError, TypeError) as error:
        raise DataError(
            f"{path} cannot be read as a sparse matrix of scipy ({error}): write it again by scipy.sparse.save_npz"
        ) from error
    if found.dtype.kind not in "fiub":
        raise DataError(f"{path} holds values of type {found.dtype}, and real numbers are read")
    return found


SPARSE_NPZ = SparseNpz()
