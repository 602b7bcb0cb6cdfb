"""What is looked at before HDF5 sees it: pipes, files under a limit of memory, and whose code does the looking."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

from mpiopt.errors import DataError, UsageError
from mpiopt.io.dataset.index import read_index
from mpiopt.io.disk.file_kind import schema_of
from mpiopt.io.disk.hdf5_check import wrong
from mpiopt.io.runs.generations import newest
from mpiopt.io.runs.run_file import RunFile, read_run
from mpiopt.jobs.cli.configuration import _load

ROOT = Path(__file__).parents[2]


def killed(path: Path) -> Path:
    """A run file whose run was killed: without a seal, so that another process looks at it."""
    with RunFile(path, {"run_id": "name"}) as file:
        file.add({"round": 0, "objective": 1.0})
        content = path.read_bytes()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("room, said", [(2 << 30, ""), (12 << 30, ""), (60 << 20, "too little memory")])
def test_a_limit_of_address_space_is_not_taken_for_damage(tmp_path, room, said):
    path = killed(tmp_path / "r.h5")
    program = f"""
import resource
from pathlib import Path
from mpiopt.io.disk.hdf5_check import wrong
resource.setrlimit(resource.RLIMIT_AS, ({room}, {room}))
print(wrong(Path({str(path)!r})))
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and (said in done.stdout if said else done.stdout == "\n"), (done.stdout, done.stderr)


def test_no_memory_for_another_process_is_not_taken_for_damage(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(subprocess, "run", refused)
    assert "too little memory" in wrong(killed(tmp_path / "r.h5"))


def test_damage_is_still_told(tmp_path):
    path = killed(tmp_path / "r.h5")
    content = bytearray(path.read_bytes())
    content[100:2000] = b"\xff" * 1900
    path.write_bytes(content)
    assert wrong(path) == "it is damaged: HDF5 refuses it"


def test_no_module_of_the_working_folder_is_run(tmp_path, monkeypatch):
    path = killed(tmp_path / "r.h5")
    for name in ("h5py", "resource", "os", "numpy"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    assert wrong(path) == "" and not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "read",
    [
        read_run,
        read_index,
        lambda path: newest((path,)),
        lambda path: _load(str(path)),
        lambda path: _load(str(path.with_suffix(""))),
    ],
)
def test_a_pipe_is_refused_and_does_not_keep_anybody_waiting(tmp_path, read):
    for name in ("r.h5", "r"):
        os.mkfifo(tmp_path / name)
    with pytest.raises((DataError, UsageError), match="not a regular file"):
        read(tmp_path / "r.h5")
    assert schema_of(tmp_path / "r.h5") is None


def test_what_is_larger_than_its_limit_is_refused(tmp_path):
    with h5py.File(tmp_path / "big.h5", "w") as file:
        file.create_dataset("x", (1 << 33,), "f8", chunks=(1 << 16,), compression=4)  # 64 GiB in a few bytes
    assert wrong(tmp_path / "big.h5") == "it is damaged: HDF5 refuses it"
