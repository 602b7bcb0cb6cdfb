"""The programs of jobs/examples, on tiny data: those that use MPI in one launch of 2 ranks."""

import ast
from pathlib import Path

import numpy as np
import pytest

from mpiopt.io.runs.run_file import RunFile
from mpiopt.jobs.examples import read_a_run
from tests.launcher import ROOT

EXAMPLES = ROOT / "jobs" / "examples"
TINY = "default:rows=200,cols=30,per_row=5"
PROGRAM = """
from pathlib import Path
from mpiopt.jobs.examples import own_loss, own_method, whole_job
own_loss.main({tiny!r})
own_method.main({tiny!r})
whole_job.main({text!r}, Path({folder!r}))
"""
TORCH = "from mpiopt.jobs.examples import own_torch_model\nown_torch_model.main()\n"


def has(module: str) -> bool:
    try:
        __import__(module)
    except ModuleNotFoundError:
        return False
    return True


def test_the_programs_run(launch, tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{rng.choice([-1, 1])} 1:{rng.random():.3f} {rng.integers(2, 9)}:{rng.random():.3f}\n" for _ in range(60)]
    (tmp_path / "rows.svm").write_text("".join(rows))
    program = PROGRAM.format(tiny=TINY, text=str(tmp_path / "rows.svm"), folder=str(tmp_path))
    torch = has("torch")
    done = launch(2, program + TORCH * torch, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 4 + torch, done.stdout
    assert "certified gap fell to the tolerance" in lines[0]
    assert lines[1].startswith("far_and_near: ") and lines[2].startswith("spcg: ")
    assert all("certified gap fell" in line for line in lines[1:3])
    assert lines[3].startswith("GAP after")
    assert not torch or "The target was reached" in lines[4]


@pytest.mark.parametrize("intercept", [False, True])
def test_the_class_for_benchopt_solves_the_sum_that_it_is_given(intercept):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed, and mpiopt does without")
    from mpiopt.jobs.examples.benchopt_solver import Solver

    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((60, 3)), rng.choice([-1.0, 1.0], 60)
    solver = Solver()
    solver.set_objective(x, y, 0.5, intercept)
    solver.run(1e-12)
    rows, beta = np.column_stack([x, np.ones((60, int(intercept)))]), solver.get_result()["beta"]
    slope = -rows.T @ (y / (1 + np.exp(y * (rows @ beta)))) + 0.5 * beta * ([1, 1, 1] + [0] * intercept)
    assert abs(slope).max() < 1e-4 and beta.shape == (3 + intercept,)


def test_a_run_is_read(tmp_path, capsys):
    for module in ("pandas", "xarray", "h5netcdf"):
        pytest.importorskip(module, reason=f"{module} is not installed, and mpiopt does without")
    with RunFile(tmp_path / "run.h5", {"method": "spcg"}) as file:
        for number in range(3):
            file.add({"round": number, "objective": 1.0 / (1 + number), "gap": 0.1**number, "bytes_sent": 10 * number})
        file.finish(np.ones(4), 0.0, {"reason": "GAP", "reason_text": "done"})
    read_a_run.main(str(tmp_path / "run.h5"))
    said = capsys.readouterr().out
    assert said.startswith("spcg: done") and said.endswith("0.3333333333333333 4\n")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_it_is_run(path: Path):
    tree = ast.parse(path.read_text())
    assert len(path.read_text().splitlines()) <= 70 and path.name in (ast.get_docstring(tree) or "")
    assert "from mpiopt import" in path.read_text()
