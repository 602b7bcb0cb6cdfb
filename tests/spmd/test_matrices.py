"""Sparse matrices of AnnData and of scipy, on 1, 2 and 3 ranks: what was put in comes out, and what cannot be is told."""

import h5py
import numpy as np
import pytest
import scipy.sparse
from numpy.testing import assert_array_equal

from mpiopt.errors import DataError, UsageError
from tests.spmd.test_convert import lay
from tests.spmd.test_tables import made

SIZES = pytest.mark.ranks(1, 2, 3)
NAMES = ("TP53", "größe", "c", "d")


def matrix(rows: int = 40, seed: int = 0):
    return scipy.sparse.random_array((rows, 4), density=0.5, format="csr", rng=np.random.default_rng(seed))


def write_h5ad(path, x, names=NAMES, cells=None, **layers):
    """As anndata writes it."""
    kind = h5py.string_dtype()

    def put(place, rows):
        if isinstance(rows, np.ndarray):
            place[0][place[1]] = rows
            return
        group = place[0].create_group(place[1])
        group.attrs.update({"encoding-type": f"{rows.format}_matrix", "shape": np.array(rows.shape)})
        group["data"], group["indices"], group["indptr"] = rows.data.astype(np.float32), rows.indices, rows.indptr

    with h5py.File(path, "w") as file:
        put((file, "X"), x)
        for name, rows in layers.items():
            put((file.require_group("layers"), name), rows)
        for name, index in (("obs", [f"r{k}" for k in range(x.shape[0])]), ("var", list(names))):
            group = file.create_group(name)
            group.attrs["_index"] = "_index"
            group.create_dataset("_index", data=index, dtype=kind)
        file["obs/age"] = np.arange(x.shape[0], dtype=float)
        if cells is not None:
            group = file["obs"].create_group("cell")
            group.create_dataset("categories", data=["b", "unused", "a"], dtype=kind)
            group["codes"] = np.array([{"b": 0, "a": 2}[cell] for cell in cells], np.int8)


@SIZES
def test_observations_of_anndata_with_their_names_and_classes(world, shared_tmp):
    x, cells = matrix(), ["b", "a", "a", "b"] * 10
    other, order = matrix(8, 1), [2, 0, 3]
    if world.rank == 0:
        write_h5ad(shared_tmp / "x.h5ad", x, cells=cells, raw=matrix(seed=2), dense=x.toarray())
        renamed = (*(NAMES[k] for k in order), "new")
        write_h5ad(shared_tmp / "t.h5ad", other, renamed, cells=["a", "b"] * 4)
    world.barrier()
    found, y, index = made(world, shared_tmp, [shared_tmp / "x.h5ad"], table={"label": "cell"})
    assert_array_equal(found, x.astype(np.float32).toarray())
    assert_array_equal(y, [{"a": 0, "b": 1}[cell] for cell in cells])
    assert index.features == NAMES and index.recipe.classes == ("a", "b")
    for layer, wanted in (("raw", matrix(seed=2).astype(np.float32)), ("dense", x)):
        found, y, _ = made(world, shared_tmp, [shared_tmp / "x.h5ad"], "u", table={"label": "age", "layer": layer})
        assert_array_equal(found, wanted.toarray())
        assert_array_equal(y, np.arange(40))
    found, y, index = made(world, shared_tmp, [shared_tmp / "t.h5ad"], "u", table={"label": None}, like=shared_tmp / "t.h5")
    wanted = np.zeros((8, 4))
    wanted[:, order] = other.astype(np.float32).toarray()[:, :3]
    assert_array_equal(found, wanted)
    assert index.numbering.dropped == other.toarray()[:, 3].astype(bool).sum() and y.tolist() == [0, 1] * 4
    if world.rank == 0:
        write_h5ad(shared_tmp / "n.h5ad", other, renamed)
    world.barrier()
    bare = {"label": None, "unlabelled": True}
    found, y, _ = made(world, shared_tmp, [shared_tmp / "n.h5ad"], "u", table=bare, like=shared_tmp / "t.h5")
    assert_array_equal(found, wanted)
    assert not y.any()
    with pytest.raises(UsageError, match="has no column 'cell' of obs"):
        made(world, shared_tmp, [shared_tmp / "n.h5ad"], "u", table={"label": None}, like=shared_tmp / "t.h5")


@SIZES
def test_matrices_of_scipy_with_labels_in_a_file(world, shared_tmp):
    x = matrix()
    y = lay(world, shared_tmp / "y.txt", "\n".join(str(k % 3) for k in range(40)))
    if world.rank == 0:
        scipy.sparse.save_npz(shared_tmp / "a.npz", x[:25].tocsc())
        scipy.sparse.save_npz(shared_tmp / "b.npz", x[25:])
    world.barrier()
    files = [shared_tmp / "a.npz", shared_tmp / "b.npz"]
    found, labels, _ = made(world, shared_tmp, files, table={"label": str(y)})
    assert_array_equal(found, x.toarray())
    assert_array_equal(labels, np.arange(40) % 3)
    bare = {"label": None, "unlabelled": True}
    found, labels, _ = made(world, shared_tmp, files[1:], "u", table=bare, like=shared_tmp / "t.h5")
    assert_array_equal(found, x[25:].toarray())
    assert not labels.any()
    with pytest.raises(UsageError, match=r"b.npz: say by `label` where the labels are"):
        made(world, shared_tmp, files[1:], "u", table={"label": None}, like=shared_tmp / "t.h5")
    short = lay(world, shared_tmp / "s.txt", "1\n2\n")
    with pytest.raises(DataError, match=r"s.txt has 2 labels, and the sources have 40 rows"):
        made(world, shared_tmp, files, "v", table={"label": str(short)})


@pytest.mark.ranks(2)
def test_what_is_wrong_with_a_matrix_is_told(world, shared_tmp):
    x = matrix()
    if world.rank == 0:
        write_h5ad(shared_tmp / "c.h5ad", x.tocsc())
        write_h5ad(shared_tmp / "x.h5ad", x)
        write_h5ad(shared_tmp / "f.h5ad", x)
        with h5py.File(shared_tmp / "f.h5ad", "r+") as file:
            file["X/indices"][3] = 4
        (shared_tmp / "cut.npz").write_bytes(b"PK\3\4 and no more")
        np.savez(shared_tmp / "odd.npz", format=np.array("csr"), shape=[2, 2], data=[1.0], indices=[7], indptr=[0, 1, 1])
    world.barrier()
    for name, table, said in (
        ("c.h5ad", {"label": "age"}, "X is stored as csc_matrix, and rows are read: write it as CSR"),
        ("x.h5ad", {"label": "cell"}, r"has no column 'cell' of obs: its columns are _index, age"),
        ("x.h5ad", {"label": "age", "layer": "raw"}, "has no layer 'raw': its layers are none"),
        ("x.h5ad", {"label": "age", "hash": 8}, r"`hash` is about columns of tables"),
        ("f.h5ad", {"label": "age"}, "X has columns beyond its 4"),
        ("odd.npz", {"label": "age"}, "cannot be read as a sparse matrix of scipy"),
    ):
        with pytest.raises((DataError, UsageError), match=said):
            made(world, shared_tmp, [shared_tmp / name], table=table)
    assert not (shared_tmp / "t.h5").exists()
