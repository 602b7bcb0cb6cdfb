"""What users install: the wheel's content, and imports from a wheel, a checkout and an unrelated folder."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {"mpiopt": "mpiopt", "io": "mpiopt/io", "jobs": "mpiopt/jobs"}  # folder of the checkout -> of the wheel


def python(code: str, cwd: Path, path: Path) -> str:
    """What a fresh interpreter prints, run in ``cwd`` with ``path`` alone as PYTHONPATH."""
    env = dict(os.environ) | {"PYTHONPATH": str(path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=cwd, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built without a network from a copy of the sources."""
    if int(importlib.metadata.version("setuptools").split(".")[0]) < 77:
        pytest.skip("building the wheel needs setuptools 77 or later: pip install -U setuptools")
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for folder in SHIPPED:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ["pyproject.toml", "README.md", "LICENSE"]:
        shutil.copy(ROOT / name, copy / name)
    code = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with the wheel's content, as an installer would leave it."""
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def test_the_wheel_holds_all_that_the_folders_hold(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {
        f"{to}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, to in SHIPPED.items()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".toml", ".cu", ".typed"}
    }
    assert {"mpiopt/py.typed", "mpiopt/io/__init__.py", "mpiopt/jobs/__main__.py"} <= wanted
    assert names == wanted


def test_the_wheel_says_what_it_is(wheel):
    archive = zipfile.ZipFile(wheel)
    info = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA")).removesuffix("METADATA")
    metadata = archive.read(info + "METADATA").decode()
    assert "Name: mpiopt" in metadata and "License-Expression: Apache-2.0" in metadata
    assert "Copyright 2026 the mpiopt authors" in archive.read(info + "licenses/LICENSE").decode()
    entries = ConfigParser()
    entries.read_string(archive.read(info + "entry_points.txt").decode())
    module, _, function = entries["console_scripts"]["mpiopt"].partition(":")
    assert callable(getattr(import_module(module), function))


@pytest.mark.parametrize("where", ["elsewhere", "the checkout"])
def test_an_installed_wheel_imports(installed, tmp_path, where):
    said = python(
        "import mpiopt, mpiopt.io, mpiopt.jobs as j; print(mpiopt.__version__, j.__file__)",
        tmp_path if where == "elsewhere" else ROOT,
        installed,
    )
    assert said.startswith("0.") and said.endswith("jobs/__init__.py")


def test_a_bare_checkout_imports_from_another_folder(tmp_path):
    said = python("import mpiopt.io, mpiopt.jobs; print(mpiopt.io.__file__)", tmp_path, ROOT)
    assert Path(said) == ROOT / "io" / "__init__.py"


def test_nothing_lies_at_the_top_that_does_not_belong_there():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("this is no checkout of git")
    top = {name.partition("/")[0] for name in listed.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} == {
        *("LICENSE", "README.md", "pyproject.toml", "io", "jobs", "mpiopt", "slurm", "tests")
    }
