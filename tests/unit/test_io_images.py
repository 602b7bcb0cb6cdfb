"""Readers of images, one process: every form against what was put in, and everything that can be wrong with a file."""

import bz2
import gzip
import io
import pickle
import struct
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.dense_row import Item, Moments
from mpiopt.io.images import sources as pack_module
from mpiopt.io.images.recognise import scan
from tests.image_files import cifar, encoded, idx, mnist, npz, pack, pixels, published

MPIOPT = ["-m", "mpiopt.jobs"]


def lay(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def rows_of(packs, lo: int | None = None, hi: int | None = None):
    """All rows of some packs, or some of the only one."""
    parts = [part for p in packs for part in p.blocks(lo or 0, p.rows if hi is None else hi)]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


@pytest.fixture(params=["idx", "idx.gz", "idx.bz2", "arrays", "pictures", "cifar", "cifar.gz", "published", "cifar-100"])
def source(request, tmp_path):
    """Paths, and what is in them: x and y."""
    x, y = pixels(23, (32, 32, 3) if "cifar" in request.param or request.param == "published" else (5, 7, 3))
    kind, _, packing = request.param.partition(".")
    press = {"": bytes, "gz": gzip.compress, "bz2": bz2.compress}[packing]
    if kind == "idx":
        return [lay(tmp_path / "i", press(idx(x))), lay(tmp_path / "l", press(idx(y)))], x, y
    if kind == "arrays":
        return [npz(tmp_path / "a.npz", x=x, y=y.astype(np.float32)[:, None])], x, y
    if kind == "pictures":
        return [npz(tmp_path / "a.npz", **pack(encoded(x), y))], x, y
    content = published(x, y) if kind == "published" else cifar(x, y, labels=b"fine_labels" if "-" in kind else b"labels")
    return [lay(tmp_path / "batch_1", press(content))], x, y


@pytest.mark.parametrize("block", [1, 1000, 1 << 22])
def test_every_form_comes_back_from_any_row_to_any_other(source, block, monkeypatch):
    monkeypatch.setattr(pack_module, "BLOCK", block)
    paths, x, y = source
    packs = scan(paths)
    assert (packs[0].rows, packs[0].shape, packs[0].stored) == (23, x.shape[1:], "uint8")
    assert packs[0].files == tuple(paths)
    for lo, hi in ((0, 23), (4, 17), (22, 23)):
        got = rows_of(packs, lo, hi)
        assert_array_equal(got[0], x[lo:hi])
        assert_array_equal(got[1], y[lo:hi])
        assert got[0].dtype == np.uint8 and got[1].dtype == np.int32
    assert pickle.loads(pickle.dumps(packs)) == packs  # they are told to other ranks


def test_jpegs_are_what_pillow_makes_of_them(tmp_path):
    from PIL import Image

    x, y = pixels(6, (16, 16))
    files = encoded(x, "JPEG")
    got, _ = rows_of(scan([npz(tmp_path / "a.npz", **pack(files, y))]))
    assert_array_equal(got, np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files]))
    assert np.abs(got.astype(int) - x).mean() < 40  # noise, compressed, but not another picture


def test_images_and_labels_pair_up_whatever_their_order(tmp_path):
    (x, y), (v, w) = pixels(5, (2, 2)), pixels(6, (2, 2), seed=1)
    paths = {name: lay(tmp_path / name, idx(a)) for name, a in {"x": x, "y": y, "v": v, "w": w}.items()}
    got = rows_of(scan([paths["y"], paths["x"], paths["v"], paths["w"]]))
    assert_array_equal(got[0], np.concatenate([x, v]))
    assert_array_equal(got[1], np.concatenate([y, w]))


@pytest.mark.parametrize("kind", ["float64", "float16", "int64", "bool", ">f4"])
def test_numbers_become_singles(tmp_path, kind):
    x = np.random.default_rng(0).normal(0, 5, (9, 4)).astype(kind)
    packs = scan([npz(tmp_path / "a.npz", x=x, y=np.arange(9) % 2)])
    assert (packs[0].stored, packs[0].shape) == ("float32", (4,))
    assert_array_equal(rows_of(packs)[0], x.astype(np.float32))


def test_text_is_left_to_the_other_reader(tmp_path):
    text = lay(tmp_path / "a.svm", b"1 1:1\n")
    assert scan([text, lay(tmp_path / "b.svm.gz", gzip.compress(b"# \xc3\xa9\n")), lay(tmp_path / "c", b"")]) is None
    with pytest.raises(UsageError, match=r"a\.svm is text, but other sources are not"):
        scan([text, *mnist(tmp_path, *pixels(3, (2, 2)))])


X, Y = pixels(8, (2, 3))
PACK = pack(encoded(X), Y)
CIFAR = cifar(*pixels(3, (32, 32, 3)))
BAD_IDX = {
    "counts": (idx(X), idx(Y[:-1]), "8 images, but .*l has 7 labels"),
    "type": (idx(X, 0x0D), idx(Y), r"magic number 00 00 0d 03: idx files of floats cannot be read"),
    "odd type": (idx(X, 0x77), idx(Y), "an unknown type"),
    "magic": (b"\0\1" + idx(X)[2:], idx(Y), r"neither svmlight text nor images: it begins with the bytes 00 01 08 03"),
    "empty": (idx(X[:, :0]), idx(Y), "images of 0 x 3 pixels"),
    "short": (idx(X)[:-5], idx(Y), "i is incomplete: it ends 5 bytes early"),
    "short labels": (idx(X), idx(Y)[:-1], "l is incomplete: it ends 1 bytes early"),
    "long": (idx(X) + b"\0", idx(Y), "i goes on after the 8 items"),
    "short gzip": (gzip.compress(idx(X))[:-9], idx(Y), "i cannot be read to its end"),
    "no head": (idx(X)[:9], idx(Y), "i is incomplete"),
    "two images": (idx(X), idx(X), r"2 idx files of images \(.*i, .*l\) and 0 of labels \(none\)"),
}


@pytest.mark.parametrize("kind", BAD_IDX)
def test_bad_idx_files(tmp_path, kind):
    images, labels, sentence = BAD_IDX[kind]
    with pytest.raises((DataError, UsageError), match=sentence):
        rows_of(scan([lay(tmp_path / "i", images), lay(tmp_path / "l", labels)]))


def broken(**changes) -> dict[str, np.ndarray]:
    return {**PACK, **changes}


BAD_NPZ = {
    "no rows": ({"a": X}, "holds the arrays a: rows need x"),
    "counts": ({"x": X, "y": Y[:-1]}, r"x has the shape \(8, 2, 3\) and y \(7,\)"),
    "one hot": ({"x": X, "y": np.eye(8)}, "one label for each row"),
    "text": ({"x": X, "y": np.array(["a"] * 8)}, "'y' is of type <U1"),
    "objects": ({"x": X.astype(object), "y": Y}, "'x' holds Python objects"),
    "complex": ({"x": X + 1j, "y": Y}, "'x' is of type complex128"),
    "fortran": ({"x": np.asfortranarray(X), "y": Y}, "in Fortran order"),
    "scalar": ({"x": np.array(1.0), "y": Y}, "is one number"),
    "nothing": ({"x": X[:, :0], "y": Y}, "nothing in a row"),
    "negative": ({"x": X, "y": Y.astype(int) - 2}, "the label -2 in row 0"),
    "fraction": ({"x": X, "y": Y + 0.5 * (np.arange(8) == 5)}, r"the label \d\.5 in row 5: the classes"),
    "nan label": ({"x": X, "y": Y + np.where(np.arange(8) == 6, np.nan, 0)}, "the label nan in row 6"),
    "nan": ({"x": np.where(np.arange(48) == 20, np.nan, 0).reshape(8, 6), "y": Y}, "row 3 of x has a value that is not finite"),
    "large": ({"x": X * 1e300, "y": Y}, "not finite in single precision"),
    "offsets": (broken(offsets=PACK["offsets"][:-1]), "8 labels and 8 offsets"),
    "descending": (broken(offsets=PACK["offsets"][::-1]), "offsets do not ascend"),
    "beyond": (broken(payload=PACK["payload"][:-1]), "to at most the .* bytes of the payload"),
    "float payload": (broken(payload=PACK["payload"] * 1.0), "header and payload are to be bytes"),
    "no picture": (broken(header=PACK["header"][:-1]), "picture 0 cannot be decoded"),
    "sizes": (pack([*encoded(X), *encoded(X[:1, :, :2])], np.append(Y, 0)), r"picture 8 has the shape \(2, 2\), but picture 0"),
    "alpha": (pack(encoded(pixels(2, (2, 2, 4))[0]), Y[:2]), "neither grey nor RGB but RGBA"),
}


@pytest.mark.parametrize("kind", BAD_NPZ)
def test_bad_archives(tmp_path, kind):
    arrays, sentence = BAD_NPZ[kind]
    with pytest.raises(DataError, match=sentence):
        rows_of(scan([npz(tmp_path / "a.npz", **arrays)]))


def test_damaged_archives(tmp_path):
    good = npz(tmp_path / "a.npz", x=np.random.default_rng(0).random((50, 4)), y=np.arange(50)).read_bytes()
    for harm in (good[:-30], good[:100], good[:200] + b"\xff" * 9 + good[209:]):
        with pytest.raises(DataError, match=r"b\.npz cannot be read"):
            rows_of(scan([lay(tmp_path / "b.npz", harm)]))


def test_pillow_is_asked_for_only_where_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    scan([npz(tmp_path / "a.npz", x=X, y=Y)])
    with pytest.raises(UsageError, match=r"pip install 'mpiopt\[images\]'"):
        scan([npz(tmp_path / "b.npz", **PACK)])


class Evil:
    """Runs a program where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return subprocess.call, (["touch", str(self.path)],)


BAD_PICKLES = {
    "list": (pickle.dumps([1, 2], 2), "cannot be read as a CIFAR batch"),
    "keys": (pickle.dumps({b"data": 1, b"names": 2}, 2), "it holds data, names, not an array 'data' with 'labels'"),
    "short": (CIFAR[:-700], "cannot be read as a CIFAR batch"),
    "rows": (cifar(pixels(3, (32, 32, 3))[0], Y), r"shape \(3, 3072\) with 8 labels"),
    "floats": (pickle.dumps({b"data": np.zeros((2, 3072)), b"labels": [0, 1]}, 2), "of type f8, not of bytes"),
    "labels": (pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, -1]}, 2), "the label -1 in row 1"),
}


@pytest.mark.parametrize("kind", BAD_PICKLES)
def test_bad_pickles(tmp_path, kind):
    content, sentence = BAD_PICKLES[kind]
    with pytest.raises(DataError, match=sentence):
        rows_of(scan([lay(tmp_path / "batch", content)]))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_runs_nothing(tmp_path, protocol):
    with pytest.raises(DataError, match=r"it asks for \w+\.call, which no CIFAR batch needs"):
        scan([lay(tmp_path / "batch", pickle.dumps({b"data": Evil(tmp_path / "run"), b"labels": []}, protocol))])
    assert not (tmp_path / "run").exists()


def test_files_that_do_not_fit_together_or_are_something_else(tmp_path):
    with pytest.raises(DataError, match=r"b\.npz has rows of shape \(4,\) \(float32\), but .*a\.npz has \(2, 3\) \(uint8\)"):
        scan([npz(tmp_path / "a.npz", x=X, y=Y), npz(tmp_path / "b.npz", x=np.zeros((2, 4)), y=[0, 1])])
    images = lay(tmp_path / "images", b"\0\0\x08\x03" + struct.pack(">III", 2, 1 << 15, 1 << 15))
    with pytest.raises(DataError, match="images announces 2 rows of 1,073,741,824 bytes each: a row may have 268,435,456"):
        scan([images, lay(tmp_path / "labels", b"\0\0\x08\x01" + struct.pack(">I", 2) + b"\0\1")])
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "a.npz", "batch")
    with pytest.raises(DataError, match="is a tar archive: unpack it"):
        scan([tmp_path / "c.tar.gz"])
    with pytest.raises(DataError, match=r"none\.npz cannot be read: no such file"):
        scan([tmp_path / "none.npz"])


@pytest.mark.parametrize(
    "shape, stored, channels", [((5, 4, 3), "uint8", 3), ((6, 5), "uint8", 1), ((7,), "float32", 7), ((7,), "uint8", 1)]
)
def test_moments_of_pieces_are_those_of_the_whole(shape, stored, channels):
    item = Item(shape=shape, stored=stored, scale=255.0 if stored == "uint8" else 1.0)
    x = (np.random.default_rng(0).normal(100, 20, (50, *shape))).astype(stored)
    found = Moments.of(x[:13], item).merged(Moments.of(x[13:14], item)).merged(Moments.of(x[14:], item))
    columns = x.astype(np.float64).reshape(-1, channels) / item.scale
    assert item.channels == channels
    assert_allclose(found.mean, columns.mean(axis=0), rtol=1e-13)
    assert_allclose(found.std, columns.std(axis=0), rtol=1e-12)
    whole = Item(shape=shape, stored=stored, scale=item.scale, mean=tuple(found.mean), std=tuple(found.std))
    wanted = ((columns - found.mean) / found.std).reshape(x.shape)
    assert_allclose(whole.scaled(x), wanted, atol=2e-5)
    assert_allclose(whole.scaled(x, np.float64), wanted, atol=1e-12)
    assert Moments.of(np.full((4, *shape), 7, stored), item).std.tolist() == [1.0] * channels


def test_convert_and_describe_from_the_command_line(launch, tmp_path):
    x, y = pixels(40, (4, 4))
    done = launch(2, [*MPIOPT, "convert", *map(str, mnist(tmp_path, x, y)), str(tmp_path / "m.h5"), "--normalize", "channels"])
    assert done.returncode == 0, done.stderr
    assert "40 rows, 4 x 4 uint8 in 1 shard" in done.stdout
    done = launch(
        1,
        [
            *MPIOPT,
            "convert",
            str(npz(tmp_path / "t.npz", x=x[:9], y=y[:9])),
            str(tmp_path / "t.h5"),
            "--like",
            str(tmp_path / "m.h5"),
            "--no-shuffle",
        ],
    )
    assert done.returncode == 0, done.stderr
    shown = launch(None, [*MPIOPT, "describe", str(tmp_path / "t.h5")]).stdout
    for line in ("rows        9\n", "a row       4 x 4", "uint8, divided by 255", "when read, by mean", "checksums   hold"):
        assert line in shown
    done = launch(2, [*MPIOPT, "convert", str(tmp_path / "t.npz"), str(tmp_path / "u.h5"), "--normalize", "l2"])
    assert (done.returncode, done.stderr.count("--normalize l2 is for text")) == (2, 1)
