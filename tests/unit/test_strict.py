"""The exit code of ``mpiopt solve --strict``, by the reason that a solve ends with: 0 for a tolerance reached, 3 for none."""

from pathlib import Path

import h5py
import pytest

from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.cli.console import Console
from tests.forged import forged

ONE_HOT = "1 1:1\n1 1:1\n-1 1:1\n-1 2:1\n-1 2:1\n1 2:1\n1 3:1\n-1 3:1\n"
PURE = "1 1:1\n1 1:1\n-1 2:1\n1 2:1\n-1 3:1\n1 3:1\n"
HUGE = "1 1:1e30 2:2e30\n-1 1:2e30 2:1e30\n1 1:-1e30 2:1e30\n-1 1:1e30 2:3e30\n"


@pytest.fixture
def ended(worlds, tmp_path, monkeypatch):
    """Solve rows with options, on three workers: (reason, exit code)."""

    def run(rows: str, *options: str) -> tuple[str, int]:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "rows.svm").write_text(rows)
        for argv in (["convert", "rows.svm", "rows.h5", "--overwrite"], ["solve", "rows.h5", *options]):
            call = parse(argv)
            found = call.run(call.job, worlds(workers=3), Console(json=True))
        return found["reason"], found["exit_code"]

    return run


@pytest.mark.parametrize(
    ("rows", "options", "reason", "code"),
    [
        (ONE_HOT, ["--l2", "0", "--intercept"], "ROUNDING", 0),
        (ONE_HOT, ["--l2", "0.01"], "GAP", 0),
        (ONE_HOT, ["--l2", "0", "--intercept", "--method", "gradient", "--rounds", "1"], "ROUNDS", 3),
        (PURE, ["--l2", "0", "--intercept"], "SEPARABLE", 3),
        (PURE, ["--l2", "0", "--intercept", "--method", "giant"], "SEPARABLE", 3),
        (HUGE, ["--l2", "1e-5", "--no-intercept"], "HIDDEN", 3),
    ],
)
def test_strict_is_about_the_reason(ended, rows, options, reason, code):
    assert ended(rows, *options, "--strict") == (reason, code)


def test_without_it_a_run_that_has_not_converged_is_no_failure(ended):
    assert ended(PURE, "--l2", "0", "--intercept") == ("SEPARABLE", 0)


def test_what_the_certificate_does_not_bear_out_is_not_reached(ended):
    """A run that ended at its tolerance goes on from a checkpoint in which somebody has put another x beside old margins."""
    keep = ("--l2", "0.01", "--checkpoint", "c.h5", "--strict")
    assert ended(ONE_HOT, *keep) == ("GAP", 0)

    def moved(file: h5py.File) -> None:
        names: list[str] = []
        file.visit(names.append)
        points = [file[name] for name in names if name.endswith("/x")]
        assert points
        for x in points:
            x[...] = x[...] + 0.1

    forged(Path("c.h5"), moved)
    assert ended(ONE_HOT, *keep) == ("REFUTED", 3)
