"""A run is never thrown away: where no file is named it takes the next free name of the working folder."""

from dataclasses import replace
from pathlib import Path

import pytest

from mpiopt.errors import DataError
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running import recording, run_name
from mpiopt.jobs.solve import run
from mpiopt.jobs.train import run as run_training

ROWS = "rcv1:rows=40,cols=20,per_row=4"
NAMED = "rcv1_rows_40_cols_20_per_row_4-spcg-{}.h5"


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def files() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


def test_every_run_has_a_file_of_its_own_and_says_so_last(world, capsys):
    job = Solve(data=ROWS, l2=1e-2)
    names = [run(job, world, Console(first=world.rank == 0))["out"] for _ in range(3)]
    assert names == files() == [NAMED.format(k) for k in (1, 2, 3)]
    assert capsys.readouterr().out.rstrip().endswith(f"run file   {names[2]}")
    Path(names[1]).unlink()
    assert run(job, world, Console())["out"] == names[1]
    assert read_run(names[1]).attributes["converged"] and len(read_solution(names[1])[0]) == 20


def test_none_writes_nothing(world, capsys):
    assert run(Solve(data=ROWS, l2=1e-2, out=run_name.NOWHERE), world, Console())["out"] is None
    assert not files() and "run file" not in capsys.readouterr().out


def test_a_training_is_called_by_its_method(world):
    found = run_training(Train(data="blobs:rows=64", batch=32, epochs=1), world, Console())
    assert found["out"] == "blobs_rows_64-local_sgd-1.h5" and files() == [found["out"]]


def test_a_run_that_goes_on_keeps_its_file(world):
    job = Solve(data=ROWS, l2=1e-2, gap_tol=1e-15, checkpoint=Path("c.h5"), every_rounds=1)
    first = run(replace(job, rounds=1), world, Console())["out"]
    run(Solve(data=ROWS, l2=1e-2), world, Console())
    assert run(replace(job, rounds=3), world, Console())["out"] == first == NAMED.format(1)
    assert len(read_run(first).history["round"]) > 2


def test_a_name_that_is_taken_meanwhile_is_left_alone(world, monkeypatch):
    job, begun = Solve(data=ROWS, l2=1e-2), recording.RunFile

    def late(path, *given, **more):
        if path.name.endswith("-1.h5"):
            path.write_bytes(b"another's")
        return begun(path, *given, **more)

    monkeypatch.setattr(recording, "RunFile", late)
    assert run(job, world, Console())["out"] == NAMED.format(2)
    assert Path(NAMED.format(1)).read_bytes() == b"another's"


def test_a_folder_that_takes_no_file_is_told_at_once(world, monkeypatch):
    monkeypatch.chdir("/proc")
    with pytest.raises(DataError, match="give `out=FILE` for another place, or `out=none`"):
        run(Solve(data=ROWS), world, Console())


def test_long_and_strange_names_become_names_of_files():
    job = Solve(data="/data/" + "a b'" * 40 + ".h5", method="lbfgs")
    name = next(run_name.candidates(job, "")).name
    assert name.startswith("a_b_a_b") and name.endswith("-lbfgs-1.h5") and len(name) < 100
