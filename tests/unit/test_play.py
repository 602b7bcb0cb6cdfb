"""``mpiopt play``: from the command line to the run file, a signal in between, and what it refuses."""

import os
import signal
import threading
from pathlib import Path
from time import sleep

import numpy as np
import pytest

from mpiopt.io.runs.run_file import read_run, read_solution
from mpiopt.jobs.launch import main

GAME = ["play", "quadratic:dim=3,samples=9", "--sampling", "single:importance", "--workers", "3", "--residual-tol", "0"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_game_is_kept_at_a_signal_and_goes_on_as_if_there_had_been_none(folder):
    keeping = [*GAME, "--checkpoint", "kept.h5", "--out", "run.h5"]

    def told() -> None:  # once the run is under way, which its file says
        while not Path("run.h5").exists():
            sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)

    telling = threading.Thread(target=told, daemon=True)
    telling.start()
    assert main([*keeping, "--rounds", "1000000000"]) == 75
    telling.join()
    rounds = int(read_run("run.h5").history["round"][-1]) + 15
    assert main([*keeping, "--rounds", str(rounds)]) == 0
    assert main([*GAME, "--rounds", str(rounds), "--out", "whole.h5"]) == 0
    assert read_solution("run.h5")[0].tobytes() == read_solution("whole.h5")[0].tobytes()
    runs = [read_run(name) for name in ("run.h5", "whole.h5")]
    for column in set(runs[0].history) - {"seconds"}:
        np.testing.assert_array_equal(runs[0].history[column], runs[1].history[column])
    assert runs[0].attributes["reason"] == "ROUNDS" and np.isfinite(runs[0].attributes["distance"])
    assert main(["report", "run.h5", "whole.h5"]) == 0 and main(["watch", "--once", "run.h5"]) in (0, 3)
    assert main([*GAME, "--from", "run.h5", "--out", "none", "--rounds", "3"]) == 0


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["bilinear", "--method", "spcg"], 2, "there is no method 'spcg': mpiopt solve has it; choose one of extragradient"),
        (["bilinear", "--graph", "ring"], 2, "--graph ring does not reach games, which all ranks play on the CPU"),
        (["bilinear", "--device", "gpu"], 2, "--device gpu does not reach games"),
        (["bilinear", "--record", "0"], 2, "--record 0: give a whole number of at least 1"),
        (["bilinear:samples=2", "--workers", "3"], 2, "bilinear:samples=2 has 2 samples for 3 workers: take fewer workers"),
        (["bilinear", "--sampling", "nice:99"], 2, "99 rows of 50 cannot be drawn: give a number from 1 to 50"),
        (["robust", "--sampling", "single:importance"], 2, "importance sampling asks how steep each row's loss can be"),
        (["matrix", "--distance-tol", "1"], 2, "the solution of matrix is not known, which --distance-tol is about"),
        (["bilinear", "--sampling", "every"], 2, "there is no sampling 'every': choose one of nice, single, independent"),
        (
            ["bilinear:dim=2", "--method", "simultaneous", "--set", "gamma=1e9"],
            1,
            "simultaneous has diverged; give a smaller step",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(folder, capsys, more, code, says):
    assert main(["play", *more]) == code
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mpiopt: ")]
    assert len(said) == 1 and says in said[0]
