"""The script of a run, and the options that every run has: what is done once, in one order, for whatever is run."""

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mpiopt.engine.stop import Reason, Record
from mpiopt.errors import DataError, UsageError
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.flags import flag
from mpiopt.jobs.cli.run_options import OWN, RunOptions
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running.run_script import Outcome, carried_out
from mpiopt.jobs.solve import complete as complete_solve
from mpiopt.jobs.train import complete as complete_train

COMPLETE = {Solve: complete_solve, Train: complete_train}
# in both, which say each its own of them
UNLIKE = {"data", "method", "compress", "error_feedback", "force", "loss", "rounds", "test"}
PLACED = {"set"}  # in both beside the method; what it means is said by its type


class Noting:
    """Hooks that note what is done, and end at x = (1, 2) with an intercept of 3."""

    doing = "trying"

    def __init__(self, job, reason=Reason.TARGET):
        self.job, self.reason, self.done = job, reason, []

    def opened(self):
        self.done.append("opened")
        if self.job.l2 == 7:
            raise DataError("no such rows")
        return {"workers": 1}

    def demand_start(self, size):
        self.done.append(size)

    def built(self):
        self.done.append("built")
        return SimpleNamespace(), {"dataset": "rows"}

    def ended(self, course):
        self.done.append("ended")
        assert course.standing() is None and course.interruption() == ""
        last = Record(4, 0.5, 2.0, 0.1, 0.2, 100, 5, 6)
        for watcher in course.watch:
            watcher(last)
        end = SimpleNamespace(x=np.array([1.0, 2.0, 3.0]), reason=self.reason, reason_text="So.", final=last, history=(last,))
        return Outcome(end, self.reason.converged, {"gap": 0.2, "objective": 1.5}, ("gap",), [("data", "rows")], intercept=True)


def test_a_run_is_recorded_told_and_returned(world, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)  # a long name would be broken into lines
    job = Solve(out=Path("r.h5"), config=None)
    hooks = Noting(job)
    found = carried_out(hooks, world, Console())
    assert hooks.done == ["opened", "built", "ended"]
    said = capfd.readouterr()
    assert said.out.split() == ["data", "rows", "ended", "So.", "run", "file", "r.h5"]
    assert said.err.startswith("trying rows with spcg on 1 rank\n")
    assert (found["rounds"], found["objective"], found["gap"], found["exit_code"]) == (4, 1.5, 0.2, 0)
    run, (x, intercept) = read_run(tmp_path / "r.h5"), read_solution(tmp_path / "r.h5")
    assert x.tolist() == [1.0, 2.0] and intercept == 3.0 and run.history["bytes_sent"].tolist() == [100]
    kept = {name: run.attributes[name] for name in ("reason", "objective", "gap", "dataset", "method", "workers")}
    assert kept == {"reason": "TARGET", "objective": 1.5, "gap": 0.2, "dataset": "rows", "method": "spcg", "workers": 1}


def test_what_a_run_starts_from_is_looked_at_before_any_row_is_read(world, tmp_path):
    hooks = Noting(Solve(out=tmp_path / "r.h5", from_=tmp_path / "nowhere.h5"))
    with pytest.raises(DataError, match=r"nowhere\.h5 cannot be read"):
        carried_out(hooks, world, Console(first=False))
    assert hooks.done == ["opened"]
    carried_out(Noting(Solve(out=tmp_path / "r.h5")), world, Console(first=False))
    hooks = Noting(Solve(out=tmp_path / "again.h5", from_=tmp_path / "r.h5"))
    carried_out(hooks, world, Console(first=False))
    assert hooks.done == ["opened", 2, "built", "ended"]


@pytest.mark.parametrize(
    ("reason", "strict", "code"),
    [
        (Reason.ROUNDS, False, 0),
        (Reason.ROUNDS, True, 3),
        (Reason.TARGET, True, 0),
        (Reason.BROKEN, False, 1),
        (Reason.INTERRUPTED, False, 130),
    ],
)
def test_the_exit_code_says_how_it_ended(world, reason, strict, code):
    assert carried_out(Noting(Solve(strict=strict), reason), world, Console(first=False))["exit_code"] == code


def test_what_is_in_the_way_is_said_before_anything_is_opened(world, tmp_path):
    (tmp_path / "r.h5").write_text("precious")
    hooks = Noting(Solve(out=tmp_path / "r.h5"))
    with pytest.raises(DataError, match="exists"):
        carried_out(hooks, world, Console(first=False))
    assert hooks.done == [] and (tmp_path / "r.h5").read_text() == "precious"


def test_what_fails_at_the_opening_leaves_no_file(world, tmp_path):
    hooks = Noting(Solve(out=tmp_path / "r.h5", checkpoint=tmp_path / "c.h5", l2=7))
    with pytest.raises(DataError, match="no such rows"):
        carried_out(hooks, world, Console(first=False))
    assert hooks.done == ["opened"] and not list(tmp_path.glob("*"))


def test_what_solve_and_train_have_alike_is_written_once():
    solve, train, alike = ({field.name for field in fields(kind)} for kind in (Solve, Train, RunOptions))
    assert alike < solve & train and (solve & train) - alike == UNLIKE | PLACED


@pytest.mark.parametrize("kind", COMPLETE)
@pytest.mark.parametrize("name", OWN)
def test_a_negative_number_is_refused_by_its_flag(kind, name):
    with pytest.raises(UsageError) as caught:
        COMPLETE[kind](replace(kind(), **{name: -1.0}))
    assert str(caught.value) == f"{flag(name)} -1: give a number that is not negative"
