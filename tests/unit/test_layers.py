"""The architecture, kept by reading every module's syntax tree: layers, homes, cycles, the list of folders."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median

import pytest

from mpiopt.jobs.cli.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
QUESTION = re.compile(r"\b(isinstance\((\w+\.)*(loss|model|problem),|getattr\((\w+\.)*(loss|model|problem), ['\"])")
FOLDERS = {"mpiopt": ROOT / "mpiopt", "mpiopt.io": ROOT / "io", "mpiopt.jobs": ROOT / "jobs"}

# an import may only go up this list; modules of one folder may import each other, the units of one line may not
LAYERS = """
arrays errors words
registry
kernels comm numerics
graphs
losses
metrics
problems compress transforms
sampling smoothing
engine
exchange work outer
playing
training inference paths
methods
io
estimators
mpiopt
jobs
"""
LEVEL = {unit: level for level, line in enumerate(LAYERS.split("\n")) for unit in line.split()}
HOMES = {
    "mpi4py": ["comm"],
    "cupy": ["arrays", "kernels.device"],
    "h5py": ["io"],
    "numba": ["kernels.compiling", "kernels.host.lanes", "kernels.host.prefetch", "kernels.host.text"],
    "hdf5plugin": ["io"],
    "torch": ["training.torch", "jobs.benches", "jobs.examples"],
    "argparse": ["jobs"],
    "cyclopts": ["jobs"],
    "rich": ["jobs"],
    "matplotlib": ["jobs"],
    "tensorboard": ["jobs.running.log_sinks"],
    "mlflow": ["jobs.running.log_sinks"],
    "sklearn": ["estimators", "jobs.benches"],
    "liblinear": ["jobs.benches"],
    "PIL": ["io.images.pictures"],
    "pyarrow": ["io.tables", "jobs.benches"],
    "onnx": ["io.runs.export_onnx"],
    "vowpalwabbit": ["io.runs.export_vw"],
    "skops": ["estimators.export_skops"],
}
OPTIONAL = ["PIL", "cupy", "torch", "sklearn", "liblinear", "matplotlib", "hdf5plugin"]
OUTSIDE = {"os.environ", "os.getenv", "os.putenv", "sys.argv", "sys.stdout", "sys.stderr"}  # at home in jobs, with print()


def unit(module: str) -> str:
    """The folder or single file of the library that a module belongs to."""
    return module.split(".")[1] if "." in module else "mpiopt"


def within(module: str, homes: list[str]) -> bool:
    return any(fnmatch(module, f"mpiopt.{home}") or fnmatch(module, f"mpiopt.{home}.*") for home in homes)


def imports(tree: ast.Module, modules: dict[str, str]) -> Iterator[tuple[ast.stmt, str, str]]:
    """Statement, module and name ('' for a whole module) of every import, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (node, whole, "") if whole in modules else (node, "." * node.level + (node.module or ""), alias.name)


def faults(modules: dict[str, str]) -> list[str]:
    """What breaks the architecture in ``modules``: dotted name -> source."""
    out, graph, classes = [], {}, {}
    for name, source in modules.items():
        tree, edges = ast.parse(source), set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and classes.setdefault(node.name, name) != name:
                out.append(f"{name}:{node.lineno}: {classes[node.name]} has a class {node.name} too: name what differs")
        for node, target, imported in imports(tree, modules):
            here = f"{name}:{node.lineno}"
            top = target.split(".")[0]
            if not top:
                out.append(f"{here}: a relative import of {target}")
            elif top != "mpiopt" and top in HOMES and not within(name, HOMES[top]):
                out.append(f"{here}: {top} is at home in {HOMES[top]} only")
            elif top == "mpi4py" and node in tree.body:
                out.append(f"{here}: mpi4py is imported where it is needed, not with the module")
            elif top == "mpiopt" and imported != "__version__":
                edges.add(target)
                if unit(target) != unit(name) and LEVEL[unit(target)] >= LEVEL[unit(name)]:
                    out.append(f"{here}: {unit(name)} may not import {target}")
        graph[name] = edges
        out += outside(name, tree)
        if unit(name) not in LEVEL:
            out.append(f"{name}: has no layer")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as cycle:
        out.append("a cycle: " + " <- ".join(cycle.args[1]))
    return out


def outside(name: str, tree: ast.Module) -> list[str]:
    """Printing, the command line and the environment, if this module is none of the jobs'."""
    if within(name, ["jobs"]):
        return []
    uses = [(n.lineno, ast.unparse(n)) for n in ast.walk(tree) if isinstance(n, ast.Attribute)]
    taken = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    uses += [(n.lineno, f"{n.module}.{alias.name}") for n in taken for alias in n.names]
    found = [(line, use) for line, use in uses if use in OUTSIDE]
    found += [(n.lineno, "print") for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id == "print"]
    return [f"{name}:{line}: {use} is at home in jobs only" for line, use in found]


def tree_of(folders: dict[str, Path]) -> dict[str, Path]:
    """Dotted name -> file of every module."""
    out = {}
    for package, folder in folders.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            out[".".join([package, *parts]).removesuffix(".__init__")] = path
    return out


def test_the_library_keeps_its_layers():
    found = tree_of(FOLDERS)
    assert {"mpiopt", "mpiopt.comm.world", "mpiopt.io", "mpiopt.jobs.__main__"} <= set(found)
    assert faults({name: path.read_text() for name, path in found.items()}) == []


def test_every_folder_is_listed_and_every_listed_folder_is_there():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = tree_of(FOLDERS)
    packages = {name if path.name == "__init__.py" else name.rpartition(".")[0] for name, path in found.items()}
    assert sorted(listed) == sorted(packages)
    assert [name for name in packages if not (found.get(name) or Path()).name == "__init__.py"] == []


def test_no_job_hides_a_standard_module():
    names = [path.stem for path in (ROOT / "jobs").rglob("*.py") if not path.stem.startswith("__")]
    assert [name for name in names if name in sys.stdlib_module_names] == []


def test_importing_every_module_starts_nothing(tmp_path):
    code = f"""
import importlib, sys, threading
for name in {[name for name in tree_of(FOLDERS) if not name.endswith("__main__")]}:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if missing.name.split(".")[0] not in {OPTIONAL}:
            raise
assert "mpi4py.MPI" not in sys.modules, "MPI was started"
assert threading.active_count() == 1, "a thread was started"
"""
    env = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "source", "says"),
    [
        ("mpiopt.errors", "from mpiopt.comm.world import World", "errors may not import mpiopt.comm.world"),
        ("mpiopt.work.x", "from mpiopt.exchange.mean import Mean", "work may not import mpiopt.exchange.mean"),
        ("mpiopt.work.x", "def f():\n    from mpiopt.methods import find", "work may not import mpiopt.methods"),
        ("mpiopt.numerics.krylov", "from mpiopt.engine import drive", "numerics may not import mpiopt.engine.drive"),
        ("mpiopt.work.x", "import mpiopt", "work may not import mpiopt"),
        ("mpiopt.work.x", "from .gradient import Gradient", "relative import"),
        ("mpiopt.engine.drive", "from mpi4py import MPI", "mpi4py is at home"),
        ("mpiopt.comm.x", "import mpi4py.MPI", "not with the module"),
        ("mpiopt.problems.x", "import torch", "torch is at home"),
        ("mpiopt.problems.x", "def f():\n    import cupy as cp", "cupy is at home"),
        ("mpiopt.kernels.x", "import h5py", "h5py is at home"),
        ("mpiopt.kernels.x", "from numba import njit", "numba is at home"),
        ("mpiopt.jobs.solve", "import sklearn.linear_model", "sklearn is at home"),
        ("mpiopt.io.x", "print('read')", "print is at home in jobs only"),
        ("mpiopt.io.x", "import os\nos.environ.get('X')", "os.environ is at home in jobs only"),
        ("mpiopt.io.x", "from os import environ", "os.environ is at home in jobs only"),
        ("mpiopt.comm.x", "import sys\nsys.stderr.write('x')", "sys.stderr is at home in jobs only"),
        (
            "mpiopt.work.x",
            "if TYPE_CHECKING:\n    from mpiopt.training.drive import Exam",
            "work may not import mpiopt.training",
        ),
        ("mpiopt.helpers", "", "has no layer"),
        ("mpiopt.io.x", "class World:\n    pass", "mpiopt.comm.world has a class World too"),
    ],
)
def test_the_checker_sees(name, source, says):
    others = ["mpiopt", "mpiopt.comm.world", "mpiopt.exchange.mean", "mpiopt.methods", "mpiopt.engine.drive"]
    found = faults(dict.fromkeys(others, "") | {"mpiopt.comm.world": "class World:\n    pass"} | {name: source})
    assert len(found) == 1 and says in found[0]


def test_the_checker_sees_a_cycle_in_one_folder():
    modules = {
        "mpiopt.io": "",
        "mpiopt.io.a": "from mpiopt.io.b import f",
        "mpiopt.io.b": "if TYPE_CHECKING:\n    import mpiopt.io.a",
    }
    assert [fault for fault in faults(modules) if "cycle" in fault]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("mpiopt.comm.x", "def f():\n    from mpi4py import MPI"),
        ("mpiopt.comm.x", "from mpiopt.comm.world import World"),
        ("mpiopt.io.x", "from mpiopt import __version__\nimport h5py"),
        ("mpiopt.jobs.x", "import os, sys\nprint(os.environ, sys.argv)\nfrom mpiopt.io.y import z"),
        ("mpiopt.jobs.benches.solve", "import sklearn"),
        ("mpiopt", "from mpiopt.engine.drive import solve"),
    ],
)
def test_the_checker_allows(name, source):
    others = dict.fromkeys(["mpiopt", "mpiopt.comm.world", "mpiopt.engine.drive", "mpiopt.io.y"], "")
    assert faults(others | {name: source}) == []


def test_the_doors_are_short():
    """A stranger sees a room's files at once; what is behind is in rooms that say what they hold."""
    jobs = {path.name for path in (ROOT / "jobs").iterdir() if path.is_file()}
    commands = {f"{name}.py" for name in COMMANDS} | {"__init__.py", "__main__.py", "README.md"}
    assert len(jobs) <= 22 and len(jobs - commands) <= 5
    assert len([path for path in (ROOT / "io").iterdir() if path.is_file()]) <= 8
    assert len([path for path in (ROOT / "mpiopt").iterdir() if path.is_file()]) <= 6


def test_files_are_short():
    """But for the tokenizer and the GPU's kernels."""
    files = {path: len(path.read_text().splitlines()) for folder in FOLDERS.values() for path in folder.rglob("*.py")}
    assert median(files.values()) <= 110
    assert [path for path, lines in files.items() if lines > 300 and path.name != "text.py"] == []


def test_no_command_is_called_like_a_room_and_no_file_like_a_folder_beside_it():
    rooms = {path.name for path in (ROOT / "jobs").rglob("*") if path.is_dir()}
    assert rooms & set(COMMANDS) == set()
    files = [path for folder in FOLDERS.values() for path in folder.rglob("*.py")]
    assert [path for path in files if path.with_suffix("").is_dir()] == []


@pytest.mark.parametrize(
    "source", ["isinstance(site.loss, Linear)", "if isinstance(model, (A, B)): pass", "getattr(loss, 'rows', 0)"]
)
def test_the_search_for_questions_sees(source):
    assert QUESTION.search(source)


def test_losses_are_asked_what_they_offer_not_what_they_are():
    """By `offers`: a question for the class leaves out a loss from outside the package that could do the same."""
    files = [path for folder in FOLDERS.values() for path in folder.rglob("*.py")]
    assert [path for path in files if QUESTION.search(path.read_text())] == []
