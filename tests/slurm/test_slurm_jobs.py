"""The batch scripts on a real Slurm of two nodes: what a user submits once comes to its end, whatever happens to it."""

from dataclasses import fields
from pathlib import Path
from shutil import copy, copytree, which

import numpy as np
import pytest

from mpiopt.io.dataset.reading import Dataset
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.io.runs.generations import newest
from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.cli.commands import COMMANDS, parse
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.solve_options import Solve
from tests.slurm.lab import Job, kill

pytestmark = pytest.mark.waits

ROWS, FEATURES, END = 400, 60, 80
LONG = ["--method", "gradient", "--gap-tol", "0", "--rounds", str(END), "--every-rounds", "1"]
SLOW = "0.04"  # seconds a round of the first attempt: it can be caught in the middle
MIDDLE = "round    6"


def text() -> str:
    """Rows that a good method solves in a few rounds, as svmlight text."""
    rows, y, *_ = from_spec(f"rcv1:rows={ROWS},cols={FEATURES},per_row=8").read(0, ROWS)
    bounds = zip(rows.indptr[:-1], rows.indptr[1:], strict=True)
    cells = [" ".join(f"{c + 1}:{v}" for c, v in zip(rows.indices[a:b], rows.data[a:b], strict=True)) for a, b in bounds]
    return "".join(f"{label:+.0f} {row}\n" for label, row in zip(y, cells, strict=True))


@pytest.fixture(scope="session")
def converted(lab, tmp_path_factory) -> tuple[Job, Path]:
    """The job of convert.sbatch, and the folder of the data set that it has made."""
    folder = tmp_path_factory.mktemp("converted")
    (folder / "train.svm").write_text(text())
    copy(Path(__file__).parents[2] / "slurm" / "convert.sbatch", folder)
    job = lab.submit(folder / "convert.sbatch", cwd=folder)
    job.over()
    return job, folder


@pytest.fixture
def data(folder, converted) -> Path:
    """A folder to submit from, with the scripts and train.h5."""
    copy(converted[1] / "train.h5", folder)
    copytree(converted[1] / "train.shards", folder / "train.shards")
    return folder


@pytest.fixture(scope="session")
def straight(lab, converted) -> np.ndarray:
    """The last iterate of the long solve, x (FEATURES,), when nothing disturbs it."""
    folder = converted[1]
    copy(Path(__file__).parents[2] / "slurm" / "solve.sbatch", folder)
    job = lab.submit(folder / "solve.sbatch", *LONG, cwd=folder)
    assert job.over()[:2] == ("COMPLETED", 0), job.why()
    return ended(folder / "solve.run.h5")


def ended(path: Path) -> np.ndarray:
    """x of a run that went through all its rounds."""
    run = read_run(path)
    assert run.attributes["reason"] == "ROUNDS" and run.history["round"].tolist() == list(range(END + 1))
    return read_solution(path)[0]


def script(folder: Path, *options: str) -> Path:
    """What mpiopt slurm writes for the long solve."""
    path = folder / "fit.sbatch"
    call = parse(
        [
            "slurm",
            "solve",
            "train.h5",
            *LONG,
            "--nodes",
            "2",
            "--tasks-per-node",
            "2",
            "--job-name",
            "fit",
            *options,
            "--json",
            "--out-script",
            str(path),
        ]
    )
    call.run(call.job, None, Console(json=True))
    return path


@pytest.fixture(scope="module", autouse=True)
def timed(lab, converted, straight, tmp_path_factory) -> Job:
    """A job with a minute's time, which it will need while the other tests go on; what it compiles is there by then."""
    folder = tmp_path_factory.mktemp("timed")
    copy(converted[1] / "train.h5", folder)
    copytree(converted[1] / "train.shards", folder / "train.shards")
    return lab.submit(script(folder, "--time", "1", "--signal-margin", "20"), cwd=folder, pace="0.6")


def test_convert_runs_on_two_nodes(converted, lab):
    job, folder = converted
    assert job.state == ("COMPLETED", 0, 0), job.why()
    assert Dataset.open(folder / "train.h5").index.rows == ROWS
    assert "NodeList=n[1-2] " in lab.tell("scontrol", "show", "job", "-o", job.number) and "on 4 ranks" in job.said


def test_solve_runs_on_two_nodes(straight, converted, lab):
    folder = converted[1]
    run = read_run(folder / "solve.run.h5")
    assert run.attributes["world_size"] == 4 and run.attributes["l2"] == 1e-5
    assert newest((folder / "solve.checkpoint.h5",)).round == END


@pytest.mark.parametrize("how", ["scontrol requeue", "scancel --signal=USR1"])
def test_a_job_that_is_disturbed_goes_on_by_itself_bit_for_bit(data, lab, straight, how):
    job = lab.submit(data / "solve.sbatch", *LONG, cwd=data, pace=SLOW)
    job.says(MIDDLE)
    lab.tell(*how.split(), job.number)
    assert job.over() == ("COMPLETED", 0, 1), job.why()
    assert "kept in solve.checkpoint.h5" in job.said and "going on from solve.checkpoint.h5, after round" in job.said
    np.testing.assert_array_equal(ended(data / "solve.run.h5"), straight)


@pytest.mark.study  # test_slurm_script.py shows it with a Slurm that is played
def test_a_job_goes_back_to_the_queue_no_more_than_it_may(data, lab):
    job = lab.submit(script(data, "--requeues", "1"), cwd=data, pace=f"{SLOW} {SLOW}")
    job.says(MIDDLE)
    job.cancel("--signal=USR2", "--batch")  # to the script alone, which tells the ranks
    job.restarted()
    job.says("going on from")
    job.says("\nround", times=job.said.count("\nround") + 3)
    job.cancel("--signal=TERM")
    assert job.over() == ("FAILED", 75, 1), job.why()
    assert "attempt 2 is not followed by another: submit the job again" in job.said


def test_a_job_that_is_cancelled_stays_so(data, lab):
    job = lab.submit(data / "solve.sbatch", *LONG, cwd=data, pace=SLOW)
    job.says(MIDDLE)
    job.cancel()
    assert job.over().name == "CANCELLED" and job.state.restarts == 0, job.why()
    assert newest((data / "solve.checkpoint.h5",)) is not None
    assert read_run(data / "solve.run.h5").attributes["reason"] == "INTERRUPTED"


def test_a_job_with_a_wrong_option_ends_at_once_and_for_good(folder, lab):
    job = lab.submit(folder / "solve.sbatch", cwd=folder)
    assert job.over() == ("FAILED", 1, 0), job.why()
    assert job.said.count("mpiopt: ") == 1 and "train.h5" in job.said


def test_a_killed_rank_ends_the_job_and_its_checkpoint_stays(data, lab):
    job = lab.submit(data / "solve.sbatch", *LONG, cwd=data, pace="0.3")
    job.says(MIDDLE)
    ranks = [rank for rank in job.ranks() if rank.environ()["SLURM_NODEID"] == "1"]
    assert len(ranks) == 2, job.why()
    kill(ranks[0])
    assert job.over() == ("FAILED", 137, 0), job.why()
    lab.until(lambda: not job.ranks(), 60, job.why)
    assert newest((data / "solve.checkpoint.h5",)).round >= 5


def test_an_array_ends_with_one_report_even_if_a_task_was_disturbed(data, lab):
    short = [*LONG[:-3], "20", *LONG[-2:]]
    job = lab.submit(data / "array.sbatch", *short, cwd=data, pace="0.2")
    tasks = [Job(lab, f"{job.number}_{index}", data) for index in range(4)]
    tasks[1].says(MIDDLE)
    # by the number of its step: some versions of scancel signal a task of an array again and again
    lab.tell("scancel", "--signal=USR1", f"{tasks[1].told['JobId']}.0")
    assert [task.over() for task in tasks] == [("COMPLETED", 0, int(index == 1)) for index in range(4)], job.why()
    report = (data / f"path-{job.number}.report.txt").read_text()
    assert report.count("rounds\n") == 4 and "4 runs\n" in report and not list(data.glob("*.ends*")), report
    for l2 in ("1e-3", "1e-4", "1e-5", "1e-6"):
        assert f"path-l2-{l2}.run.h5" in report
        assert read_run(data / f"path-l2-{l2}.run.h5").history["round"].tolist() == list(range(21))
    assert sum("path-l2-1e-3.run.h5" in task.said for task in tasks) == 2  # task 0 itself, and the one that came last


def test_gpu_gives_every_rank_a_gpu_of_its_own(data, lab):
    if which("nvidia-smi") and "device" not in {field.name for field in fields(Solve)}:
        pytest.skip("mpiopt solve has no --device yet")
    job = lab.submit(data / "gpu.sbatch", cwd=data)
    assert job.over() == ("COMPLETED", 0, 0), job.why()
    assert sorted(line for line in job.said.splitlines() if line.startswith("GPU")) == [
        "GPU n1 0",
        "GPU n1 1",
        "GPU n2 0",
        "GPU n2 1",
    ]
    assert read_run(data / "gpu.run.h5").attributes["reason"] == "GAP"


@pytest.mark.skipif("train" not in COMMANDS, reason="there is no mpiopt train yet")
def test_train_runs_on_two_nodes_and_goes_on_bit_for_bit(folder, lab):
    options = ["--data", "blobs:rows=800", "--test", "blobs:rows=200", "--epochs", "9", "--every-rounds", "1"]
    found = []
    for name in ("straight", "disturbed"):
        copytree(folder, place := folder / name, ignore=lambda *_: ["straight", "disturbed"])
        job = lab.submit(place / "train.sbatch", *options, cwd=place, pace=SLOW if name == "disturbed" else "")
        if name == "disturbed":
            job.says("epoch   2.")
            job.cancel("--signal=USR1")
        assert job.over() == ("COMPLETED", 0, int(name == "disturbed")), job.why()
        run = read_run(place / "train.run.h5")
        assert run.attributes["world_size"] == 4 and run.attributes["reason"] == "EPOCHS"
        found.append(read_solution(place / "train.run.h5")[0])
    np.testing.assert_array_equal(*found)


def test_a_job_whose_time_is_up_goes_on_by_itself_bit_for_bit(timed, straight):
    state = timed.over()
    assert state[:2] == ("COMPLETED", 0) and state.restarts >= 1, timed.why()
    assert "SIGUSR1" in timed.said or "nearly up" in timed.said, timed.said
    np.testing.assert_array_equal(ended(timed.folder / "fit.run.h5"), straight)
