"""Conversion and reading on 1, 2 and 3 ranks: against scikit-learn, against each other, and with all that can be wrong."""

import bz2
import gzip
import lzma
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.shuffle import Shuffle
from mpiopt.io.dataset.source import open_source, shares
from mpiopt.io.dataset.writing import write_shards
from mpiopt.io.tables.plan import TableOptions
from mpiopt.io.text import convert as module
from mpiopt.io.text import parts as reading
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions
from mpiopt.io.text.svmlight import write_svmlight
from tests.svm_text import assert_same_rows, contents, random_text

SIZES = pytest.mark.ranks(1, 2, 3)


def lay(world, path: Path, content: str | bytes) -> Path:
    """A file written by rank 0. Collective."""
    if world.rank == 0:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    world.barrier()
    return path


def rows_of(dataset: Dataset, dtype=np.float32):
    """Labels, row pointers, indices and values of a whole data set."""
    matrix, y, *_ = dataset.read(0, dataset.rows, dtype)
    return y, matrix.indptr, matrix.indices, matrix.data


def peer(world, path: Path, dtype=np.float32):
    """The same by scikit-learn. Collective."""
    return world.tell(by_scikit_learn(path, dtype) if world.rank == 0 else None)


def by_scikit_learn(path: Path, dtype):
    from sklearn.datasets import load_svmlight_file

    a, y = load_svmlight_file(str(path), dtype=np.float64)
    return y, a.indptr, a.indices, a.data.astype(dtype)


def reordered(rows, order: np.ndarray):
    """Rows such that row i goes to place order[i]."""
    import scipy.sparse

    y, indptr, indices, data = rows
    back = np.argsort(order)
    a = scipy.sparse.csr_array((data, indices, indptr))[back]
    return y[back], a.indptr, a.indices, a.data


@SIZES
@pytest.mark.parametrize("values", ["float32", "float64"])
@pytest.mark.parametrize("shards", [1, 4])
def test_text_comes_back_as_scikit_learn_reads_it(world, shared_tmp, values, shards):
    text = lay(world, shared_tmp / "a.svm", random_text(300, 40))
    index = convert(world, [text], shared_tmp / "a.h5", TextOptions(shuffle=None, values=values, shards=shards))
    dataset = Dataset.open(shared_tmp / "a.h5", world)
    expected = peer(world, text, values)
    assert_same_rows(rows_of(dataset, values), expected)
    assert dataset.index.values == values == replace(dataset, index=replace(index, values=None)).values  # of old: as rows are
    assert (index.rows, index.nnz, len(index.shards)) == (300, len(expected[3]), shards)
    assert dataset.labels.distinct == (-1.0, 1.0) and sum(dataset.labels.counts) == 300
    assert dataset.labels.mean == pytest.approx(expected[0].mean(), abs=1e-15)


@SIZES
def test_shuffled_rows_are_the_rows_in_the_recorded_order(world, shared_tmp):
    text = lay(world, shared_tmp / "a.svm", random_text(257, 30, labels=(1, 2, 3)))
    convert(world, [text], shared_tmp / "a.h5", TextOptions(shuffle=5, shards=3))
    dataset = Dataset.open(shared_tmp / "a.h5", world)
    assert dataset.index.shuffle == 5
    assert_same_rows(rows_of(dataset), reordered(peer(world, text), Shuffle(257, 5)(0, 257)))


@pytest.mark.ranks(3)
@pytest.mark.parametrize("options", [{}, {"shuffle": None}, {"shards": 5, "normalize": "l2"}, {"gzip": 4}, {"memory": 1}])
def test_any_rank_count_writes_the_same_bytes(world, shared_tmp, options, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 100)
    text = lay(world, shared_tmp / "a.svm", random_text(400, 60))
    more = lay(world, shared_tmp / "b.svm.gz", gzip.compress(random_text(90, 60, seed=1).encode()))
    for size in (1, 2, 3):
        part = world.split(int(world.rank < size))
        if world.rank < size:
            convert(part, [text, more, text], shared_tmp / f"{size}.h5", TextOptions(**options))
        part.free()
        world.barrier()
    written = [[contents(file) for file in sorted((shared_tmp / f"{size}.shards").iterdir())] for size in (1, 2, 3)]
    assert written[0] == written[1] == written[2]
    indices = [Dataset.open(shared_tmp / f"{size}.h5").index for size in (1, 2, 3)]
    for one in indices[1:]:
        assert_array_equal(one.prefix, indices[0].prefix)
        alike = vars(one).keys() - {"prefix", "created"}
        assert {key: vars(one)[key] for key in alike} == {key: vars(indices[0])[key] for key in alike}


def zstd(content: bytes) -> bytes:
    """Packed by Zstandard."""
    return pytest.importorskip("pyarrow", reason="zstd is read by pyarrow").compress(content, codec="zstd", asbytes=True)


@SIZES
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_compressed_text_is_the_same_text(world, shared_tmp, pack):
    content = random_text(120, 20).encode()
    plain = lay(world, shared_tmp / "a.svm", content + content)
    padding = bytes(8) if pack is lzma.compress else b""
    packed = lay(world, shared_tmp / "a.packed", pack(content) + padding + pack(content) + padding)
    for name, source in (("plain", plain), ("packed", packed)):
        convert(world, [source], shared_tmp / f"{name}.h5")
    assert_same_rows(*(rows_of(Dataset.open(shared_tmp / f"{name}.h5")) for name in ("plain", "packed")))


@SIZES
def test_cutting_the_text_into_files_changes_nothing(world, shared_tmp):
    content = random_text(100, 20)
    whole = lay(world, shared_tmp / "whole.svm", content)
    lines = content.splitlines(keepends=True)
    pieces = [lay(world, shared_tmp / f"{k}.svm", "".join(lines[a:b])) for k, (a, b) in enumerate([(0, 1), (1, 70), (70, 100)])]
    convert(world, [whole], shared_tmp / "whole.h5")
    convert(world, pieces, shared_tmp / "pieces.h5")
    assert_same_rows(*(rows_of(Dataset.open(shared_tmp / f"{name}.h5")) for name in ("whole", "pieces")))


@SIZES
@pytest.mark.parametrize("shards", [1, 2, 7])
def test_any_workers_read_any_shards(world, shared_tmp, shards):
    source = open_source("default:rows=41,cols=30,per_row=4", world)
    write_shards(world, source, shared_tmp / "a.h5", shards=shards)
    dataset = Dataset.open(shared_tmp / "a.h5", world)
    matrix, y, *_ = source.read(0, 41)
    for workers in (1, 3, 5, 50):
        parts = [dataset.read(int(lo), int(hi)) for lo, hi in pairwise(dataset.blocks(workers))]
        assert_array_equal(np.concatenate([part[1] for part in parts]), y)
        assert_array_equal(np.concatenate([part[0].indices for part in parts]), matrix.indices)
        assert_array_equal(np.concatenate([part[0].data for part in parts]), matrix.data)
        assert_array_equal(np.concatenate([np.diff(part[0].indptr) for part in parts]), np.diff(matrix.indptr))


@SIZES
def test_shares_are_the_blocks_of_the_hosted_workers(worlds, ranks, shared_tmp):
    world = worlds(workers=ranks + 2)
    source = open_source("rcv1:rows=50,cols=60,per_row=5", world)
    write_shards(world, source, shared_tmp / "a.h5", shards=2)
    mine = shares(open_source(str(shared_tmp / "a.h5"), world), world, np.float64)
    assert len(mine) == len(world.hosted)
    told = world.tell_all([(share.lo, share.hi, share.matrix.nnz) for share in mine])
    ends = [share for part in told for share in part]
    assert ends[0][0] == 0 and ends[-1][1] == 50 and sum(nnz for *_, nnz in ends) == source.nnz
    assert all(a[1] == b[0] for a, b in pairwise(ends))


@SIZES
def test_generators_survive_text_and_shards(world, shared_tmp):
    source = open_source("kdd2010:rows=80,cols=300,per_row=6,seed=4", world)
    if world.rank == 0:
        write_svmlight(source, shared_tmp / "a.svm")
    world.barrier()
    convert(world, [shared_tmp / "a.svm"], shared_tmp / "text.h5", TextOptions(shuffle=None, features=300))
    write_shards(world, source, shared_tmp / "direct.h5")
    assert_same_rows(*(rows_of(Dataset.open(shared_tmp / f"{name}.h5")) for name in ("text", "direct")))


@SIZES
def test_rows_are_normalised_and_empty_ones_kept(world, shared_tmp):
    text = lay(world, shared_tmp / "a.svm", "1 1:3 2:4\n-1\n1 2:-2\n")
    convert(world, [text], shared_tmp / "a.h5", TextOptions(normalize="l2", shuffle=None))
    y, indptr, _, data = rows_of(Dataset.open(shared_tmp / "a.h5", world))
    assert_array_equal(data, np.array([0.6, 0.8, -1], np.float32))
    assert_array_equal(indptr, [0, 2, 2, 3])
    assert_array_equal(y, [1, -1, 1])


@SIZES
@pytest.mark.parametrize(
    "base, content, first",
    [("auto", "1 1:5\n2 3:1\n", 0), ("auto", "1 0:5\n2 3:1\n", 0), ("0", "1 1:5\n2 3:1\n", 1), ("1", "1 2:5\n2 3:1\n", 1)],
)
def test_bases(world, shared_tmp, base, content, first):
    convert(world, [lay(world, shared_tmp / "a.svm", content)], shared_tmp / "a.h5", TextOptions(base=base, shuffle=None))
    dataset = Dataset.open(shared_tmp / "a.h5", world)
    _, _, indices, _ = rows_of(dataset)
    assert indices[0] == first
    assert dataset.cols == indices[-1] + 1


@SIZES
def test_one_of_several_labels_is_picked(world, shared_tmp):
    text = lay(world, shared_tmp / "a.svm", "1,3 1:1\n3 2:1\n2,4 1:2\n2 3:1\n4,3,1 3:2\n")
    convert(world, [text], shared_tmp / "a.h5", TextOptions(shuffle=None, table=TableOptions(label="3")))
    assert_array_equal(rows_of(Dataset.open(shared_tmp / "a.h5", world))[0], [1, 1, -1, -1, 1])
    with pytest.raises(UsageError, match="`label=x` is no number"):
        convert(world, [text], shared_tmp / "b.h5", TextOptions(table=TableOptions(label="x")))


@SIZES
def test_what_is_tolerated(world, shared_tmp):
    text = "\ufeff# head\n\n+1 qid:7 1:1 3:2# tail 4:4\r\n \t\n-1\t2:1e0 \n  1 2:0 #3\n-1 qid:8#"
    convert(world, [lay(world, shared_tmp / "a.svm", text)], shared_tmp / "a.h5", TextOptions(shuffle=None))
    y, indptr, indices, data = rows_of(Dataset.open(shared_tmp / "a.h5", world))
    assert_array_equal(y, [1, -1, 1, -1])
    assert_array_equal(indptr, [0, 2, 3, 4, 4])
    assert_array_equal(indices, [0, 2, 1, 1])
    assert_array_equal(data, [1, 2, 1, 0])


FILLER = "1 1:1\n-1 2:1\n" * 50
BAD = {
    "x 1:1": (r"line 101: the label 'x' is not a number", {}),
    "nan 1:1": (r"line 101: the label 'nan' is not finite", {}),
    "1 1:1e": (r"line 101: the value '1e' is not a number", {}),
    "1 1:1_0": (r"line 101: the value '1_0' is not a number", {}),
    "1 1:": (r"line 101: the value '' is not a number", {}),
    "1 1:0x1p3": (r"line 101: the value '0x1p3' is not a number", {}),
    "1 1:NaN": (r"line 101: the value 'NaN' is not finite", {}),
    "1 1:-inf": (r"line 101: the value '-inf' is not finite", {}),
    "1 1:1e999": (r"line 101: the value '1e999' is too large", {}),
    "1 1:1e39": (r"line 101: the value '1e39' is too large for single precision \(`values=float64`", {}),
    "1 3:1 2:1": (r"line 101: the index of '2:1' is not above the one before it", {}),
    "1 3:1 3:1": (r"line 101: the index of '3:1' is not above the one before it", {}),
    "1 0:1": (r"line 101: '0:1' has index 0, but with `base=1`", {"base": "1"}),
    "1 -3:1": (r"line 101: '-3:1' is not INDEX:VALUE", {}),
    "1 a": (r"line 101: 'a' is not INDEX:VALUE", {}),
    "1 7": (r"line 101: '7' is not INDEX:VALUE", {}),
    "1,2 1:1": (r"line 101: the label '1,2' names several labels: say by `label=N` which", {}),
    "1,y 1:1": (r"line 101: the label '1,y' is not a number", {}),
    "1 2147483648:1": (r"line 101: the index of '2147483648:1' is above 2147483647, the greatest", {}),
    "1 99999999999999999999:1": (r"line 101: the index of '99999999999999999999:1' is above 2147483647", {}),
    "1 1:2x#3": (r"line 101: the value '2x' is not a number", {}),
}


@SIZES
@pytest.mark.parametrize("line", BAD)
def test_bad_text_is_one_sentence_with_file_and_line(world, shared_tmp, line):
    pattern, options = BAD[line]
    text = lay(world, shared_tmp / "bad.svm", FILLER + line + "\n" + FILLER)
    with pytest.raises(DataError, match=r"bad\.svm, " + pattern) as caught:
        convert(world, [text], shared_tmp / "a.h5", TextOptions(**options))
    assert len(set(world.tell_all(str(caught.value)))) == 1
    assert sorted(path.name for path in shared_tmp.iterdir()) == ["bad.svm"]


USELESS = {  # what is packed, where it is wanted: every process that collects these tests comes by
    "empty": ("", "there are no rows"),
    "comments": ("# nothing\n\n", "there are no rows"),
    "labels": ("1\n-1\n", "no row of 2 has a feature"),
    "one label": ("3 1:1\n3 2:1\n", "every row of .* has the label 3"),
    "short gzip": (lambda: gzip.compress(FILLER.encode())[:-9], "cannot be read to its end"),
    "short bzip2": (lambda: bz2.compress(FILLER.encode())[:-9], "cannot be read to its end"),
    "short xz": (lambda: lzma.compress(FILLER.encode())[:-19], "cannot be read to its end"),
    "xz that wants a gigabyte": (
        lambda: lzma.compress(FILLER.encode(), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30}]),
        "a.svm wants more than 256 MiB of memory to be decompressed: compress it by xz -9 or less",
    ),
    "short zstd": (b"\x28\xb5\x2f\xfd" + bytes(20), "cannot be read to its end"),
    "xz with a tail": (lambda: lzma.compress(FILLER.encode()) + bytes(8) + b"tail", "cannot be read to its end"),
    "binary": (b"\x89HDF\r\n\x1a\n" + bytes(100), "line 1: the label .* is not a number"),
}


@SIZES
@pytest.mark.parametrize("kind", USELESS)
def test_useless_files_are_one_sentence(world, shared_tmp, kind):
    content, pattern = USELESS[kind]
    text = lay(world, shared_tmp / "a.svm", content() if callable(content) else content)
    with pytest.raises(DataError, match=pattern) as caught:
        convert(world, [text], shared_tmp / "a.h5")
    assert len(set(world.tell_all(str(caught.value)))) == 1
    assert sorted(path.name for path in shared_tmp.iterdir()) == ["a.svm"]


@SIZES
def test_missing_source_too_few_features_and_bad_names(world, shared_tmp):
    text = lay(world, shared_tmp / "a.svm", FILLER)
    with pytest.raises(DataError, match=r"none\.svm cannot be read: no such file"):
        convert(world, [shared_tmp / "none.svm"], shared_tmp / "a.h5")
    with pytest.raises(UsageError, match="`features=1` is less than the 2 features"):
        convert(world, [text], shared_tmp / "a.h5", TextOptions(features=1))
    with pytest.raises(UsageError, match=r"must end in \.h5"):
        convert(world, [text], shared_tmp / "a.hdf")
    with pytest.raises(DataError, match="cannot be written"):
        convert(world, [text], text / "a.h5")


@SIZES
def test_one_label_is_accepted_when_asked_for(world, shared_tmp):
    text = lay(world, shared_tmp / "a.svm", "0 1:1\n0 2:1\n")
    convert(world, [text], shared_tmp / "a.h5", TextOptions(one_label=True, features=9))
    dataset = Dataset.open(shared_tmp / "a.h5", world)
    assert (dataset.labels.distinct, dataset.cols) == ((0.0,), 9)


@SIZES
def test_an_existing_output_is_kept_unless_told(world, shared_tmp):
    text = lay(world, shared_tmp / "a.svm", FILLER)
    convert(world, [text], shared_tmp / "a.h5", TextOptions(shards=3))
    with pytest.raises(UsageError, match="exists: give another name, or `overwrite`"):
        convert(world, [text], shared_tmp / "a.h5")
    lay(world, shared_tmp / "bad.svm", "x\n")
    with pytest.raises(DataError):
        convert(world, [shared_tmp / "bad.svm"], shared_tmp / "a.h5", TextOptions(overwrite=True))
    assert len(Dataset.open(shared_tmp / "a.h5", world).index.shards) == 3
    convert(world, [text], shared_tmp / "a.h5", TextOptions(overwrite=True))
    assert len(Dataset.open(shared_tmp / "a.h5", world).index.shards) == 1
    assert sorted(path.name for path in shared_tmp.iterdir()) == ["a.h5", "a.shards", "a.svm", "bad.svm"]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _flip(path: Path) -> None:
    with h5py.File(path) as file:
        at = file["X/data"].id.get_chunk_info(0).byte_offset
    raw = bytearray(path.read_bytes())
    raw[at + 5] ^= 4
    path.write_bytes(raw)


def _swap(path: Path) -> None:
    other = path.with_name("0000.h5")
    keep = path.read_bytes()
    shutil.copyfile(other, path)
    path.write_bytes(path.read_bytes()[: len(keep)].ljust(len(keep), b"\0"))


@SIZES
@pytest.mark.parametrize(
    "harm, pattern",
    [
        (Path.unlink, r"the shard .*0001\.h5 is missing on host"),
        (_truncate, r"0001\.h5 is truncated or replaced: it has \d+ bytes instead of \d+"),
        (_flip, r"0001\.h5 is damaged, as host"),
        (_swap, r"0001\.h5 (belongs to another conversion|is damaged)"),
    ],
)
def test_harmed_shards_are_one_sentence_on_every_rank(world, shared_tmp, harm, pattern):
    text = lay(world, shared_tmp / "a.svm", FILLER)
    convert(world, [text], shared_tmp / "a.h5", TextOptions(shards=2))
    if world.rank == 0:
        harm(shared_tmp / "a.shards" / "0001.h5")
    world.barrier()
    with pytest.raises(DataError, match=pattern) as caught:
        dataset = Dataset.open(shared_tmp / "a.h5", world)
        shares(dataset, world)
    assert len(set(world.tell_all(str(caught.value)))) == 1


@SIZES
def test_files_move_together_and_other_files_are_refused(world, shared_tmp):
    text = lay(world, shared_tmp / "a.svm", FILLER)
    convert(world, [text], shared_tmp / "a.h5")
    if world.rank == 0:
        (shared_tmp / "there").mkdir()
        for name in ("a.h5", "a.shards"):
            (shared_tmp / name).rename(shared_tmp / "there" / name)
        (shared_tmp / "empty.h5").touch()
        h5py.File(shared_tmp / "other.h5", "w").close()
    world.barrier()
    assert Dataset.open(shared_tmp / "there" / "a.h5", world).read(0, 100)[0].nnz == 100
    said = {"a.h5": "does not exist", "empty.h5": "is not HDF5", "there": "is a folder", "other.h5": "not the index"}
    for name, pattern in said.items():
        with pytest.raises(DataError, match=pattern):
            Dataset.open(shared_tmp / name, world)


@pytest.mark.ranks(1)
def test_the_layout_is_anndata_s(world, shared_tmp):
    """Encoding of a CSR matrix in the AnnData on-disk specification, version 0.1.0."""
    convert(world, [lay(world, shared_tmp / "a.svm", FILLER)], shared_tmp / "a.h5")
    with h5py.File(shared_tmp / "a.shards" / "0000.h5") as file:
        matrix = file["X"]
        assert matrix.attrs["encoding-type"] == "csr_matrix" and matrix.attrs["encoding-version"] == "0.1.0"
        assert_array_equal(matrix.attrs["shape"], (100, 2))
        kinds = {name: dataset.dtype for name, dataset in matrix.items()}
        assert kinds == {"data": np.float32, "indices": np.int32, "indptr": np.int64}
        assert all(dataset.fletcher32 for dataset in [*matrix.values(), file["y"]])


@SIZES
def test_reals_are_kept(world, shared_tmp):
    text = lay(world, shared_tmp / "a.svm", "".join(f"{k / 7!r} 1:1\n" for k in range(100)))
    convert(world, [text], shared_tmp / "a.h5", TextOptions(shuffle=None))
    dataset = Dataset.open(shared_tmp / "a.h5", world)
    assert_array_equal(dataset.read(0, 100)[1], np.arange(100) / 7)
    assert dataset.labels.distinct is None and dataset.labels.greatest == 99 / 7


@pytest.mark.ranks(1, 2)
def test_as_many_columns_are_taken_as_can_be_solved_with(world, shared_tmp):
    text = lay(world, shared_tmp / "a.svm", f"1 1:1 {2**31 - 1}:2\n-1 5:1\n")
    convert(world, [text], shared_tmp / "a.h5", TextOptions(shuffle=None))
    assert_array_equal(Dataset.open(shared_tmp / "a.h5", world).read(0, 2)[0].indices, [0, 2**31 - 2, 4])
    for options in (TextOptions(base="0"), TextOptions(features=2**31)):
        with pytest.raises(UsageError, match=r"a\.svm with 2147483648 features: at most 2147483647 are possible"):
            convert(world, [text], shared_tmp / "b.h5", options)


@SIZES
def test_lines_longer_than_the_buffer(world, shared_tmp, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 64)
    text = lay(world, shared_tmp / "a.svm", "1 " + " ".join(f"{k}:1" for k in range(1, 2000)) + "\n" + random_text(50, 30))
    convert(world, [text], shared_tmp / "a.h5", TextOptions(shuffle=None))
    assert_same_rows(rows_of(Dataset.open(shared_tmp / "a.h5", world)), peer(world, text))


@pytest.mark.ranks(1, 2)
def test_a_line_has_bounds_and_a_file_has_none(world, shared_tmp, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 1 << 10)
    monkeypatch.setattr(reading, "LINE", 1 << 14)
    for start, rest in ((b"1 1:1 #", b" "), (b"# ", b"#"), (b"1 1:", b"0"), (b"", b" ")):
        packed = lay(world, shared_tmp / "a.svm.xz", lzma.compress(FILLER.encode() + start + rest * 40_000))
        with pytest.raises(DataError, match=r"a\.svm\.xz, line 101 has more than 16,384 bytes: it is no row"):
            convert(world, [packed], shared_tmp / "a.h5")
        world.barrier()
    small = lzma.compress(b"\n" * 10_000_000 + FILLER.encode() * 1000)
    assert len(small) < 20_000
    convert(world, [lay(world, shared_tmp / "b.svm.xz", small)], shared_tmp / "b.h5")
    assert Dataset.open(shared_tmp / "b.h5", world).rows == 100_000


@pytest.mark.ranks(1, 2)
def test_overwrite_replaces_data_sets_only(world, shared_tmp):
    text = lay(world, shared_tmp / "a.svm", FILLER)
    convert(world, [text], shared_tmp / "a.h5")
    if world.rank == 0:
        with h5py.File(shared_tmp / "run.h5", "w") as file:
            file.attrs["schema"] = "mpiopt-run"
    world.barrier()
    convert(world, [text], shared_tmp / "a.h5", TextOptions(overwrite=True))
    assert Dataset.open(shared_tmp / "a.h5", world).rows == 100
    with pytest.raises(UsageError, match="is not a data set"):
        convert(world, [text], shared_tmp / "run.h5", TextOptions(overwrite=True))
    world.barrier()  # until rank 0 has cleared up
    assert h5py.File(shared_tmp / "run.h5", locking=False).attrs["schema"] == "mpiopt-run"
    assert sorted(path.name for path in shared_tmp.iterdir()) == ["a.h5", "a.shards", "a.svm", "run.h5"]
