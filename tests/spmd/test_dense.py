"""Dense sets on 1 and 3 ranks: converted, read, scaled, generated; the same from any number of ranks, and refused alike."""

from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset import shard_writing
from mpiopt.io.dataset.dense import DenseDataset, held, open_dense
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.shuffle import Shuffle
from mpiopt.io.dataset.source import open_source
from mpiopt.io.dataset.writing import write_shards
from mpiopt.io.images import convert as module
from mpiopt.io.images.convert import ImageOptions, convert_dense
from mpiopt.io.images.recognise import scan
from tests.image_files import cifar, encoded, mnist, npz, pack, pixels
from tests.svm_text import contents

SIZES = pytest.mark.ranks(1, 3)
SHAPES = [(28, 28), (3, 3, 3), (1,), (5,)]  # some rows with an odd number of bytes


def laid(world, folder: Path, x: np.ndarray, y: np.ndarray, name: str = "a.npz") -> Path:
    """An archive written by rank 0. Collective."""
    if world.rank == 0:
        npz(folder / name, x=x, y=y)
    world.barrier()
    return folder / name


def converted(world, folder: Path, x: np.ndarray, y: np.ndarray, **options) -> DenseDataset:
    """A set converted from an archive and opened. Collective."""
    convert_dense(world, scan([laid(world, folder, x, y)]), folder / "a.h5", ImageOptions(**options))
    return DenseDataset.open(folder / "a.h5", world)


@SIZES
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("chunk", [1 << 18, 40])
def test_rows_come_back_in_the_recorded_order(world, shared_tmp, shape, chunk, monkeypatch):
    monkeypatch.setattr(shard_writing, "CHUNK", chunk)
    monkeypatch.setattr(module, "PIECE", 10 * np.prod(shape))
    x, y = pixels(101, shape)
    dense = converted(world, shared_tmp, x, y, shuffle=5, shards=3)
    back = np.argsort(Shuffle(101, 5)(0, 101))
    got, labels = dense.read(0, 101, None)
    assert_array_equal(got, x[back])
    assert_array_equal(labels, y[back])
    assert got.dtype == np.uint8 and labels.dtype == np.int64
    scaled, _ = dense.read(0, 101)
    assert scaled.dtype == np.float32
    assert_array_equal(scaled, x[back] / np.float32(255))
    assert (dense.rows, dense.shape, dense.classes, dense.labels.distinct) == (101, shape, 4, (0.0, 1.0, 2.0, 3.0))
    assert dense.labels.counts == tuple(np.bincount(y).tolist()) and dense.labels.mean == y.mean()
    for number in range(3):
        dense.verify(number)


@SIZES
@pytest.mark.parametrize("shards", [1, 3, 60])
def test_any_workers_read_any_shards(world, shared_tmp, shards, monkeypatch):
    monkeypatch.setattr(shard_writing, "CHUNK", 30)
    x, y = pixels(41, (2, 3))
    dense = converted(world, shared_tmp, x, y, shuffle=None, shards=shards)
    for workers in (1, 2, 7, 50):
        bounds = dense.blocks(workers)
        assert np.ptp(np.diff(bounds)) <= 1
        parts = [dense.read(int(lo), int(hi)) for lo, hi in pairwise(bounds)]
        assert_array_equal(np.concatenate([part[0] for part in parts]), x / np.float32(255))
        assert_array_equal(np.concatenate([part[1] for part in parts]), y)


@pytest.mark.ranks(3)
@pytest.mark.parametrize(
    "kind, options",
    [
        ("idx", {"shuffle": None, "gzip": 4}),
        ("pictures", {"shards": 5, "normalize": "channels"}),
        ("cifar", {}),
        ("floats", {"memory": 1, "normalize": "channels"}),
    ],
)
def test_any_rank_count_writes_the_same_bytes(world, shared_tmp, kind, options, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 20_000 if kind == "cifar" else 600)
    x, y = pixels(60, (32, 32, 3) if kind == "cifar" else (4, 5, 3))
    if world.rank == 0:
        if kind == "idx":
            mnist(shared_tmp, x, y)
        elif kind == "cifar":
            (shared_tmp / "batch_1").write_bytes(cifar(x, y))
            (shared_tmp / "batch_2").write_bytes(cifar(x[:7], y[:7]))
        else:
            npz(shared_tmp / "a.npz", **(pack(encoded(x), y) if kind == "pictures" else {"x": x / 7, "y": y}))
    world.barrier()
    sources = scan(sorted(path for path in shared_tmp.iterdir() if path.is_file()))
    world.barrier()
    for size in (1, 2, 3):
        part = world.split(int(world.rank < size))
        if world.rank < size:
            convert_dense(part, sources, shared_tmp / f"{size}.h5", ImageOptions(**options))
        part.free()
        world.barrier()
    written = [[contents(file) for file in sorted((shared_tmp / f"{size}.shards").iterdir())] for size in (1, 2, 3)]
    assert written[0] == written[1] == written[2]
    indices = [vars(DenseDataset.open(shared_tmp / f"{size}.h5").index) for size in (1, 2, 3)]
    for one in indices[1:]:
        assert {k: v for k, v in one.items() if k not in ("prefix", "created")} == {
            k: v for k, v in indices[0].items() if k not in ("prefix", "created")
        }
    assert len({path.name for path in shared_tmp.iterdir() if "partial" in path.name}) == 0


@SIZES
def test_channels_are_brought_to_mean_0_and_deviation_1(world, shared_tmp, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 500)
    x, y = pixels(50, (4, 4, 3))
    x[..., 1] //= 3
    dense = converted(world, shared_tmp, x, y, normalize="channels", shuffle=None, shards=2)
    unit = x / 255.0
    wanted = (unit - unit.mean(axis=(0, 1, 2))) / unit.std(axis=(0, 1, 2))
    assert_allclose(dense.read(0, 50, np.float64)[0], wanted, atol=1e-12)
    assert_allclose(dense.read(0, 50)[0], wanted, atol=1e-5)
    assert_array_equal(dense.item.scaled(dense.read(9, 20, None)[0]), dense.read(9, 20)[0])
    other, labels = pixels(9, (4, 4, 3), seed=1)
    laid(world, shared_tmp, other, labels, "b.npz")
    convert_dense(
        world, scan([shared_tmp / "b.npz"]), shared_tmp / "b.h5", ImageOptions(like=shared_tmp / "a.h5", shuffle=None)
    )
    like = DenseDataset.open(shared_tmp / "b.h5", world)
    assert like.item == dense.item
    assert_array_equal(like.read(0, 9)[0], dense.item.scaled(other))
    laid(world, shared_tmp, other[..., 0], labels, "c.npz")
    with pytest.raises(DataError, match=r"rows of 4 x 4 x 3 \(uint8\), but .*c\.npz of 4 x 4 \(uint8\)"):
        convert_dense(world, scan([shared_tmp / "c.npz"]), shared_tmp / "c.h5", ImageOptions(like=shared_tmp / "a.h5"))


@SIZES
def test_floats_are_kept_and_many_features_have_their_own_mean(world, shared_tmp):
    x = np.random.default_rng(0).normal(3, 2, (40, 9000)).astype(np.float32)
    dense = converted(world, shared_tmp, x, np.arange(40) % 3, normalize="channels", shuffle=None)
    assert_array_equal(dense.read(3, 30, None)[0], x[3:30])
    assert_allclose(dense.read(0, 40)[0].mean(axis=0), 0, atol=1e-5)
    assert len(dense.item.mean) == 9000 and dense.item.scale == 1


@SIZES
@pytest.mark.parametrize("ownership", ["sharded", "shared"])
def test_workers_hold_their_block_or_everything(worlds, shared_tmp, ranks, ownership):
    world = worlds(workers=5)
    x, y = pixels(23, (2, 2))
    dense = converted(world, shared_tmp, x, y, shuffle=None)
    mine = held(dense, world, ownership, None)
    assert len(mine) == len(world.hosted)
    for worker, part in zip(world.hosted, mine, strict=True):
        lo, hi = (0, 23) if ownership == "shared" else dense.blocks(5)[worker : worker + 2]
        assert (part.lo, part.hi) == (lo, hi)
        assert_array_equal(part.x, x[lo:hi])
        assert_array_equal(part.y, y[lo:hi])
        assert part.x is mine[0].x or ownership == "sharded"  # the workers of a rank share what they all hold


@pytest.mark.ranks(1)
def test_the_layout(world, shared_tmp):
    x, y = pixels(700, (30, 20))
    converted(world, shared_tmp, x, y, shuffle=None)
    with h5py.File(shared_tmp / "a.shards" / "0000.h5") as file:
        data = file["X/data"]
        assert (data.dtype, data.shape, data.chunks) == (np.uint8, (700, 30, 20), (436, 30, 20))
        assert data.fletcher32 and file["y"].fletcher32 and data.compression is None and file["y"].dtype == np.int32
        assert (data.attrs["encoding-type"], data.attrs["scale"]) == ("array", 255)
        assert_array_equal(data.attrs["item_shape"], (30, 20))
        assert_array_equal(data, x)


@SIZES
@pytest.mark.parametrize("bad", [0, 11, 19])
def test_a_bad_row_of_any_rank_is_one_sentence_and_leaves_nothing(world, shared_tmp, bad):
    x, y = pixels(20, (2, 2))
    y = y.astype(np.int64)
    y[bad] = -3
    with pytest.raises(DataError, match=f"the label -3 in row {bad}") as caught:
        converted(world, shared_tmp, x, y)
    assert len(set(world.tell_all(str(caught.value)))) == 1
    assert sorted(path.name for path in shared_tmp.iterdir()) == ["a.npz"]


@SIZES
def test_useless_sources_and_existing_targets(world, shared_tmp):
    x, y = pixels(8, (2, 2))
    for rows, sentence in ((x[:0], "there are no rows"), (x[:3], "every row of .* has the label 0")):
        with pytest.raises(DataError, match=sentence):
            converted(world, shared_tmp, rows, y[: len(rows)] * 0)
    assert converted(world, shared_tmp, x[:3], y[:3] * 0, one_label=True).classes == 1
    with pytest.raises(UsageError, match="exists: give another name, or `overwrite`"):
        converted(world, shared_tmp, x, y)
    world.barrier()
    assert converted(world, shared_tmp, x, y, overwrite=True).rows == 8
    with pytest.raises(DataError, match=r"damaged or incomplete"):
        (shared_tmp / f"{world.rank}.npz").write_bytes((shared_tmp / "a.npz").read_bytes()[:-40])
        scan([shared_tmp / f"{world.rank}.npz"])


@SIZES
@pytest.mark.parametrize("array, sentence", [("X/data", "is damaged, as host"), ("y", "is damaged"), (None, "truncated")])
def test_harmed_shards_are_one_sentence_on_every_rank(world, shared_tmp, array, sentence):
    dense = converted(world, shared_tmp, *pixels(30, (3, 3)), shards=2)
    shard = shared_tmp / "a.shards" / "0001.h5"
    if world.rank == 0:
        raw = bytearray(shard.read_bytes())
        if array is None:
            raw = raw[:-1]
        else:
            with h5py.File(shard) as file:
                raw[file[array].id.get_chunk_info(0).byte_offset] ^= 1
        shard.write_bytes(raw)
    world.barrier()
    with pytest.raises(DataError, match=r"0001\.h5 .*" + sentence) as caught:
        held(dense, world, dtype=None)
    assert len(set(world.tell_all(str(caught.value)))) == 1
    with pytest.raises(DataError, match=sentence):
        dense.verify(1)


@SIZES
def test_sparse_and_dense_sets_are_told_apart(world, shared_tmp):
    converted(world, shared_tmp, *pixels(6, (3, 3)))
    write_shards(world, open_source("default:rows=9", world), shared_tmp / "s.h5")
    for opening, name, sentence in (
        (Dataset.open, "a.h5", "holds dense rows of 3 x 3, but sparse ones"),
        (open_dense, "s.h5", "holds sparse rows, but dense ones"),
        (open_dense, "none.h5", "does not exist; convert text or images"),
    ):
        with pytest.raises(DataError, match=sentence):
            opening(str(shared_tmp / name), world)
    assert open_dense(str(shared_tmp / "a.h5"), world).shape == (3, 3)
    assert Dataset.open(shared_tmp / "s.h5", world).index.item is None


@SIZES
def test_blobs_are_the_same_for_any_rank(world):
    source = open_dense("blobs:rows=50,features=4,classes=3,seed=9", world)
    x, y = source.read(0, 50)
    everybody = world.tell_all((x.tobytes(), y.tobytes()))
    assert len(set(everybody)) == 1
    mine = held(source, world)[0]
    assert_array_equal(mine.x, x[mine.lo : mine.hi])
    assert (source.shape, source.classes, source.name) == ((4,), 3, "blobs:rows=50,features=4,seed=9")
    with pytest.raises(UsageError, match="the synthetic set blobs has no 'cols'; it has rows, features, classes"):
        open_dense("blobs:cols=3", world)
    with pytest.raises(UsageError, match="blobs with classes=1 cannot be made"):
        open_dense("blobs:classes=1", world)
