"""One Slurm of two nodes for all tests of this folder that ask for it."""

from pathlib import Path
from shutil import copytree, rmtree
from tempfile import mkdtemp

import pytest

from tests.launcher import ROOT
from tests.slurm import lab as labs


@pytest.fixture(scope="session")
def lab():
    """A running Slurm, or a skip that says what is missing."""
    if why := labs.missing():
        pytest.skip(why)
    folder = Path(mkdtemp(prefix="lab-", dir="/tmp"))  # paths of sockets must be short
    made = labs.Lab(folder)
    try:
        made.up()
        yield made
    finally:
        made.down()
        rmtree(folder, ignore_errors=True)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder to submit from, with the batch scripts in it as a user would have copied them."""
    copytree(ROOT / "slurm", tmp_path, dirs_exist_ok=True)
    return tmp_path
