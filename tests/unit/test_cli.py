"""The command line and job files: one description of a job, whatever way it comes in."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpiopt.errors import UsageError
from mpiopt.jobs.cli.commands import COMMANDS, Call, parse
from mpiopt.jobs.cli.configuration import to_toml
from mpiopt.jobs.cli.console import Console, _objective, _tell
from mpiopt.jobs.cli.solve_options import Solve
from mpiopt.jobs.machine.environment import detect, threads
from mpiopt.jobs.solve import complete, method_of

FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)

text = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=12)
positive = st.floats(0, allow_nan=False)
count = st.integers(0, 2**62)
key = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
scalar = st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), text)


def jobs() -> st.SearchStrategy[Solve]:
    maybe = {
        "data": text,
        "method": text,
        "positive": text,
        "l2": positive,
        "l1": positive,
        "rounds": count,
        "seed": count,
        "bytes": positive,
        "seconds": positive,
        "gradient_tol": positive,
        "gap_tol": positive,
        "server_rows": count,
        "mu": positive,
        "workers": count,
        "intercept": st.booleans(),
        "deterministic": st.booleans(),
        "strict": st.booleans(),
        "overwrite": st.booleans(),
        "out": text.map(Path),
        "from_": text.map(Path),
        "loss": st.sampled_from(["logistic", "least_squares"]),
        "values": st.sampled_from(["float32", "float64"]),
        "set": st.dictionaries(key, scalar, max_size=3).map(lambda pairs: tuple(pairs.items())),
    }
    return st.fixed_dictionaries({}, optional=maybe).map(lambda given: Solve(**given))


def asked(*argv: str) -> Solve:
    call = parse(["solve", *argv])
    assert isinstance(call, Call)
    return call.job


@FILES
@given(job=jobs())
def test_a_job_survives_its_job_file(tmp_path, job):
    path = tmp_path / "job.toml"
    path.write_text(to_toml(job), encoding="utf-8")
    assert replace(asked("--config", str(path)), config=None) == job


@FILES
@given(job=jobs(), l2=positive, given=st.dictionaries(key, st.integers(0, 9), min_size=1, max_size=3))
def test_the_command_line_comes_before_the_job_file(tmp_path, job, l2, given):
    path = tmp_path / "job.toml"
    path.write_text(to_toml(job), encoding="utf-8")
    pairs = [token for name, value in given.items() for token in ("--set", f"{name}={value}")]
    found = asked("--config", str(path), f"--l2={l2!r}", "--no-intercept", *pairs)
    expected = replace(job, l2=l2, intercept=False, set=tuple((dict(job.set) | given).items()))
    assert replace(found, config=None) == expected


@pytest.mark.parametrize(
    "body, said",
    [
        ('methd = "spcg"', "unknown key 'methd'; the keys are bytes, check_against, checkpoint"),
        ("l2 = [1, 2]", "l2 needs one value"),
        ("set = 3", "set needs a table"),
        ("data = {a = 1}", "data needs one value"),
        ('l2 = "much"', "l2 needs a number"),
        ("rounds = 1.5", "not a whole number"),
        ('values = "float16"', "Choose from"),
        ('loss = "hinge"', "there is no loss 'hinge': choose one of logistic, least_squares"),
        ("json = true", "unknown key 'json'"),
        ("l2 = ", "not a TOML file"),
    ],
)
def test_a_wrong_job_file_is_one_sentence(tmp_path, body, said):
    path = tmp_path / "job.toml"
    path.write_text(body)
    with pytest.raises(UsageError) as caught:
        asked("--config", str(path))
    assert said in str(caught.value) and "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    "argv, said",
    [
        (["solve", "--rouns", "3"], "--rounds"),
        (["solve", "--rounds", "1.5"], "not a whole number"),
        (["solve", "--rounds"], "--rounds requires an argument"),
        (["solve", "--set", "mu"], "is not KEY=VALUE"),
        (["solve", "--config", "nowhere.toml"], "the job file nowhere.toml cannot be read"),
        (["solve", "a.h5", "b.h5"], "b.h5"),
        (["solves"], 'Unknown command "solves"'),
        (["path", "news20.h5", "--multiclass=ovr"], "run mpiopt solve --multiclass with one --l2 after the other"),
        (["report"], "requires an argument"),
    ],
)
def test_a_wrong_command_line_is_one_sentence(argv, said):
    with pytest.raises(UsageError) as caught:
        parse(argv)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "job, said",
    [
        (Solve(l2=-1.0), "--l2 -1"),
        (Solve(gap_tol=float("nan")), "--gap-tol nan"),
        (Solve(seconds=-2.0), "--seconds -2"),
        (Solve(method="nope"), "there is no method 'nope': choose one of spcg"),
        (Solve(set=(("size", 1),)), "got size"),
        (Solve(set=(("mu", "big"),)), "spcg takes mu as float; got 'big'"),
        (Solve(l1=0.1, method="tron"), "needs a smooth penalty"),
    ],
)
def test_what_cannot_be_solved_is_refused_before_any_row_is_read(job, said):
    with pytest.raises(UsageError) as caught:
        method_of(complete(job))
    assert said in str(caught.value)


def test_a_tolerance_given_replaces_the_default_one():
    assert complete(Solve()).gap_tol == 1e-8
    assert complete(Solve(gradient_tol=1e-3)).gap_tol is None
    assert complete(Solve(gradient_tol=1e-3, gap_tol=1.0)).gap_tol == 1.0


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_option_in_80_columns(command):
    shown = subprocess.run(
        [sys.executable, "-m", "mpiopt.jobs", command, "--help"],
        capture_output=True,
        text=True,
        env={"COLUMNS": "80", "PYTHONPATH": str(Path(__file__).parents[2])},
        check=True,
    )
    assert shown.stderr == "" and "--json" in shown.stdout and max(map(len, shown.stdout.splitlines())) <= 80


def test_asking_for_help_imports_neither_mpi_nor_numba():
    program = "import sys\nfrom mpiopt.jobs.cli.commands import parse\nparse(['solve', '--help'])()\nprint(sorted(sys.modules))"
    shown = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    for heavy in ("mpi4py", "numba", "h5py", "scipy", "numpy"):
        assert f"'{heavy}'" not in shown.stdout


@pytest.mark.parametrize(
    "environment, found",
    [
        ({}, (None, None, None)),
        ({"OMPI_COMM_WORLD_RANK": "2", "OMPI_COMM_WORLD_SIZE": "4"}, ("Open MPI mpirun", 2, 4)),
        ({"PMI_RANK": "0", "PMI_SIZE": "3"}, ("MPICH or Intel mpiexec", 0, 3)),
        # the shell of a batch script: four tasks are allotted, nothing has been launched
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"}, (None, None, None)),
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NTASKS": "8"}, ("Slurm srun", 3, 4)),
        # srun -n 1 python: one task is no promise; srun -n 1 mpirun -n 4: the nearer launcher counts
        ({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1"}, (None, None, None)),
        (
            {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "PMI_RANK": "1", "PMI_SIZE": "4"},
            ("MPICH or Intel mpiexec", 1, 4),
        ),
        (
            {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "OMPI_COMM_WORLD_RANK": "5", "OMPI_COMM_WORLD_SIZE": "8"},
            ("Open MPI mpirun", 5, 8),
        ),
    ],
)
def test_the_launcher_nearest_to_the_process_is_found(environment, found):
    assert detect(environment) == found
    assert detect(environment).first is (not found[1])


def test_threads_are_what_the_user_or_slurm_says_and_one_otherwise():
    assert [
        threads(e)
        for e in (
            {},
            {"OMP_NUM_THREADS": "3"},
            {"SLURM_CPUS_PER_TASK": "4"},
            {"OMP_NUM_THREADS": "2", "SLURM_CPUS_PER_TASK": "4"},
        )
    ] == [1, 3, 4, 2]


TYPES = {
    'intercept = "yes"': "true or false",
    "intercept = 1": "true or false",
    "l2 = true": "no switch",
    'l2 = "1e-3"': "a number",
    'rounds = "7"': "a number",
}


@pytest.mark.parametrize("line", TYPES)
def test_a_job_file_keeps_to_its_types(tmp_path, line):
    (tmp_path / "job.toml").write_text(line)
    with pytest.raises(UsageError, match=TYPES[line]):
        parse(["solve", "--config", str(tmp_path / "job.toml")])


@pytest.mark.parametrize("argv", [["solve", "--help"], ["methods"], ["--version"], ["--help"], ["methods", "spcg", "--json"]])
def test_a_reader_that_has_gone_is_no_failure(argv):
    """As with mpiopt methods | head."""
    gone, end = os.pipe()
    os.close(gone)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mpiopt.jobs", *argv],
            stdout=end,
            stderr=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": str(Path(__file__).parents[2])},
        )
    finally:
        os.close(end)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_run_goes_on_without_whoever_read_its_progress(capfd):
    gone, end = os.pipe()
    os.close(gone)
    with open(end, "w") as stream:
        _tell("a line that nobody reads", stream)
        _tell("another", stream)
    assert capfd.readouterr() == ("", "")


def test_lines_are_cut_for_a_terminal_only(monkeypatch, capsys):
    def longest(*argv: str) -> int:
        call = parse(["methods", *argv])
        call.run(call.job, None, Console())
        return max(map(len, capsys.readouterr().out.splitlines()))

    monkeypatch.setenv("COLUMNS", "80")
    for argv in ([], ["compressors"]):
        assert longest(*argv) > 80
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        assert longest(*argv) <= 80
        monkeypatch.setattr(sys.stdout, "isatty", lambda: False)


@given(value=st.floats(width=64))
def test_an_objective_fits_its_column_whatever_its_size(value):
    shown = _objective(value)
    assert len(shown) <= 16 and (not math.isfinite(value) or abs(float(shown) - value) <= 1e-7 * abs(value))
