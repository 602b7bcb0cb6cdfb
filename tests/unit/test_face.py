"""What `import mpiopt` offers: lazily, sorted, the same to type checkers, and enough for the program in the README."""

import ast
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import mpiopt
from mpiopt.transforms.rules import sgd

ROOT = Path(__file__).resolve().parents[2]

PROGRAMS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def program() -> str:
    """The README's first program."""
    return PROGRAMS[0]


def test_the_names_are_sorted_and_there():
    assert len(mpiopt.__all__) == len(set(mpiopt.__all__)) and 35 <= len(mpiopt.__all__) <= 60  # sorted: ruff's RUF022
    assert dir(mpiopt) == sorted(dir(mpiopt))
    assert [name for name in mpiopt.__all__ if getattr(mpiopt, name, None) is None] == []
    assert set(mpiopt.__all__) <= set(dir(mpiopt))
    with pytest.raises(AttributeError, match="no attribute 'solv'"):
        _ = mpiopt.solv


def test_no_public_name_is_a_submodules():
    assert [name for name in mpiopt.__all__ if find_spec(f"mpiopt.{name}") is not None] == []


def test_type_checkers_see_what_programs_get():
    tree = ast.parse((ROOT / "mpiopt" / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "_CHECKING"]
    told = {alias.asname or alias.name: (node.module, alias.name) for node in block.body for alias in node.names}
    assert told == mpiopt._PLACES and {*told, "__version__"} == set(mpiopt.__all__)
    for name, (module, there) in told.items():
        assert getattr(import_module(module), there) is getattr(mpiopt, name)


def test_importing_loads_nothing(launch):
    code = (
        "import sys; before = set(sys.modules); import mpiopt; dir(mpiopt)\n"
        "print(sorted(name for name in set(sys.modules) - before if name.split('.')[0] in "
        "('mpiopt', 'numpy', 'numba', 'scipy', 'mpi4py', 'h5py')))\n"
        "mpiopt.find, mpiopt.solve, mpiopt.World; print('mpi4py.MPI' in sys.modules)"
    )
    done = launch(None, code)
    assert done.stdout == "['mpiopt']\nFalse\n", done.stderr


def test_the_readmes_program_is_short_and_speaks_to_mpiopt_alone():
    lines = [line for line in program().splitlines() if line.strip()]
    modules = {node.module for node in ast.walk(ast.parse(program())) if isinstance(node, ast.ImportFrom)}
    assert len(lines) <= 10 and modules == {"mpiopt"}
    assert not [node for node in ast.walk(ast.parse(program())) if isinstance(node, ast.Import)]


def test_the_readmes_program_runs(launch):
    """On 2 ranks, on a small data set under the name that the program gives."""
    text = program()
    assert '"train.h5"' in text
    done = launch(2, text.replace('"train.h5"', '"default:rows=300,cols=60,per_row=5"'), timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("certified gap fell to the tolerance") == 2


def test_the_readmes_estimator_fits(capsys):
    pytest.importorskip("sklearn")
    kept: dict = {}
    exec(compile(PROGRAMS[1], "README.md", "exec"), kept)
    assert kept["model"].score(kept["x"], kept["y"]) > 0.9 and float(capsys.readouterr().out.split()[-1]) <= 1e-4


def test_run_takes_any_method(world):
    team = mpiopt.team_of(mpiopt.open_data("default:rows=60,cols=20,per_row=4", world), world, mpiopt.L2(1e-2))
    solved = mpiopt.run(mpiopt.find("gradient").make(), team, team.zeros(), mpiopt.Stop(rounds=3))
    assert solved.reason is mpiopt.Reason.ROUNDS
    with pytest.raises(mpiopt.UsageError, match="say by a Stop"):
        mpiopt.run(mpiopt.find("gradient").make(), team, team.zeros(), mpiopt.Goal(rounds=3))
    with pytest.raises(mpiopt.UsageError, match="leave exam out"):
        mpiopt.run(mpiopt.find("gradient").make(), team, team.zeros(), mpiopt.Stop(rounds=3), exam=mpiopt.Exam(()))
    rows = mpiopt.Dense(np.eye(6, 4, dtype=np.float32), np.arange(6) % 2)
    learning = mpiopt.Team.of(world, [mpiopt.Perceptron(rows, (4, 2))], mpiopt.Zero())
    method = mpiopt.find("local_sgd").make(rule=sgd(0.1), period=2)
    x = learning.sites[0].loss.initial(np.random.default_rng(0))
    trained = mpiopt.run(method, learning, x, mpiopt.Goal(rounds=4))
    assert trained.final.steps == 8 and trained.final.objective < trained.history[1].objective
    with pytest.raises(mpiopt.UsageError, match="say by a Goal"):
        mpiopt.run(method, learning, x, mpiopt.Stop(rounds=3))
