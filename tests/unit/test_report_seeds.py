"""Trainings that differ in their seed alone, shown as one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mpiopt.errors import UsageError
from mpiopt.io.runs.run_file import RunData
from mpiopt.jobs.reports import trainings
from mpiopt.jobs.reports.plots import figure
from mpiopt.jobs.reports.seeds import LEAST, MOST, gathered


def trained(seed, losses, method="diloco", rounds=None):
    count = len(losses)
    at = np.arange(count) if rounds is None else np.array(rounds)
    told = {"method": method, "model": "softmax", "dataset": "d", "rows": 9, "workers": 2, "world_size": 2, "reason": "EPOCHS"}
    told |= {
        "seed": seed,
        "config": f'method = "{method}"\nseed = {seed}\nout = "{seed}.h5"\n',
        "test_loss": losses[-1],
        "accuracy": 0.5 + seed / 10,
    }
    numbers = {"epoch": at / 2, "seconds": at * 1.0, "bytes_sent": at * 10.0, "objective": np.array(losses, float)}
    return RunData(Path(f"{method}-{seed}.h5"), told, {"round": at, **numbers, "test_loss": np.array(losses, float)})


def test_means_bands_and_deviations():
    runs = [trained(0, [3.0, 2.0, 1.0]), trained(1, [3.0, 1.0, 0.5]), trained(0, [3.0, 2.5, 2.0], "sgd")]
    diloco, sgd = gathered(runs)
    assert sgd is runs[2] and diloco.attributes["seeds"] == 2 and "seed" not in diloco.attributes
    np.testing.assert_array_equal(diloco.history["test_loss"], [3.0, 1.5, 0.75])
    np.testing.assert_array_equal(diloco.history[f"test_loss{LEAST}"], [3.0, 1.0, 0.5])
    np.testing.assert_array_equal(diloco.history[f"test_loss{MOST}"], [3.0, 2.0, 1.0])
    assert diloco.attributes["test_loss"] == 0.75 and diloco.attributes["test_loss_sd"] == pytest.approx(0.5 / 2**0.5)
    sheet = trainings.sheet([diloco, sgd])
    text = sheet.text()
    assert "0.75" in text and "0.35" in text and "Of several seeds" in text and "0.55" not in text
    panel = figure(sheet).axes[0]
    ends = panel.collections[0].get_paths()[0].vertices[:, 1]
    assert ends.min() == pytest.approx(0.5) and ends.max() == pytest.approx(3.0)


def test_a_run_is_as_long_as_the_shortest():
    (one,) = gathered([trained(0, [3.0, 2.0, 1.0], rounds=[0, 2, 4]), trained(1, [5.0, 4.0], rounds=[0, 4])])
    assert one.history["round"].tolist() == [0, 4] and one.history["objective"].tolist() == [4.0, 2.5]


def test_what_cannot_be_gathered_is_a_sentence():
    one = trained(0, [2.0, 1.0])
    with pytest.raises(UsageError, match="no two of these runs differ in their seed alone"):
        gathered([one, trained(1, [2.0, 1.0], "sgd")])
    with pytest.raises(UsageError, match="and another of these runs have one seed"):
        gathered([one, replace(one, path=Path("again.h5"))])
    with pytest.raises(UsageError, match="have no recorded round in common"):
        gathered([one, trained(1, [2.0], rounds=[7])])
