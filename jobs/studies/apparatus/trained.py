"""Trainings as studies want them: the training job itself, in this process, with its history as a trail."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.comm.world import World
from mpiopt.io.dataset.dense import open_dense
from mpiopt.io.runs.run_file import read_solution
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running.training import training
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.train import complete

if TYPE_CHECKING:
    from matplotlib.axes import Axes


GPT = "gpt:layers=4,width=128,heads=4"


def model_for(lab: Lab, world: World, small: str) -> str:
    """The transformer for text, resnet20 for coloured images, cnn for others, ``small`` for made-up rows. Collective."""
    if lab.data is None:
        return small
    source = open_dense(lab.data, world)
    if source.item.vocabulary is not None:
        return GPT
    shape = source.shape
    return small if len(shape) < 2 else "resnet20" if len(shape) > 2 and 3 in (shape[0], shape[-1]) else "cnn"


def trained(lab: Lab, world: World, jobs: Mapping[str, Train]) -> list[Trail]:
    """Run the jobs one after the other, as ``mpiopt train`` would, and return their trails, each with its x. Collective.

    A signal that ends one of them ends all, as KeyboardInterrupt.
    """
    trails = []
    for name, job in jobs.items():
        lab.console.note(f"training {name}")
        trails.append(_one(name, job, world))
    return trails


def _one(name: str, job: Train, world: World) -> Trail:
    with TemporaryDirectory() as folder:
        out = world.tell(f"{folder}/run.h5")
        found = training(complete(replace(job, out=Path(out))), world, Console(first=False))
        if found["reason"] == "INTERRUPTED":
            raise KeyboardInterrupt  # a comparison with a half is none
        x = read_solution(out)[0] if world.rank == 0 else None
        return _trail(name, found, world.tell(x), world)


def _trail(name: str, found: Mapping[str, Any], x: np.ndarray, world: World) -> Trail:
    columns = {column: np.array(values, float) for column, values in found["history"].items()}
    for count in ("bytes_sent", "messages", "vector_rounds"):
        columns[count] -= columns[count][0]  # what an earlier run in the same World has sent
    about = {key: found[key] for key in ("model", "batch", "parameters", "accuracy", "test_loss", "dataset", "classes")}
    return Trail(name, found["method"], world.workers, world.size, found["rows"], columns, x[None], np.empty((0, 0, 0)), about)


def bytes_of(trail: Trail) -> float:
    """All bytes that the ranks sent in a run."""
    return float(trail.readings["bytes_sent"][-1])


def examined(trail: Trail) -> tuple[np.ndarray, np.ndarray]:
    """Places in the history with an examination, and the test errors there in per cent."""
    accuracy = trail.readings["accuracy"]
    at = np.flatnonzero(np.isfinite(accuracy))
    return at, 100 * (1 - accuracy[at])


def percent(panel: "Axes") -> None:
    """A logarithmic y axis for errors in per cent."""
    panel.set_yscale("log")
    low, high = panel.get_ylim()
    steps = (1, 2, 5) if high > 10 * low else (1, 1.5, 2, 3, 4, 5, 7)
    ticks = [tick for power in (0.1, 1, 10, 100) for tick in (power * step for step in steps) if low <= tick <= high]
    panel.set_yticks(ticks, map("{:g}".format, ticks))
    panel.yaxis.set_minor_formatter("")
