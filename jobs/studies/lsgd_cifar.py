"""Leader SGD against elastic averaging, DOWNPOUR and data-parallel SGD: test error of the answer against seconds.

After Teng, Gao, Chalus, Choromanska, Goldfarb, Weller, Leader stochastic gradient descent, NeurIPS 2019, figure of the small
network on CIFAR-10 with 4 workers, all drawing from all rows. Every method gets the same seconds, after short trials of
three step sizes each. Without --data it runs on made-up blobs, which shows that it works and nothing else.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mpiopt.comm.world import World
from mpiopt.jobs.cli.console import Console
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.running.run_name import NOWHERE
from mpiopt.jobs.running.training import training
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Below, Check
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.train import complete
from mpiopt.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data", "test", "seconds")
WORKERS = 4
METHODS = {
    "LSGD": Train(method="lsgd", set=(("period", 16), ("pull", 0.1))),
    "EASGD": Train(method="easgd", set=(("period", 16), ("beta", 0.43))),
    "DOWNPOUR": Train(method="downpour", set=(("period", 4),)),
    "data-parallel": Train(method="sgd"),
}
RATES = (0.005, 0.02, 0.08)
LAST = 3  # examinations at the end whose mean error counts


def run(lab: Lab) -> Findings:
    """Collective."""
    long = lab.seconds or lab.pick(220.0, 1.5)
    console = Console(first=False)
    with lab.crew(WORKERS) as world:
        runs = None if world is None else dict(_runs(lab, world, console, long))
    runs = lab.world.tell(runs)
    trails = [_trail(name, found, lab.world.size) for name, found in runs.items()]
    errors = {trail.name: error(trail) for trail in trails}
    checks = [
        Check(f"test error of LSGD, that of {name} as limit", Below(found), errors["LSGD"])
        for name, found in errors.items()
        if name != "LSGD" and not lab.quick
    ]
    if lab.quick:  # too short to tell one from another
        checks = [Check(f"test error of {name}, guesses as limit", Below(0.8), found) for name, found in errors.items()]
    rates = ", ".join(f"{trail.name} {trail.about['lr']:g}" for trail in trails)
    epochs = ", ".join(f"{trail.name} {trail.readings['epoch'][-1]:.1f}" for trail in trails)
    return Findings(
        checks,
        trails,
        f"{long:g} seconds for each, {WORKERS} workers on {counted(lab.world.size, 'rank')}, batch 64.\n"
        f"Error: mean of the last {LAST} examinations.\nStep sizes: {rates}.\nEpochs: {epochs}.",
    )


def _runs(lab: Lab, world: World, console: Console, long: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every method with the step size of its best trial. Collective."""
    for name, job in METHODS.items():
        trials: dict[float, float] = {}
        for lr in lab.pick(RATES, RATES[1:2]):
            lab.console.note(f"{name}: trial of step size {lr:g}")
            trials[lr] = _accuracy(lab, job, lr, max(1.0, long / 8), world, console)
        best = max(trials, key=lambda lr: trials[lr])
        lab.console.note(f"{name}: {long:g} seconds with step size {best:g}")
        yield name, training(_job(lab, job, best, long), world, console) | {"lr": best}


def _accuracy(lab: Lab, job: Train, lr: float, seconds: float, world: World, console: Console) -> float:
    """Of a trial; 0 where it diverges. Collective."""
    from mpiopt.errors import NumericalError

    try:
        return training(_job(lab, job, lr, seconds), world, console)["accuracy"]
    except NumericalError:
        return 0.0


def _job(lab: Lab, job: Train, lr: float, seconds: float) -> Train:
    images = lab.data is not None
    rule = "sgd" if job.method == "downpour" else "torch_nag"  # momentum of its own would add to the servers' delay
    return complete(
        replace(
            job,
            data=lab.data or "blobs:rows=5000,features=30,classes=5,spread=3",
            test=lab.test,
            model="cnn" if images else "mlp:64",
            rule=rule,
            lr=lr * (10 if rule == "sgd" else 1),
            batch=64,
            out=NOWHERE,
            decay=1e-4,
            ownership="shared",
            epochs=1e6,
            seconds=seconds,
            record=0.25,
            examine=0.5,
        )
    )


def _trail(name: str, found: dict[str, Any], ranks: int) -> Trail:
    """A training as a study keeps it: the history of its examinations."""
    columns = {column: np.array(values, float) for column, values in found["history"].items()}
    points, none = np.empty((len(columns["round"]), 0)), np.empty((0, 0, 0))
    about = {name: found[name] for name in ("lr", "model", "batch", "parameters")}
    return Trail(
        name, found["method"], WORKERS, ranks, found["rows"], columns, points, none, about | {"dataset": found["dataset"]}
    )


def error(trail: Trail) -> float:
    """The mean test error of the last examinations."""
    accuracy = trail.readings["accuracy"]
    return float(1 - accuracy[np.isfinite(accuracy)][-LAST:].mean())


def draw(found: Findings) -> "Figure":
    """Test error and running loss against seconds."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, logarithmic, sheet

    with sheet(2) as (figure, (panels,)):
        for number, trail in enumerate(found.trails):
            seconds, accuracy = trail.readings["seconds"], trail.readings["accuracy"]
            examined = np.isfinite(accuracy)
            curve(panels[0], seconds[examined], 100 * (1 - accuracy[examined]), number, trail.name)
            curve(panels[1], seconds, trail.readings["objective"], number)
        panels[0].set(xlabel="seconds", ylabel="test error, %")
        logarithmic(panels[1])
        panels[1].set(xlabel="seconds", ylabel="running training loss")
        legend(figure, panels[0], 4)
        return figure
