"""What a run tells beside its run file: lines of JSON, TensorBoard, MLflow."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from mpiopt.errors import DataError, UsageError
from mpiopt.io.runs.run_file import read_run
from mpiopt.jobs.cli.commands import parse
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.running.log_sinks import LogBegun, logs
from mpiopt.jobs.train import run as train

START = LogBegun({"lr": "0.1"}, "id", None, False)
TRAIN = [
    "train",
    "--data",
    "blobs:rows=200,features=4",
    "--model",
    "softmax",
    "--batch",
    "10",
    "--epochs",
    "1",
    "--set",
    "period=4",
]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def ran(words, world):
    return train(parse(words).job, world, Console(first=False))


def test_a_line_for_every_record_and_what_is_noted_beside_it(world, tmp_path):
    path, out = tmp_path / "new" / "run.jsonl", tmp_path / "r.h5"
    ran([*TRAIN, "--log", f"jsonl:{path}", "--also", "again=blobs:rows=50,features=4", "--out", str(out)], world)
    told, history = lines(path), read_run(out).history
    records, beside = [line for line in told if "seconds" in line], [line for line in told if "again_loss" in line]
    assert [line["round"] for line in records] == history["round"].tolist() and records[-1]["objective"] == history[
        "objective"
    ][-1]
    assert beside[-1] == {
        "round": records[-1]["round"],
        "again_loss": history["again_loss"][-1],
        "again_accuracy": history["again_accuracy"][-1],
    }
    assert records[0]["objective"] is None  # before the first step
    assert "log" not in read_run(out).attributes["config"]


def test_a_file_is_replaced_only_where_that_was_asked_for_and_goes_on_with_its_run(world, tmp_path):
    path, kept = tmp_path / "run.jsonl", ["--checkpoint", str(tmp_path / "c.h5"), "--every-rounds", "1", "--out", "none"]
    words = [*TRAIN, "--log", f"jsonl:{path}", *kept]
    ran([*words, "--rounds", "2"], world)
    before = lines(path)
    with path.open("a") as file:
        file.write('{"round": 99}\n')  # of rounds that were lost
    ran(words, world)
    after = lines(path)
    assert after[: len(before)] == before and len(after) > len(before) and 99 not in [line["round"] for line in after]
    with pytest.raises(DataError, match=r"run\.jsonl exists: name another file with --log, or give --overwrite"):
        ran([*TRAIN, "--log", f"jsonl:{path}", "--out", "none"], world)
    ran([*TRAIN, "--log", f"jsonl:{path}", "--out", "none", "--overwrite"], world)
    path.write_text("mine\n")
    with pytest.raises(DataError, match=r"run\.jsonl exists"), logs([f"jsonl:{path}"], START._replace(last=3), print):
        pass


@pytest.mark.parametrize("text", ["jsonl", "jsonl:", "csv:x", "run.jsonl"])
def test_another_place_is_a_sentence(world, text):
    with pytest.raises(UsageError, match=r"--log .*: give jsonl:FILE, tensorboard:DIR or mlflow:URI"):
        ran([*TRAIN, "--log", text], world)


def test_no_two_files_of_a_run_are_one(world, tmp_path):
    with pytest.raises(UsageError, match="would both have"):
        ran([*TRAIN, "--log", f"jsonl:{tmp_path / 'x.h5'}", "--out", str(tmp_path / "x.h5")], world)


@pytest.mark.parametrize("kind", ["tensorboard", "mlflow"])
def test_what_is_not_installed_is_named(monkeypatch, tmp_path, kind):
    monkeypatch.setitem(sys.modules, kind, None)
    monkeypatch.setitem(sys.modules, f"{kind}.summary", None)
    with pytest.raises(UsageError, match=rf"needs {kind}, which is not installed: pip install 'mpiopt\[{kind}\]'"):
        with logs([f"{kind}:{tmp_path}"], START, print):
            pass


def test_mlflow_is_told_of_parameters_and_finite_numbers(monkeypatch):
    heard, fake = [], ModuleType("mlflow")
    for name in ("set_tracking_uri", "start_run", "log_params", "log_metrics", "end_run"):
        setattr(fake, name, lambda *args, name=name, **more: heard.append((name, args, more)))
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    with logs(["mlflow:http://there"], START, print) as told:
        told.record({"round": 3, "objective": 0.5, "accuracy": np.nan})
        told.beside({"f1": 0.25})
    assert heard == [
        ("set_tracking_uri", ("http://there",), {}),
        ("start_run", (), {"tags": {"mpiopt.run_id": "id"}}),
        ("log_params", ({"lr": "0.1"},), {}),
        ("log_metrics", ({"objective": 0.5},), {"step": 3}),
        ("log_metrics", ({"f1": 0.25},), {"step": 3}),
        ("end_run", (), {}),
    ]


def test_tensorboard_reads_what_was_told(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with logs([f"tensorboard:{tmp_path}"], START, print) as told:
        told.record({"round": 3, "objective": 0.5})
        told.record({"round": 5, "objective": 0.25, "accuracy": np.nan})
    found = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    found.Reload()
    assert [event.step for event in found.Tensors("objective")] == [3, 5]


def test_a_place_that_breaks_ends_no_run(monkeypatch, tmp_path):
    warned = []
    with logs([f"jsonl:{tmp_path / 'x'}"], START, warned.append) as told:
        told._sinks[f"jsonl:{tmp_path / 'x'}"] = SimpleNamespace(add=lambda *_: 1 / 0, close=lambda: None)
        told.record({"round": 1})
        told.record({"round": 2})
    assert len(warned) == 1 and "hears no more of this run (division by zero)" in warned[0]
