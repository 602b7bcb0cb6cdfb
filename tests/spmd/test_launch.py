"""How a job ends under mpiexec: its exit code, one sentence, every rank gone, in seconds."""

import json
from pathlib import Path

import numpy as np
import pytest

from mpiopt.io.runs.run_file import read_run, read_solution
from tests import launcher

SMALL = "rcv1:rows=300,cols=200,per_row=8"
JOBS = ["-m", "mpiopt.jobs"]

FAILING = """
import sys
from dataclasses import make_dataclass
from mpiopt.errors import DataError, UsageError
from mpiopt.jobs import launch
from mpiopt.jobs.cli.commands import Call, Session

def run(job, world, console):
    console("stirring the pot")
    {body}
    world.barrier()
    return {{"exit_code": 3}}

launch.parse = lambda argv: Call(run, "solve", make_dataclass("Job", [])(), Session())
sys.exit(launch.main(["solve"]))
"""


def said(done) -> list[str]:
    """The lines that are ours; some launchers put a space before what they pass on."""
    return [line.strip() for line in done.stderr.splitlines() if line.strip().startswith("mpiopt: ")]


def one_sentence(done, code: int, part: str) -> None:
    assert done.returncode == code, done.stderr
    assert len(said(done)) == 1 and part in said(done)[0] and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize(
    "body, code, part",
    [
        ("if world.rank == 1: raise KeyError('salt')", None, "KeyError: 'salt' (--debug"),
        ("if world.rank == 1: raise DataError('the salt is wet')", None, ": the salt is wet"),
        ("if world.rank == 2: sys.exit(0)", None, "failed while stirring the pot: SystemExit"),
        ("if world.rank == 2: raise KeyError('late')\n    return {}", None, "KeyError: 'late'"),
        ("raise KeyError('salt')", 1, "rank 0 on host "),
        ("raise UsageError('no salt')", 2, "mpiopt: no salt"),
    ],
)
def test_a_failure_ends_every_rank_with_one_sentence(launch, body, code, part):
    done = launch(3, FAILING.format(body=body), timeout=100)
    assert done.returncode != 0
    one_sentence(done, done.returncode if code is None else code, part)
    if code is None:
        assert said(done)[0].startswith(f"mpiopt: rank {2 if 'rank == 2' in body else 1} on host ")


def test_a_job_decides_its_exit_code(launch):
    done = launch(3, FAILING.format(body="pass"), timeout=100)
    assert done.returncode == 3 and said(done) == [] and done.stderr.count("stirring") == 1


BAD = {
    "--rouns": (["solve", "--rouns", "3"], 2),
    "--l2 -1": (["solve", SMALL, "--l2", "-1"], 2),
    "there is no method 'nope'": (["solve", SMALL, "--method", "nope"], 2),
    "3 ranks cannot share 2 workers": (["solve", SMALL, "--workers", "2"], 2),
    "nowhere.h5": (["solve", "nowhere.h5"], 1),
    "the run file /proc/nowhere/r.h5 cannot be written": (["solve", SMALL, "--out", "/proc/nowhere/r.h5"], 1),
    "the run file nowhere.h5 cannot be read": (["solve", SMALL, "--from", "nowhere.h5"], 1),
    "nowhere.h5 cannot be read": (["report", "nowhere.h5"], 1),
}


@pytest.fixture(scope="module")
def refused(series):
    """What is said of bad input; the exit code of a process is what `main` gives back, as the failures above show."""
    return dict(zip(BAD, series(3, *(argv for argv, _ in BAD.values())), strict=True))


@pytest.mark.parametrize("part", BAD)
def test_bad_input_is_one_sentence(refused, part):
    one_sentence(refused[part], BAD[part][1], part)


def test_bad_input_to_what_needs_no_mpi_is_one_sentence(launch):
    one_sentence(launch(3, [*JOBS, "methods", "nope"]), 2, "there is no method 'nope'")


def test_debug_shows_the_traceback_and_strict_tells_a_run_that_did_not_converge(series):
    debug, strict = series(
        2, ["solve", SMALL, "--l2", "-1", "--debug"], ["solve", SMALL, "--method", "lbfgs", "--rounds", "1", "--strict"]
    )
    assert debug.returncode == 2 and debug.stderr.count("Traceback") == 1
    assert strict.returncode == 3 and said(strict) == [] and "1 round," in strict.stdout


@pytest.mark.parametrize(
    "promised", [{"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "4"}, {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4"}]
)
def test_a_process_that_finds_itself_alone_refuses(launch, promised):
    done = launch(None, [*JOBS, "solve", SMALL], env=promised)
    one_sentence(done, 1, "the launcher promised 4 ranks, but MPI sees 1")
    others = {name: "3" if value == "0" else value for name, value in promised.items()}
    silent = launch(None, [*JOBS, "solve", SMALL], env=others)
    assert silent.returncode == 1 and said(silent) == []


def test_a_batch_shell_promises_nothing(launch):
    env = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "1"}
    assert launch(None, [*JOBS, "solve", SMALL, "--rounds", "1"], env=env).returncode == 0


def test_solve_reports_records_and_starts_again(series, tmp_path):
    out = tmp_path / "new" / "run.h5"
    options = ["--intercept", "--out", str(out), "--json", "--set", "accuracy=0.2"]
    done, again, refused = series(
        3,
        ["solve", SMALL, *options],
        ["solve", "--config", str(out), "--from", str(out), "--json"],
        ["solve", SMALL, "--out", str(out)],
    )
    assert done.returncode == 0, done.stderr
    found, run = json.loads(done.stdout), read_run(out)
    assert found["converged"] and found["gap"] <= 1e-8 and found["world_size"] == 3
    assert found["config"]["set"] == {"accuracy": 0.2} and found["config"]["gap_tol"] == 1e-8
    assert run.attributes["reason"] == "GAP" and run.attributes["objective"] == found["objective"]
    for name, column in found["history"].items():
        finite = [np.inf if value is None else value for value in column]  # JSON knows no infinity
        np.testing.assert_array_equal(run.history[name], np.array(finite, float))
    x, intercept = read_solution(out)
    assert x.shape == (200,) and intercept != 0
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["rounds"] == 0
    one_sentence(refused, 1, "exists: name another file with --out, or give --overwrite")


@pytest.mark.parametrize("argv", [["methods"], ["--version"]])
def test_what_needs_no_mpi_is_printed_once(launch, argv):
    alone, three = launch(None, [*JOBS, *argv]), launch(3, [*JOBS, *argv])
    assert three.returncode == 0 and three.stdout == alone.stdout != ""


UNLIKE = """
import sys
from mpiopt.jobs.launch import main
from mpiopt.jobs.machine.environment import detect
sys.exit(main({others} if detect().rank == 1 else {own}))
"""


@pytest.mark.parametrize(
    "own, others, part",
    [
        (["solve", SMALL], ["methods"], "the command is methods on rank 1 and solve on rank 0"),
        (["solve", SMALL], ["solve", "--help"], "the command is solve --help on rank 1 and solve on rank 0"),
        (["report", "a.h5"], ["describe", "a.h5"], "the command is describe on rank 1 and report on rank 0"),
    ],
)
def test_a_rank_that_was_asked_for_another_command_keeps_nobody_waiting(launch, own, others, part):
    one_sentence(launch(2, UNLIKE.format(own=own, others=others)), 1, part)


def test_a_job_file_is_a_program_of_its_own_in_a_bare_checkout(launch):
    job = Path(__file__).parents[2] / "jobs" / "solve.py"
    done = launch(2, [str(job), SMALL, "--rounds", "1"], env={"PYTHONPATH": ""})
    assert done.returncode == 0 and "1 round," in done.stdout, done.stderr


def test_doctor_looks_at_every_rank(launch, tmp_path):
    done = launch(3, [*JOBS, "doctor", "--folder", str(tmp_path), "--json"])
    found = json.loads(done.stdout)
    assert found["ranks"] == found["promised_ranks"] == len(found["per_rank"]) == sum(found["hosts"].values()) == 3
    assert {"launcher", "mpi", "hdf5", "python", "folder", "gpu", "warnings"} <= set(found)
    assert found["folder"]["locks"] and {"cores", "threads", "memory_free", "resident"} <= set(found["per_rank"][2])


def test_doctor_finds_what_is_amiss(launch, tmp_path):
    env = {"OMP_NUM_THREADS": "4096", "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "4"}
    done = launch(None, [*JOBS, "doctor", "--folder", str(tmp_path / "nowhere")], env=env)
    assert done.returncode == 0
    for part in ("4096 threads", "started 4 processes, but MPI sees 1", "cannot be written there"):
        assert part in done.stdout


@pytest.mark.parametrize("asked", ["1", "64"])
def test_ranks_of_a_program_share_the_cores_of_their_node(launch, asked):
    """But for threads of which there are fewer already."""
    program = (
        "import os\n"
        "import numpy\n"
        "from threadpoolctl import threadpool_info\n"
        "from mpiopt import World\n"
        "before = [pool['num_threads'] for pool in threadpool_info()]\n"
        "world = World()\n"
        "share = max(1, len(os.sched_getaffinity(0)) // world.size)\n"
        "after = [pool['num_threads'] for pool in threadpool_info()]\n"
        "assert before and after == [min(one, share) for one in before], (before, after)\n"
    )
    env = dict.fromkeys(launcher.SINGLE_THREAD, asked)
    done = launch(2, program, env=env)
    assert done.returncode == 0, done.stderr
