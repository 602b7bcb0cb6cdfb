"""A file's name belongs to one job at a time, and to nobody once that job is gone, however it went."""

import errno
import os
import random
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from mpiopt.errors import DataError
from mpiopt.io.disk import held_name
from mpiopt.io.disk.held_name import HeldName, lockable


def holder(path: Path) -> HeldName:
    return HeldName(path, lambda leftover: leftover.read_bytes() in (b"", b"mine"))


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(held_name, "PATIENCE", 0.0)


def in_a_child(act) -> int:
    child = os.fork()
    if child == 0:
        try:
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return child


@pytest.mark.parametrize("published", [0, 1, 2])
def test_a_held_name_is_nobody_elses_before_and_after_its_file_stands(tmp_path, published):
    with closing(holder(tmp_path / "f")) as mine, closing(holder(tmp_path / "f")) as other:
        mine.take()
        for k in range(published):
            mine.draft().write(bytes([k]))
            mine.publish()
        for act in (other.take, other.draft):
            with pytest.raises(DataError, match="f is being written by another job"):
                act()
        assert [path.name for path in tmp_path.iterdir()] == ["f" if published else "f.partial"]
        mine.close()
        other.draft()
    assert [path.name for path in tmp_path.iterdir()] == ["f"] * (published > 0)


@pytest.mark.parametrize("published", [False, True])
def test_a_killed_process_keeps_nobody_out(tmp_path, published):
    def holding():
        mine = holder(tmp_path / "f")
        mine.draft().write(b"mine")
        if published:
            mine.publish()
        (tmp_path / "ready").touch()
        time.sleep(60)

    child = in_a_child(holding)
    while not (tmp_path / "ready").exists():
        time.sleep(0.005)
    with closing(holder(tmp_path / "f")) as mine:
        with pytest.raises(DataError, match="another job"):
            mine.take()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        mine.draft().write(b"next")
        mine.publish()
    assert (tmp_path / "f").read_bytes() == b"next" and {path.name for path in tmp_path.iterdir()} == {"f", "ready"}


def test_of_many_processes_one_at_a_time_has_the_name(tmp_path):
    """Each adds one to the number in the file, which two at once would lose; some are killed on the way."""

    def adding(seed):
        draws = random.Random(seed)
        for _ in range(15):
            with closing(holder(tmp_path / "f")) as mine:
                try:
                    mine.take()
                except DataError:
                    time.sleep(draws.uniform(0, 0.002))
                    continue
                count = len((tmp_path / "f").read_bytes()) if (tmp_path / "f").exists() else 0
                (tmp_path / f"added-{seed}-{count}").touch()
                mine.draft().write(bytes(count + 1))
                mine.publish()

    children = [in_a_child(lambda seed=seed: adding(seed)) for seed in range(4)]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    counts = sorted(int(path.name.rpartition("-")[2]) for path in tmp_path.glob("added-*"))
    assert counts == list(range((tmp_path / "f").stat().st_size)) and len(counts) > 4
    assert not (tmp_path / "f.partial").exists()


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b"a letter"),
        lambda path: path.symlink_to("precious"),
        lambda path: path.symlink_to("nowhere"),
        Path.mkdir,
        os.mkfifo,
    ],
)
def test_what_is_not_a_leftover_is_in_the_way_and_left_alone(tmp_path, make):
    (tmp_path / "precious").write_bytes(b"mine")
    make(tmp_path / "f.partial")
    before = os.lstat(tmp_path / "f.partial")
    with closing(holder(tmp_path / "f")) as mine, pytest.raises(DataError, match=r"f.partial is in the way of .*move it away"):
        mine.draft()
    assert os.path.samestat(before, os.lstat(tmp_path / "f.partial")) and not (tmp_path / "nowhere").exists()
    assert (tmp_path / "precious").read_bytes() == b"mine"


def test_a_leftover_is_removed_and_never_written_through(tmp_path):
    (tmp_path / "precious").write_bytes(b"mine")
    os.link(tmp_path / "precious", tmp_path / "f.partial")
    with closing(holder(tmp_path / "f")) as mine:
        mine.draft().write(b"new")
        mine.publish()
    assert (tmp_path / "precious").read_bytes() == b"mine" and (tmp_path / "f").read_bytes() == b"new"


def test_what_was_given_up_leaves_the_name_held_and_the_file_as_it_was(tmp_path):
    (tmp_path / "g").write_bytes(b"old")
    for name, left in (("f", []), ("g", ["g"])):
        with closing(holder(tmp_path / name)) as mine, closing(holder(tmp_path / name)) as other:
            mine.draft().write(b"half")
            mine.discard()
            with pytest.raises(DataError, match="another job"):
                other.take()
            assert mine.draft().seek(0, os.SEEK_END) == 0
        assert [path.name for path in tmp_path.glob(f"{name}*")] == left
    assert (tmp_path / "g").read_bytes() == b"old"


def test_without_locks_the_name_is_used_all_the_same(tmp_path, monkeypatch):
    def refused(file, how):
        raise OSError(errno.ENOLCK, "no locks available")

    assert lockable(tmp_path)
    monkeypatch.setattr(held_name, "flock", refused)
    assert not lockable(tmp_path)
    with closing(holder(tmp_path / "f")) as mine:
        mine.draft().write(b"1")
        mine.publish()
        assert mine.here()
        (tmp_path / "f").unlink()
        assert not mine.here()
    assert not list(tmp_path.iterdir())
