"""Text through pipes makes the data set that the file makes, and what never ends is refused."""

import os
import threading
from pathlib import Path

import pytest

from mpiopt.errors import DataError
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions
from mpiopt.io.text.spool import is_stream
from tests.unit.test_checkpoint import WORLD

TEXT = "1 1:1 3:0.5\n-1 2:2\n" * 300


def piped(path: Path, content: bytes):
    """A pipe at ``path`` into which somebody writes."""
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_bytes(content), daemon=True)
    writer.start()
    return writer


def shards(index: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(index.with_suffix(".shards").iterdir())]


def test_a_pipe_makes_what_a_file_makes_and_leaves_nothing(tmp_path):
    (tmp_path / "a.svm").write_text(TEXT)
    piped(tmp_path / "pipe", TEXT.encode())
    convert(WORLD, [tmp_path / "a.svm", tmp_path / "a.svm"], tmp_path / "file.h5")
    convert(WORLD, [tmp_path / "a.svm", tmp_path / "pipe"], tmp_path / "through.h5")
    assert shards(tmp_path / "file.h5") == shards(tmp_path / "through.h5")
    assert {path.name for path in tmp_path.iterdir()} == {
        "a.svm",
        "pipe",
        "file.h5",
        "file.shards",
        "through.h5",
        "through.shards",
    }


def test_an_error_names_the_pipe_and_not_its_copy(tmp_path):
    piped(tmp_path / "pipe", TEXT.encode() + b"x 1:1\n")
    with pytest.raises(DataError, match=rf"^{tmp_path / 'pipe'}, line 601: the label 'x' is not a number"):
        convert(WORLD, [tmp_path / "pipe"], tmp_path / "d.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize(
    "path, expected",
    [
        ("/dev/zero", True),
        ("/dev/null", True),
        ("/proc/self/maps", True),
        (".", False),
        ("missing", False),
        ("file", False),
        ("link", True),
    ],
)
def test_what_can_be_read_but_once(tmp_path, monkeypatch, path, expected):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text(TEXT)
    Path("link").symlink_to("/dev/zero")
    assert is_stream(Path(path)) is expected


def test_a_device_is_refused(tmp_path):
    with pytest.raises(DataError, match="/dev/zero is a device: give a file or a pipe"):
        convert(WORLD, ["/dev/zero"], tmp_path / "d.h5", TextOptions())
    assert not list(tmp_path.iterdir())
