"""A data set is put in place whole: a kill at any moment loses neither the old one nor the new, and nothing else is touched."""

import os
from pathlib import Path
from shutil import copy, copytree

import h5py
import numpy as np
import pytest

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.index import read_index, write_index
from mpiopt.io.dataset.output_files import MARK, Output
from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.io.dataset.writing import write_shards
from mpiopt.io.disk import held_name
from mpiopt.io.runs.run_file import RunFile
from tests.unit.test_checkpoint import WORLD

STEPS = ("rename", "replace", "unlink", "rmdir", "mkdir", "utime", "open")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two data sets of different rows, as folders with d.h5 and d.shards."""
    places = [tmp_path_factory.mktemp(name) for name in ("old", "new")]
    for seed, place in enumerate(places):
        write_shards(WORLD, from_spec(f"rcv1:rows=40,cols=30,per_row=4,seed={seed}"), place / "d.h5", shards=2)
    return places


def converting(new: Path, target: Path) -> None:
    """What a conversion does to the disk, its rows those of another set."""
    output = Output(target)
    try:
        output.prepare(overwrite=True)
    except DataError:
        output.discard()
        raise
    for path in (new / "d.shards").iterdir():
        copy(path, output.folder)
    write_index(output.index, read_index(new / "d.h5"))
    output.publish()


def killed_after(steps: int, act) -> bool:
    """Do something in a process that ends before the next of so many changes to the disk; whether it came to its end."""
    child = os.fork()
    if child == 0:
        left = [steps]

        def counted(name, do):
            def step(*arguments, **named):
                changes = name != "open" or bool(arguments[1] & (os.O_CREAT | os.O_RDWR))
                if changes and not left[0]:
                    os._exit(9)
                left[0] -= changes
                return do(*arguments, **named)

            return step

        for name in STEPS:
            setattr(os, name, counted(name, getattr(os, name)))
        try:
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return code == 0


def rows(place: Path) -> np.ndarray:
    dataset = Dataset.open(place / "d.h5")
    return dataset.read(0, dataset.rows)[0].data


def repair_is_told(place: Path) -> None:
    """A reader takes a set that is whole, or says that its conversion completes it."""
    try:
        rows(place)
    except DataError as error:
        if (place / "d.h5.partial").exists():
            assert "give its command again, which completes what was being put in place" in str(error)
        else:
            assert "does not exist" in str(error)


@pytest.mark.parametrize("there", [False, True])
def test_a_kill_at_any_moment_leaves_the_old_set_or_the_new_one(sets, tmp_path, there):
    old, new = sets
    for steps in range(100):
        place = tmp_path / str(steps)
        copytree(old, place) if there else place.mkdir()
        over = killed_after(steps, lambda place=place: converting(new, place / "d.h5"))
        repair_is_told(place)
        mended = Output(place / "d.h5")
        try:
            mended.prepare(overwrite=False)
        except UsageError as error:
            assert "d.h5 exists" in str(error) or "d.shards exists" in str(error)
            found = rows(place)
            assert any(np.array_equal(found, rows(one)) for one in ([old, new] if there and not over else [new]))
        else:
            assert not there
        mended.discard()
        converting(new, place / "d.h5")
        assert sorted(path.name for path in place.iterdir()) == ["d.h5", "d.shards"]
        assert sorted(path.name for path in (place / "d.shards").iterdir()) == ["0000.h5", "0001.h5"]
        np.testing.assert_array_equal(rows(place), rows(new))
        if over:
            break
    assert over and steps > 5


@pytest.mark.parametrize(
    "name",
    [
        "d.shards/notes.txt",
        "d.shards/0002.h5",
        "d.shards.old/notes.txt",
        "d.shards.old/0000.h5",
        "d.shards.partial/0000.h5",
        "d.shards.partial/notes.txt",
        "d.shards.partial",
        "d.shards.old",
        "d.h5.partial",
        "d.shards.old/0000.h5/deep",
    ],
)
@pytest.mark.parametrize("marked", [False, True])
def test_what_no_conversion_made_is_never_touched(sets, tmp_path, name, marked):
    old, new = sets
    copytree(old, tmp_path / "at")
    path = tmp_path / "at" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a letter")
    if marked and path.parent != tmp_path / "at":
        (path.parent / MARK).touch()
    before = {path: path.read_bytes() for path in (tmp_path / "at").rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=r"move it away, or give another name"):
        converting(new, tmp_path / "at" / "d.h5")
    assert {path: path.read_bytes() for path in (tmp_path / "at").rglob("*") if path.is_file()} == before


def _foreign(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["mine"] = [1.0]


def _run(path: Path) -> None:
    with RunFile(path, {}) as file:
        file.add({"round": 0})


@pytest.mark.parametrize("make", [_foreign, _run])
def test_hdf5_of_another_kind_is_no_shard_whatever_its_name(sets, tmp_path, make):
    old, new = sets
    copytree(old, tmp_path / "at")
    path = tmp_path / "at" / "d.shards" / "0007.h5"
    make(path)
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"0007.h5 was not made by mpiopt convert"):
        converting(new, tmp_path / "at" / "d.h5")
    assert path.read_bytes() == before
    np.testing.assert_array_equal(rows(tmp_path / "at"), rows(old))


def test_a_set_whose_shards_are_damaged_can_be_replaced(sets, tmp_path):
    old, new = sets
    copytree(old, tmp_path / "at")
    os.truncate(tmp_path / "at" / "d.shards" / "0001.h5", 3000)
    converting(new, tmp_path / "at" / "d.h5")
    np.testing.assert_array_equal(rows(tmp_path / "at"), rows(new))


def test_a_copy_of_the_shards_is_nothing_that_a_conversion_left(sets, tmp_path):
    old, new = sets
    for kind in ("old", "partial"):
        copytree(old / "d.shards", tmp_path / kind / f"d.shards.{kind}")
        with pytest.raises(DataError, match=rf"d.shards.{kind} was not made by mpiopt convert"):
            converting(new, tmp_path / kind / "d.h5")
        assert [path.name for path in (tmp_path / kind).iterdir()] == [f"d.shards.{kind}"]
        assert len(list((tmp_path / kind / f"d.shards.{kind}").iterdir())) == 2


def test_two_conversions_do_not_share_a_name(sets, tmp_path, monkeypatch):
    monkeypatch.setattr(held_name, "PATIENCE", 0.0)
    output = Output(tmp_path / "d.h5")
    output.prepare(overwrite=False)
    with pytest.raises(DataError, match=r"d.h5 is being written by another job"):
        Output(tmp_path / "d.h5").prepare(overwrite=True)
    output.discard()
    assert not list(tmp_path.iterdir())
