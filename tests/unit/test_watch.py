"""`mpiopt watch`: every record once, the end with its reason, estimates that come true, killed and replaced runs."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from mpiopt.errors import DataError, UsageError
from mpiopt.io.runs.run_file import RunFile
from mpiopt.jobs import watch
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.watch import Watch, pace
from tests import launcher

CONFIG = 'method = "spcg"\ngap_tol = 1e-8\nrounds = 1000\n'
ABOUT = {"method": "spcg", "dataset": "a.h5", "world_size": 2, "config": CONFIG}


def record(k: int, slope: float = 0.5) -> dict:
    """A run whose gap falls by the same factor every 0.1 s."""
    return {
        "round": k,
        "seconds": 0.1 * k,
        "objective": 0.5 + slope**k,
        "gradient_norm": slope**k,
        "gap": slope**k,
        "bytes_sent": 1000 * k,
    }


def written(path, rounds: int, ended: dict | None = None, **attributes) -> RunFile:
    file = RunFile(path, ABOUT | attributes, overwrite=True)
    for k in range(rounds):
        file.add(record(k))
    if ended:
        file.finish(np.zeros(2), 0.0, ended)
        file.close()
    return file


def watched(capsys, json_lines: bool = False, **options) -> tuple[dict, str, str]:
    """The result, and what was written to standard output and standard error."""
    found = watch.run(Watch(**options), None, Console(json=json_lines))
    return found, *capsys.readouterr()


def rounds_in(text: str) -> list[int]:
    return [int(line.split()[0]) for line in text.splitlines() if line.split()[:1] and line.split()[0].isdigit()]


@pytest.mark.parametrize(
    "ended, code",
    [
        ({"reason": "GAP", "reason_text": "The certified gap fell.", "converged": True}, 0),
        ({"reason": "ROUNDS", "reason_text": "The limit was reached.", "converged": False}, 3),
    ],
)
def test_a_run_that_has_ended_says_why(tmp_path, capsys, ended, code):
    written(tmp_path / "r.h5", 25, ended)
    found, out, _ = watched(capsys, run=tmp_path / "r.h5")
    assert found["exit_code"] == code and found["reason"] == ended["reason"]
    assert out.rstrip().endswith(ended["reason_text"]) and rounds_in(out) == list(range(15, 25))
    assert max(map(len, out.splitlines())) <= 80


def test_a_training_is_told_by_its_epochs_and_accuracy(tmp_path, capsys):
    about = {"method": "sgd", "dataset": "a.h5", "world_size": 1, "config": "epochs = 4.0"}
    with RunFile(tmp_path / "r.h5", about) as file:
        for k in range(3):
            file.add({"round": k, "seconds": 2.0 * k, "objective": 1 / (k + 1), "epoch": 0.5 * k, "accuracy": 0.25 * k})
    _, said, _ = watched(capsys, run=tmp_path / "r.h5", once=True)
    assert said.splitlines()[0] == "sgd on 1 rank: a.h5" and "accuracy" in said.splitlines()[1] and "grad" not in said
    last = next(line for line in said.splitlines() if line.split()[:1] == ["2"])
    assert last.split()[1:4] == ["0.3333", "1.00", "50.00%"] and last.endswith("12 s epochs")  # 3 epochs at 4 s each


def test_every_record_of_a_run_under_way_is_one_json_line(tmp_path):
    """Write in this process, read in another."""
    path, argv = tmp_path / "r.h5", [sys.executable, "-m", "mpiopt.jobs", "watch", "--wait", "--every", "0.05", "--json"]
    out = tmp_path / "said"
    process = launcher.start([*argv, str(path)], cwd=tmp_path, env=launcher.environment(), out=out, err=tmp_path / "notes")
    try:
        time.sleep(0.5)
        with written(path, 1) as file:
            for k in range(1, 60):
                file.add(record(k))
                time.sleep(0.01)
            file.finish(np.zeros(2), 0.0, {"reason": "GAP", "reason_text": "Done.", "converged": True})
        assert process.wait(200) == 0
    finally:
        launcher.end(process)
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["event"] for line in told] == ["record"] * 60 + ["ended"]
    for k, line in enumerate(told[:-1]):
        assert {name: line[name] for name in record(k)} == record(k)
    assert told[-1]["reason"] == "GAP"


def test_a_killed_run_is_told_by_its_silence(tmp_path, capsys):
    path, program = tmp_path / "r.h5", "from tests.unit.test_watch import *; f = written(sys.argv[1], 7); print(1, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", program + "; time.sleep(60)", str(path)], stdout=subprocess.PIPE, env=launcher.environment()
    ) as writer:
        assert writer.stdout.readline() == b"1\n"
        found, out, _ = watched(capsys, run=path, once=True)
        assert found["exit_code"] == 0 and "The run runs; no record for" in out and rounds_in(out) == list(range(7))
        writer.send_signal(signal.SIGKILL)
    os.utime(path, (time.time() - 90, time.time() - 90))
    found, out, _ = watched(capsys, run=path, once=True)
    assert "is not held open by any process of this host; no record for 9" in out and 89 < found["silent"] < 99
    os.utime(path, (time.time() + 900, time.time() + 900))  # a clock that is ahead
    assert "no record for 0 s" in watched(capsys, run=path, once=True)[1]
    with pytest.raises(DataError, match=r"no record for .*the run was killed, or runs on another host"):
        watch.run(Watch(run=path, patience=0.2, every=0.05), None, Console(first=False))


def test_a_run_that_is_taken_up_again_goes_on(tmp_path, capsys, monkeypatch):
    """Between two looks of the watcher it is, and between the next two it ends."""
    path = tmp_path / "r.h5"
    written(path, 9, created="before").close()

    def resume():
        past = {name: [record(k)[name] for k in range(5)] for name in record(0)}
        with RunFile(path, ABOUT | {"created": "after"}, overwrite=True, past=past) as file:
            for k in range(5, 12):
                file.add(record(k))
            yield
            file.finish(np.zeros(2), 0.0, {"reason": "GAP", "reason_text": "Done.", "converged": True})

    between = resume()
    monkeypatch.setattr(watch, "time", SimpleNamespace(sleep=lambda _: next(between, None), monotonic=time.monotonic))
    found, out, err = watched(capsys, run=path, every=0.01)
    assert found["reason"] == "GAP" and "the run was taken up again" in err
    assert rounds_in(out)[:9] == list(range(9)) and rounds_in(out)[-1] == 11


def test_what_is_missing_or_wrong_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*or give --wait"):
        watch.run(Watch(run=tmp_path / "r.h5"), None, Console(first=False))
    with pytest.raises(UsageError, match="--every 0"):
        watch.run(Watch(run=tmp_path / "r.h5", every=0.0), None, Console(first=False))


def history(slope: float, rounds: int = 40) -> dict[str, np.ndarray]:
    columns = [record(k, slope) for k in range(rounds)]
    return {name: np.array([line[name] for line in columns]) for name in columns[0]}


@pytest.mark.parametrize(
    "limits, left, until",
    [
        ({"gap_tol": 1e-8, "rounds": 1000}, 0.1 * (8 / np.log10(2) - 20), "gap"),
        ({"gradient_tol": 1e-5, "gap_tol": 1e-8}, 0.0, "gradient"),
        ({"gap_tol": 1e-12, "rounds": 30}, 1.0, "rounds"),
        ({"gap_tol": 1e-12, "seconds": 2.5}, 0.5, "seconds"),
        ({}, None, None),
    ],
)
def test_the_time_left_is_that_of_a_linear_rate(limits, left, until):
    found = pace(history(0.5), 20, limits)
    assert found["seconds_a_round"] == pytest.approx(0.1) and found["until"] == until
    assert found["seconds_left"] == (left if left is None else pytest.approx(left))


def test_no_estimate_where_nothing_falls_or_is_known():
    rising = history(1.5)
    unknown = history(0.5) | {"gap": np.full(40, np.inf)}
    for columns, k in ((rising, 20), (unknown, 20), (history(0.5), 0), (history(0.5), 1)):
        assert pace(columns, k, {"gap_tol": 1e-8})["seconds_left"] is None
