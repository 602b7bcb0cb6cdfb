"""Shards and indexes that cannot be, under sound seals: one sentence, and never a row to a kernel."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from mpiopt.comm.world import World
from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset import row_checks
from mpiopt.io.dataset.dense import DenseDataset
from mpiopt.io.dataset.labels import Labels
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.shard_writing import Form, ShardRows, ShardWriter
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.io.dataset.writing import write_shards
from mpiopt.io.images.convert import convert_dense
from mpiopt.io.images.recognise import scan
from tests.forged import Change, entry, forged, forged_shard, put
from tests.image_files import npz, pixels


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Two data sets that are right: sparse in float64, and dense."""
    folder, world = tmp_path_factory.mktemp("sound"), World()
    write_shards(world, from_spec("default:rows=60,cols=40,per_row=4"), folder / "s.h5", shards=2, values=np.float64)
    x, y = pixels(30, (6, 5))
    convert_dense(world, scan([npz(folder / "d.npz", x=x, y=y)]), folder / "d.h5")
    return folder


@pytest.fixture
def place(sound, tmp_path):
    shutil.copytree(sound, tmp_path, dirs_exist_ok=True)
    return tmp_path


def linked(name: str, link: object) -> Change:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return change


def outside(file: h5py.File) -> None:
    """The bytes of the labels in another file."""
    rows = len(file["y"])
    del file["y"]
    file.create_dataset("y", (rows,), np.float64, external=[("/etc/passwd", 0, 8 * rows)])


def virtual(file: h5py.File) -> None:
    rows = len(file["y"])
    layout = h5py.VirtualLayout((rows,), np.float64)
    layout[:] = h5py.VirtualSource("other.h5", "y", (rows,))
    del file["y"]
    file.create_virtual_dataset("y", layout)


def bomb(file: h5py.File) -> None:
    """Chunks that nobody has written."""
    del file["X/data"]
    file.create_dataset("X/data", (1 << 40,), np.float64, chunks=(1 << 17,), compression=4)


SHARD = {
    "column = d": (entry("X/indices", 3, 40), "has an entry in column 40, and the columns are 0 to 39"),
    "column < 0": (entry("X/indices", 0, -1), "has an entry in column -1"),
    "columns twice": (put("X/indices", np.zeros(160, np.int32)), "do not ascend|is of shape"),
    "columns of 64 bits": (lambda file: put("X/indices", file["X/indices"][()].astype(np.int64) + 2**32)(file), "in column"),
    "too few columns": (put("X/indices", np.arange(5, dtype=np.int32)), r"X/indices is of shape \(5,\) in place of"),
    "columns as floats": (lambda file: put("X/indices", file["X/indices"][()].astype(np.float32))(file), "is of type float32"),
    "pointers from 1": (entry("X/indptr", 0, 1), "its row pointers do not ascend"),
    "pointers to less": (entry("X/indptr", -1, 7), "its row pointers do not ascend"),
    "pointers down": (entry("X/indptr", 4, 2), "its row pointers do not ascend"),
    "pointers beyond": (entry("X/indptr", 4, 2**60), "its row pointers do not ascend"),
    "value nan": (entry("X/data", 5, np.nan), "has the value nan"),
    "value inf": (entry("X/data", 5, -np.inf), "has the value -inf"),
    "value too large": (entry("X/data", 5, 1e200), r"has the value 1e\+200 \(float64\), and values are finite and at most 1e"),
    "label nan": (entry("y", 3, np.nan), "it has the label nan, and the labels are -1, 1"),
    "label 7": (entry("y", 3, 7.0), "it has the label 7, and the labels are -1, 1"),
    "weights": (put("weight", np.linspace(-1, 1, 30)), "it has weights that are negative"),
    "offsets nan": (put("offset", np.full(30, np.nan)), "it has offsets that are not finite"),
    "weights nan": (put("weight", np.full(30, np.nan)), "it has weights that are negative or not finite"),
    "weights too few": (put("weight", np.ones(3)), r"weight is of shape \(3,\)"),
    "no labels": (lambda file: file.__delitem__("y"), "y is missing or leads elsewhere"),
    "labels as group": (lambda file: (file.__delitem__("y"), file.create_group("y")), "y is not a dataset"),
    "no matrix": (lambda file: file.__delitem__("X"), "X/data is missing"),
    "soft link": (linked("y", h5py.SoftLink("/X/data")), "y is missing or leads elsewhere"),
    "external link": (linked("X", h5py.ExternalLink("0001.h5", "/X")), "X/data is missing or leads elsewhere"),
    "external bytes": (outside, "y is not stored in the way of mpiopt"),
    "virtual": (virtual, "y is not stored in the way of mpiopt"),
    "bomb": (bomb, r"X/data is of shape \(1099511627776,\)"),
    "another filter": (lambda file: put("y", file["y"][()], compression="lzf")(file), "y is not stored in the way of mpiopt"),
}


def promised(file: h5py.File) -> None:
    """An index that names weights, which its shards lack."""
    file.attrs["beside"] = ["weight"]


def test_weights_that_the_index_names_have_to_be_there(place):
    forged(place / "s.h5", promised)
    data = Dataset.open(place / "s.h5")
    for look in (lambda: data.read(0, 7), lambda: data.verify(0)):
        with pytest.raises(DataError, match=r"0000\.h5 is damaged.*weight is missing or leads elsewhere"):
            look()


@pytest.mark.parametrize("kind", SHARD)
@pytest.mark.parametrize("sealed", [True, False])
def test_a_shard_that_cannot_be_is_refused(place, kind, sealed):
    change, sentence = SHARD[kind]
    forged_shard(place / "s.h5", 0, change)
    if not sealed:
        _unseal(place / "s.shards" / "0000.h5")
        forged(place / "s.h5", entry("shards/nbytes", 0, (place / "s.shards" / "0000.h5").stat().st_size))
    data = Dataset.open(place / "s.h5")
    with pytest.raises(DataError, match=r"0000\.h5 is damaged, as host .*" + sentence) as caught:
        data.read(0, data.rows)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError):
        data.verify(0)
    data.verify(1)


def _unseal(path: Path) -> None:
    with h5py.File(path, "r+", locking=False) as file:
        file.attrs["touched"] = True


def test_a_part_of_a_shard_is_looked_at_too(place):
    forged_shard(place / "s.h5", 1, entry("X/indptr", 10, 0))
    data = Dataset.open(place / "s.h5")
    for lo, hi in ((35, 50), (40, 50), (30, 40)):
        with pytest.raises(DataError, match=r"do not ascend|cannot have the entries"):
            data.read(lo, hi)


def test_weights_of_some_shards_only_are_ones_in_the_others(place):
    forged_shard(place / "s.h5", 1, put("weight", np.full(30, 2.0)))
    assert Dataset.open(place / "s.h5").read(0, 60)[2].tolist() == [1] * 30 + [2] * 30


def test_values_that_single_precision_does_not_hold_are_refused(place):
    forged_shard(place / "s.h5", 0, entry("X/data", 5, 1e39))
    data = Dataset.open(place / "s.h5")
    assert data.read(0, 60)[0].data.max() == 1e39
    with pytest.raises(UsageError, match=r"the value 1e\+39 is stored, which is too large for `values=float32`"):
        data.read(0, 60, np.float32)
    forged_shard(place / "s.h5", 0, entry("X/data", 5, np.inf))
    with pytest.raises(DataError, match=r"has the value inf \(float32\)"):
        Dataset.open(place / "s.h5").read(0, 60, np.float32)


def attribute(name: str, value: object) -> Change:
    def change(file: h5py.File) -> None:
        file.attrs[name] = value

    return change


def many_shards(file: h5py.File) -> None:
    count = 200_000
    put("shards/name", [f"{k:04d}.h5" for k in range(count)], dtype=h5py.string_dtype())(file)
    for name in ("rows", "nnz", "nbytes", "digest"):
        put(f"shards/{name}", np.zeros(count, np.int64))(file)


INDEX = {
    "parent": (entry("shards/name", 0, "../s.shards/0000.h5"), "called '../s.shards/0000.h5' in place of 0000.h5"),
    "absolute": (entry("shards/name", 1, "/etc/passwd"), "its shard 1 is called '/etc/passwd'"),
    "twice": (entry("shards/name", 1, "0000.h5"), "its shard 1 is called '0000.h5'"),
    "rows of a shard": (entry("shards/rows", 0, 29), "its shards do not add up to its rows"),
    "nonzeros of a shard": (entry("shards/nnz", 0, 29), "its shards do not add up to its nonzeros"),
    "negative": (lambda file: (entry("shards/rows", 0, -30)(file), entry("shards/rows", 1, 90)(file)), "less than nothing"),
    "many shards": (many_shards, "it lists 200,000 shards, where 1 to 65,536 are possible"),
    "rows": (attribute("rows", 61), "its table of nonzeros does not fit its rows"),
    "no rows": (attribute("rows", 0), "it has 0 rows"),
    "columns": (attribute("cols", 2**31), "it has 2147483648 columns, where 1 to 2147483647 are possible"),
    "rows as text": (attribute("rows", "sixty"), "its rows is 'sixty' in place of int"),
    "no columns": (lambda file: file.attrs.__delitem__("cols"), "it does not say its cols"),
    "table": (entry("nonzeros", 5, 10**6), "its table of nonzeros is no sum"),
    "stride": (lambda file: file["nonzeros"].attrs.__setitem__("stride", 0), "its table of nonzeros does not fit its rows"),
    "lengths": (attribute("row_lengths", np.array([5.0, 3, -1])), "its rows are of impossible lengths"),
    "normalise": (attribute("normalize", "\x1b[2J"), r"its rows are normalised by '\\x1b"),
    "type": (attribute("values", "int8"), "its values are stored as 'int8'"),
    "labels": (entry("labels/values", 1, np.nan), "its labels are not ascending numbers"),
    "labels count": (entry("labels/rows", 1, 1000), "not counted as often as there are rows"),
    "labels end": (attribute("label_greatest", 3.0), "its labels contradict each other"),
    "soft link": (linked("nonzeros", h5py.SoftLink("/labels/rows")), "nonzeros is missing or leads elsewhere"),
    "features": (put("features", ["a"], dtype=h5py.string_dtype()), r"features is of shape \(1,\)"),
}


@pytest.mark.parametrize("kind", INDEX)
def test_an_index_that_cannot_be_is_refused(place, kind):
    change, sentence = INDEX[kind]
    forged(place / "s.h5", change)
    with pytest.raises(DataError, match=r"s\.h5 is damaged \(.*" + sentence):
        Dataset.open(place / "s.h5")


DENSE = {
    "label 99": (entry("y", 3, 99), "it has the label 99, and the labels are"),
    "label -1": (entry("y", 3, -1), "it has the label -1"),
    "another shape": (put("X/data", np.zeros((30, 30), np.uint8)), r"X/data is of shape \(30, 30\) in place of \(30, 6, 5\)"),
    "another type": (put("X/data", np.zeros((30, 6, 5), np.float32)), "X/data is of type float32 in place of u1"),
}


@pytest.mark.parametrize("kind", DENSE)
def test_a_dense_shard_that_cannot_be_is_refused(place, kind):
    change, sentence = DENSE[kind]
    forged_shard(place / "d.h5", 0, change)
    data = DenseDataset.open(place / "d.h5")
    with pytest.raises(DataError, match=r"0000\.h5 is damaged, as host .*" + sentence):
        data.read(0, data.rows)


def test_dense_rows_are_finite():
    row_checks.finite(np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match="not finite"):
        row_checks.finite(np.array([[1, np.nan]], np.float32))


@pytest.mark.parametrize(
    "labels, y, unknown",
    [
        (Labels((-1.0, 1.0), None, -1.0, 1.0, 0.0), [1, -1, 0, np.nan, 2], [0, np.nan, 2]),
        (Labels((3.0,), None, 3.0, 3.0, 3.0), [3, 4], [4]),
        (Labels(None, None, 0.5, 2.0, 1.0), [0.5, 2, 0.4, np.inf], [0.4, np.inf]),
    ],
)
def test_unknown_labels_are_found(labels, y, unknown):
    np.testing.assert_array_equal(labels.unknown(np.array(y, float)), unknown)


def test_the_rows_of_a_shard_may_be_any(tmp_path):
    """Empty rows, one column, the last column."""
    lengths = np.array([0, 1, 0, 3, 0])
    form = Form(3, np.dtype(np.float32), np.dtype(np.float32), (), None)
    writer = ShardWriter(tmp_path / "0000.h5", 5, 4, form)
    writer.append(ShardRows(lengths, np.array([2, 0, 1, 2]), np.ones(4), np.ones(5), None))
    shard = writer.finish()
    with h5py.File(tmp_path / "0000.h5") as file:
        held = row_checks.SparseArrays.of(file, shard, ())
        assert held.span(0, 5) == (0, 4) and held.span(2, 4) == (1, 4) and held.span(5, 5) == (4, 4)
