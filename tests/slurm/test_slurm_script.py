"""What ``mpiopt slurm`` writes: right by what the scripts do under a Slurm that is played, and clean to shellcheck."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpiopt.errors import MpioptError, UsageError
from mpiopt.io.runs.run_file import RunFile
from mpiopt.jobs.batch.options import Slurm
from mpiopt.jobs.batch.script import argv
from mpiopt.jobs.cli.commands import COMMANDS, parse
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.slurm import seconds

SHIPPED = sorted((Path(__file__).parents[2] / "slurm").glob("*.sbatch"))
SOLVE = ["slurm", "solve", "train.h5", "--l2", "1e-5"]


def written(*options: str) -> str:
    """The script that the command line asks for."""
    call = parse(list(options))
    return call.run(call.job, None, Console(first=False))["script"]


def origin(script: Path) -> list[str]:
    """The command line that a script says it was written by."""
    line = next(line for line in script.read_text().splitlines() if line.startswith("# Written by: mpiopt "))
    return shlex.split(line.removeprefix("# Written by: mpiopt "))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_scripts_of_the_checkout_are_as_mpiopt_slurm_writes_them(path):
    text = written(*origin(path))
    assert path.read_text() == text, f"write it anew: mpiopt {shlex.join(origin(path))} --out-script {path}"


def test_the_checkout_has_a_script_for_each_kind_of_job():
    assert [path.stem for path in SHIPPED] == ["array", "convert", "gpu", "play", "predict", "score", "solve", "train"]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--array", "l2=1e-3,1e-4"],
        ["--array", "accuracy=0.1,0.2", "--job-name", "a.b"],
        ["--env", "my env.sh"],
        ["--mpi", "pmi2", "--gpus-per-task", "2", "--partition", "short,long", "--account", "me", "--sbatch", "exclusive"],
        ["--out", 'it\'s $HOME/`x` "y".h5', "--array", "seed=1,2"],
        ["--requeues", "0", "--signal", "USR2"],
    ],
)
def test_shellcheck_finds_nothing(tmp_path, options):
    l2 = [] if any("l2=" in option for option in options) else ["--l2", "1e-5"]
    path = tmp_path / "x.sbatch"
    path.write_text(written("slurm", "solve", "train.h5", *l2, *options))
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "options",
    [
        ["--set", "a=1\ntouch pwned"],
        ["--data", "x\n. ./evil"],
        ["--out", "a\r.h5"],
        ["--env", "e\ntouch pwned"],
        ["--sbatch", "comment=a\ntouch pwned"],
        ["--positive", "\x1b[2J"],
        ["--data", "a\u2028b"],
        ["--array", "l2=1\n,2"],
        ["--time", "1\ntouch pwned"],
        ["--job-name", "j\ntouch pwned"],
        ["--partition", "p\n"],
    ],
)
def test_no_line_of_an_argument_becomes_a_line_of_the_script(options):
    for place in (3, 2):
        with pytest.raises(MpioptError) as caught:
            written(*SOLVE[:place], *options)
        assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


@given(st.text())
def test_a_comment_of_a_script_is_one_line_whatever_the_arguments(text):
    try:
        script = written(*SOLVE, "--positive", text)
    except MpioptError:
        return
    assert [line for line in script.splitlines() if shlex.quote(text) in line and line.startswith("# Written by")]


name = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,8}", fullmatch=True)
jobs = st.builds(
    Slurm,
    command=st.just(("solve", "my data.h5", "--set", "mu=3")),
    nodes=st.integers(1, 999),
    tasks_per_node=st.integers(1, 999),
    time=st.sampled_from(["90", "2-12", "8:00:00"]),
    job_name=st.none() | name,
    partition=st.none() | name,
    sbatch=st.lists(st.sampled_from(["mem=16G", "exclusive", "comment=a b"])).map(tuple),
    env=st.none() | name.map(Path),
    signal=st.sampled_from(["USR1", "USR2"]),
    requeues=st.integers(0, 99),
    array=st.sampled_from([None, "l2=1e-3,1e-4"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(job=jobs)
def test_a_script_says_by_what_command_line_it_was_written(job):
    assert parse(argv(job)).job == job


def test_no_option_of_slurm_is_one_of_the_commands():
    ours = {field.name for field in fields(Slurm)}
    for command in (name for name, needs in COMMANDS.items() if needs.mpi):
        kind = getattr(import_module(f"mpiopt.jobs.{command}"), command.capitalize())
        assert not ours & {field.name for field in fields(kind)}, command


# ------------------------------------------------------------------------------------------ under a Slurm that is played
PLAYED = {
    "srun": """import json, os, signal, sys, time
if os.environ.get("STAY"):
    signal.signal(signal.SIGUSR1, lambda *_: os._exit(75))
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    open("stays", "w").close()
    time.sleep(20)
with open("ran", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
sys.exit(int(os.environ["CODE"]))""",
    "squeue": "import os\nprint(os.environ['STATE'])",
    "scontrol": """import os, sys
open("requeued", "a").write(" ".join(sys.argv[1:]) + "\\n")
sys.exit(os.environ["STATE"] == "STUCK")""",
    "mpiopt": "import sys\nprint('table of', *sys.argv[3:])",
}


@pytest.fixture
def play(tmp_path):
    """Run a script in an empty folder, with Slurm's programs played; srun ends with ``code``."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, source in PLAYED.items():
        (programs / name).write_text(f"#!{sys.executable}\n{source}\n")
        (programs / name).chmod(0o755)
    place = tmp_path / "place"
    place.mkdir()

    def run(text: str, *arguments: str, code=0, state="RUNNING", wait=True, **variables) -> subprocess.Popen:
        (place / "job").write_text(text)
        env = {"PATH": f"{programs}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "CODE": str(code), "STATE": state, **variables}
        process = subprocess.Popen(
            ["bash", "job", *arguments], cwd=place, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        process.place = place
        if wait:
            process.said = process.communicate(timeout=200)[0]
        return process

    return run


def ran(process) -> list[str]:
    """What srun was last asked to run."""
    return json.loads((process.place / "ran").read_text().splitlines()[-1])


def test_a_rank_does_not_die_of_a_signal_before_it_listens_or_after(tmp_path, play):
    found = ran(play(written(*SOLVE)))
    rank = found[found.index("bash") : found.index("mpiopt")]
    code = "import os, signal as s; os.kill(os.getpid(), s.SIGUSR1); os.kill(os.getpid(), s.SIGUSR2); print('alive')"
    done = subprocess.run([*rank, sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout == "alive\n"


def requeued(process) -> str:
    path = process.place / "requeued"
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize(
    "code, state, restarts, expected",
    [
        (0, "RUNNING", "", ""),
        (1, "RUNNING", "", ""),
        (3, "RUNNING", "", ""),
        (130, "RUNNING", "", ""),
        (137, "RUNNING", "", ""),
        (75, "RUNNING", "", "requeue 7\n"),
        (75, "RUNNING", "1", "requeue 7\n"),
        (75, "RUNNING", "2", ""),
        (75, "COMPLETING", "", ""),
        (75, "", "", ""),
        (75, "STUCK", "", ""),
    ],
)
def test_75_alone_goes_back_to_the_queue_and_only_so_often(play, code, state, restarts, expected):
    extra = {"SLURM_RESTART_COUNT": restarts} if restarts else {}
    done = play(written(*SOLVE, "--requeues", "2"), code=code, state=state, **extra)
    assert done.returncode == code and requeued(done) == expected, done.said
    assert ("submit" in done.said) is (code == 75 and not expected)


def test_a_site_that_does_not_let_it_back_is_no_reason_to_lose_the_exit_code(play):
    text = written(*SOLVE).replace("!= RUNNING", "!= STUCK")  # scontrol fails in this state
    done = play(text, code=75, state="STUCK")
    assert done.returncode == 75 and requeued(done) and "attempt 1 is not followed by another" in done.said


@pytest.mark.parametrize("signal", ["USR1", "USR2", "TERM"])
def test_what_the_shell_is_told_the_ranks_are_told(play, signal):
    process = play(written(*SOLVE), code=0, wait=False, STAY="1")
    try:
        while not (process.place / "stays").exists():
            assert process.poll() is None
        process.send_signal(getattr(__import__("signal"), f"SIG{signal}"))
        said = process.communicate(timeout=100)[0]
    finally:
        process.kill()
    assert process.returncode == 75 and requeued(process) == "requeue 7\n", said


def test_the_command_comes_through_every_quote(play):
    words = ["it's", '$HOME `x` "y" \\', "*"]
    text = written("slurm", "solve", words[0], "--positive", words[1], "--out", words[2], "--mpi", "pmi2")
    found = ran(play(text, "--rounds", "a b"))
    assert found[found.index("mpiopt") :] == [
        "mpiopt",
        "solve",
        "it's",
        "--positive",
        words[1],
        "--margin",
        "120",
        "--out",
        "*",
        "--checkpoint",
        "*.checkpoint.h5",
        "--rounds",
        "a b",
    ]
    assert "--mpi=pmi2" in found and "--kill-on-bad-exit=0" in found


def test_threads_are_what_slurm_gives(play):
    text = written(*SOLVE).replace("\nsrun ", '\necho "threads $OMP_NUM_THREADS $SRUN_CPUS_PER_TASK"\nsrun ')
    assert "threads 4 4" in play(text, SLURM_CPUS_PER_TASK="4").said
    assert "threads 1 1" in play(text).said


def test_an_environment_file_is_read_where_there_is_one(play):
    done = play("echo 'echo mine; false' >env.sh\n" + written(*SOLVE))
    assert done.returncode == 0 and done.said.count("mine") == 1
    done = play(written(*SOLVE, "--env", "nowhere.sh"))
    assert done.returncode != 0 and not done.said.count("mine")
    done = play(written(*SOLVE).replace("command -v mpiopt", "command -v mpiopt-is-not-here"))
    assert done.returncode == 127 and "name its virtual environment in env.sh" in done.said


def test_an_array_s_tasks_differ_and_the_last_reports_once(play):
    text = written("slurm", "solve", "d.h5", "--array", "l2=1e-3,1e-4,1e-5", "--out", "runs/fit.h5", "--job-name", "fit")
    reports = []
    for index, code in ((2, 0), (0, 1), (1, 75), (1, 0)):
        done = play(text, code=code, SLURM_ARRAY_JOB_ID="5", SLURM_ARRAY_TASK_ID=str(index), SLURM_ARRAY_TASK_COUNT="3")
        assert done.returncode == code
        value = ("1e-3", "1e-4", "1e-5")[index]
        for word in (f"--l2={value}", f"runs/fit-l2-{value}.h5", f"runs/fit-l2-{value}.checkpoint.h5"):
            assert word in ran(done)
        reports.append(done.said.count("table of"))
    assert reports == [0, 0, 0, 1] and requeued(done) == "requeue 5_1\n"
    names = [f"runs/fit-l2-{value}.h5" for value in ("1e-3", "1e-4", "1e-5")]
    assert (done.place / "fit-5.report.txt").read_text() == f"table of {' '.join(names)}\n"
    assert not list(done.place.glob("*.ends*"))


# ------------------------------------------------------------------------------------------ options
def test_signal_and_margin_match_the_program_s():
    text = written(*SOLVE, "--signal-margin", "300", "--signal", "USR2")
    assert "#SBATCH --signal=USR2@300" in text and "--margin 300" in text
    assert "--margin 7" in written(*SOLVE, "--margin", "7") and "--margin 120" not in written(*SOLVE, "--margin=7")


def test_options_of_sbatch_come_through():
    text = written(*SOLVE, "--sbatch", "comment=it is mine", "--sbatch", "exclusive", "--partition", "a,b", "--account", "me")
    for line in ("--comment='it is mine'", "--exclusive", "--partition=a,b", "--account=me", "--nodes=1", "--time=1:00:00"):
        assert f"\n#SBATCH {line}\n" in text


def test_a_command_that_keeps_no_checkpoint_never_goes_back():
    text = written("slurm", "convert", "a.svm", "a.h5", "--time", "1")
    assert "scontrol" not in text and "--signal" not in text and "#SBATCH --requeue" in text


def test_the_script_is_saved_and_never_replaced(tmp_path):
    path = tmp_path / "x.sbatch"
    text = written(*SOLVE, "--out-script", str(path))
    assert path.read_text() == text
    with pytest.raises(UsageError, match="exists: name another file"):
        written(*SOLVE, "--out-script", str(path))
    with pytest.raises(UsageError, match="cannot be written"):
        written(*SOLVE, "--out-script", str(tmp_path / "nowhere" / "x"))


@pytest.mark.parametrize(
    "argv, said",
    [
        (["describe", "a.h5"], "writes scripts for convert, solve"),
        (["solves"], "got 'solves'"),
        (["solve", "--rouns", "3"], "for Slurm's options see mpiopt slurm --help"),
        (["solve", "--l2", "-1"], "--l2 -1"),
        (["solve", "--method", "nope"], "there is no method 'nope'"),
        (["solve", "--help-me"], "--help-me"),
        (["solve", "--nodes", "0"], "--nodes 0"),
        (["solve", "--nodes", "two"], "not a whole number"),
        (["solve", "--time", "1h"], "--time 1h: give a time as Slurm writes it"),
        (["solve", "--time", "0"], "--time 0"),
        (["solve", "--time", "2", "--signal-margin", "50"], "at most a third of the --time of 120 seconds"),
        (["solve", "--signal", "HUP"], "HUP"),
        (["solve", "--account", "a b"], "--account 'a b'"),
        (["solve", "--sbatch=--mem=3"], "without its dashes"),
        (["solve", "--sbatch", "signal=USR1"], "the script has that option already"),
        (["solve", "--array", "l2"], "--array l2"),
        (["solve", "--array", "l2=1,1"], "values that differ"),
        (["solve", "--array", "l2=1,,2"], "--array l2=1,,2"),
        (["solve", "--array", "l2=1,two"], "two"),
        (["solve", "--array", "nope=1,2"], "got nope"),
        (["solve", "--l2", "1", "--array", "l2=1,2"], "--l2"),
        (["solve", "--array", "positive=a/b,c"], "part of a file's name"),
        (["convert", "a", "b", "--array", "shards=1,2"], "writes no run file"),
        (["solve", "--resume", "never"], "--resume never"),
        (["report"], "needs run files"),
    ],
)
def test_bad_input_is_one_sentence(argv, said):
    with pytest.raises(MpioptError) as caught:
        written("slurm", *argv)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_times_are_read_as_slurm_reads_them():
    times = {"90": 5400, "1:30": 90, "8:00:00": 28800, "2-12": 216000, "1-1:30": 91800, "1-1:30:05": 91805}
    assert {time: seconds(time) for time in times} == times


# ------------------------------------------------------------------------------------------ the table
def run_file(path: Path, config: str, reason: str = "GAP") -> None:
    with RunFile(path, {"config": config, "method": "spcg"}) as file:
        file.add({"round": 0, "seconds": 0.5, "objective": 0.7, "gap": np.inf, "bytes_sent": 10})
        file.add({"round": 1, "seconds": 1.5, "objective": 0.6, "gap": 1e-9, "bytes_sent": 2000})
        if reason != "RUNNING":
            file.finish(np.zeros(2), 0.0, {"reason": reason, "objective": 0.6, "gap": 1e-9})


def test_the_table_has_a_row_for_each_run_and_a_column_for_what_differs(tmp_path, capsys):
    run_file(tmp_path / "a.h5", 'l2 = 1e-3\nseed = 0\nrounds = 5\nout = "a"\n[set]\nmu = 1')
    run_file(tmp_path / "b.h5", 'l2 = 1e-4\nseed = 0\nrounds = 6\nout = "b"', "RUNNING")
    call = parse(["slurm", "report", str(tmp_path / "a.h5"), str(tmp_path / "b.h5"), str(tmp_path / "c.h5")])
    found = call.run(call.job, None, Console())
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["run", "l2", "--rounds", "mu", "rounds", "seconds", "bytes", "objective", "gap", "ended"]
    assert said[2].split() == ["a.h5", "0.001", "5", "1", "1", "1.5", "2", "kB", "0.6", "1.0e-09", "gap"]
    assert said[3].split() == ["b.h5", "0.0001", "6", "-", "1", "1.5", "2", "kB", "0.6", "1.0e-09", "running"]
    assert "2 runs, 1 without an answer" in said and "c.h5 cannot be read" in said[-1]
    assert found["exit_code"] == 1 and len(found["runs"]) == 2 and len(found["unread"]) == 1


def test_trainings_are_told_by_what_they_learnt(tmp_path, capsys):
    for seed, accuracy in ((0, 0.875), (1, 0.5)):
        with RunFile(tmp_path / f"{seed}.h5", {"config": f"seed = {seed}", "method": "local_sgd"}) as file:
            file.add({"round": 3, "seconds": 2.0, "objective": 0.25, "accuracy": accuracy, "bytes_sent": 10})
            file.finish(np.zeros(2), 0.0, {"reason": "EPOCHS", "objective": 0.25, "test_loss": 0.5, "accuracy": accuracy})
    call = parse(["slurm", "report", str(tmp_path / "0.h5"), str(tmp_path / "1.h5")])
    assert call.run(call.job, None, Console())["exit_code"] == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["run", "seed", "rounds", "seconds", "bytes", "objective", "test_loss", "accuracy", "ended"]
    assert said[3].split() == ["1.h5", "1", "3", "2", "10", "B", "0.25", "0.5", "50.00%", "epochs"]


def test_a_job_is_what_its_options_say():
    job = parse(["slurm", "solve", "--nodes", "3", "d.h5", "--no-intercept", "--sbatch", "exclusive", "--rounds=3"]).job
    assert job == replace(Slurm(command=("solve", "d.h5", "--no-intercept", "--rounds=3")), nodes=3, sbatch=("exclusive",))
