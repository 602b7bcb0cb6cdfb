"""Run files: what is written is read, and a killed run leaves a file that opens."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from shutil import rmtree

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mpiopt.errors import DataError
from mpiopt.io.disk import held_name
from mpiopt.io.disk.folder import probe
from mpiopt.io.runs.run_file import RunFile, claim, read_run, read_solution

FILES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
NUMBER = st.floats(width=64, allow_nan=False)


@FILES
@given(st.lists(st.tuples(NUMBER, st.one_of(st.none(), NUMBER)), max_size=20))
def test_every_round_is_read_back_and_what_was_not_said_is_nan(tmp_path, rounds):
    with RunFile(tmp_path / "r.h5", {"method": "spcg"}, overwrite=True) as file:
        for k, (objective, extra) in enumerate(rounds):
            file.add({"round": k, "objective": objective} | ({} if extra is None else {"step": extra}))
    found = read_run(tmp_path / "r.h5").history
    np.testing.assert_array_equal(found["round"], np.arange(len(rounds)))
    for name, column in (("objective", 0), ("step", 1)):
        said = np.array([np.nan if row[column] is None else row[column] for row in rounds], float)
        np.testing.assert_array_equal(found.get(name, np.full(len(rounds), np.nan)), said)


def elsewhere(program: str) -> str:
    """What a program prints in a process of its own, as a reader of a run under way is."""
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stdout


def test_a_run_under_way_can_be_read_and_says_that_it_runs(tmp_path):
    with RunFile(tmp_path / "r.h5", {"method": "spcg", "l2": 1e-5, "positive": None}) as file:
        file.add({"round": 0, "objective": 1.0})
        reading = f"from mpiopt.io.runs.run_file import read_run; run = read_run({str(tmp_path / 'r.h5')!r})"
        assert elsewhere(f"{reading}; print(run.attributes['reason'], run.history['objective'])") == "RUNNING [1.]\n"
    attributes = read_run(tmp_path / "r.h5").attributes
    assert attributes["l2"] == 1e-5 and "positive" not in attributes
    with pytest.raises(DataError, match="holds no solution"):
        read_solution(tmp_path / "r.h5")


def test_a_finished_run_holds_its_solution_and_its_reason(tmp_path):
    with RunFile(tmp_path / "r.h5", {}) as file:
        file.finish(np.arange(3.0), 0.5, {"reason": "GAP"})
    assert read_run(tmp_path / "r.h5").attributes["reason"] == "GAP"
    x, intercept = read_solution(tmp_path / "r.h5")
    assert x.tolist() == [0, 1, 2] and intercept == 0.5


def test_columns_stand_on_the_scale_round(tmp_path):
    with RunFile(tmp_path / "r.h5", {}) as file:
        file.add({"round": 0, "objective": 1.0, "seconds": 0.0})
    with h5py.File(tmp_path / "r.h5") as file:
        for name in ("objective", "seconds"):
            assert file["history"][name].dims[0][0] == file["history/round"]


def test_a_killed_run_leaves_a_file_that_opens(tmp_path):
    program = f"""
from mpiopt.io.runs.run_file import RunFile
file = RunFile({str(tmp_path / "r.h5")!r}, {{"method": "spcg"}})
for k in range(10**9):
    file.add({{"round": k, "objective": 1.0 / (k + 1), "bytes_sent": 8 * k}})
    if k == 300:
        print("enough", flush=True)
"""
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=env) as writer:
        assert writer.stdout.readline() == b"enough\n"
        time.sleep(0.05)
        writer.send_signal(signal.SIGKILL)
    run = read_run(tmp_path / "r.h5")
    rounds = run.history["round"]
    assert run.attributes["reason"] == "RUNNING" and len(rounds) > 300
    np.testing.assert_array_equal(rounds, np.arange(len(rounds)))
    np.testing.assert_array_equal(run.history["objective"], 1 / (rounds + 1))


def test_an_existing_file_is_kept_unless_it_may_be_replaced(tmp_path):
    path = tmp_path / "new" / "r.h5"
    with RunFile(path, {"method": "one"}):
        pass
    for attempt in (claim, lambda path: RunFile(path, {})):
        with pytest.raises(DataError, match="exists: name another file with `out`, or give `overwrite`"):
            attempt(path)
    with RunFile(path, {"method": "two"}, overwrite=True):
        pass
    assert read_run(path).attributes["method"] == "two"


def test_a_run_file_that_is_being_written_is_nobody_elses(tmp_path, monkeypatch):
    monkeypatch.setattr(held_name, "PATIENCE", 0.0)
    with RunFile(tmp_path / "r.h5", {"method": "one"}) as file:
        with pytest.raises(DataError, match=r"r.h5 is being written by another job"):
            RunFile(tmp_path / "r.h5", {}, overwrite=True)
        file.add({"round": 0, "objective": 1.0})
    assert len(read_run(tmp_path / "r.h5").history["round"]) == 1


@pytest.mark.parametrize("then", [Path.exists, Path.touch, Path.mkdir, lambda path: path.symlink_to(path)])
def test_a_run_file_that_has_gone_is_an_error(tmp_path, then):
    (tmp_path / "out").mkdir()
    file = RunFile(tmp_path / "out" / "r.h5", {})
    file.add({"round": 0, "objective": 1.0})
    rmtree(tmp_path / "out")
    then(tmp_path / "out")  # nothing, or something else in the folder's place
    with pytest.raises(DataError, match=r"r.h5 has gone: it or its folder was removed or renamed"):
        file.finish(np.zeros(2), 0.0, {"reason": "GAP"})
    with pytest.raises(DataError, match="has gone"):
        file.close()


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("precious"), lambda path: path.write_text("a letter")])
def test_nothing_is_written_through_what_stands_at_the_temporary_name(tmp_path, make):
    (tmp_path / "precious").write_text("a letter")
    make(tmp_path / "r.h5.partial")
    with pytest.raises(DataError, match=r"r.h5.partial is in the way"):
        RunFile(tmp_path / "r.h5", {})
    assert (tmp_path / "precious").read_text() == (tmp_path / "r.h5.partial").read_text() == "a letter"
    assert len(list(tmp_path.iterdir())) == 2


def test_claiming_a_file_leaves_nothing_behind(tmp_path):
    claim(tmp_path / "deep" / "r.h5")
    assert list((tmp_path / "deep").iterdir()) == []


def _truncated(path: Path) -> None:
    with RunFile(path, {}) as file:
        for k in range(100):
            file.add({"round": k, "objective": 0.0})
    path.write_bytes(path.read_bytes()[:2000])


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda path: None, "no such file"),
        (lambda path: path.write_text("hello"), "not an HDF5 file, or damaged"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: h5py.File(path, "w").close(), "is not a run file of mpiopt"),
        (_truncated, "damaged"),
    ],
)
def test_what_is_no_run_file_is_one_sentence(tmp_path, make, said):
    make(tmp_path / "r.h5")
    with pytest.raises(DataError) as caught:
        read_run(tmp_path / "r.h5")
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_newer_schema_is_refused(tmp_path):
    with RunFile(tmp_path / "r.h5", {"schema_version": 99}):
        pass
    with pytest.raises(DataError, match="newer mpiopt"):
        read_run(tmp_path / "r.h5")


def test_an_unwritable_place_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written: "):
        claim(tmp_path / "file" / "r.h5")


def test_probing_a_folder_writes_and_tidies_up(tmp_path):
    assert probe(tmp_path) == (str(tmp_path), True, True, "")
    assert list(tmp_path.iterdir()) == []
    assert "cannot be written there" in probe(tmp_path / "nowhere").problem
