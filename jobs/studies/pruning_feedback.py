"""Dynamic pruning with feedback keeps its accuracy at high sparsity: against incremental and one-shot pruning.

After Lin, Stich, Barba, Dmitriev, Jaggi, Dynamic model pruning with feedback, ICLR 2020. Real trainings of a perceptron with
equal epochs; sparsity grows over the first half, or comes at once at half time. With --data and --test on these rows.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.comm.world import World
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Equal
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.trained import examined, percent, trained
from mpiopt.words import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data", "test")
WORKERS = 4
SPARSITIES = (0.8, 0.9, 0.95, 0.98)
METHODS = {"DPF": "dpf", "incremental": "incremental_pruning", "one-shot": "one_shot_pruning"}
BLOBS = Train(data="blobs:rows=8000,features=64,classes=10,spread=2", model="mlp:128", lr=0.02, epochs=8)
ROWS = Train(model="mlp:128", lr=0.05, epochs=4)
LOST = 1.5  # of accuracy, in per cent, at the lowest sparsity


def run(lab: Lab) -> Findings:
    """Collective."""
    with lab.crew(WORKERS) as world:
        trails = None if world is None else _trails(lab, world)
    trails = lab.world.tell(trails)
    found = {trail.name: trail for trail in trails}
    sparsities = lab.pick(SPARSITIES, SPARSITIES[1:2])
    accuracies = {name: 100 * trail.about["accuracy"] for name, trail in found.items()}
    checks = [
        Check(f"{_name(label, s)}: share of weights that are 0", Equal(s, 1e-4), zeros(found[_name(label, s)]))
        for s in sparsities
        for label in METHODS
    ]
    if lab.quick:
        return Findings(checks, trails, _notes(found["dense"], lab), {"accuracies": accuracies, "sparsities": sparsities})
    low, high = sparsities[0], sparsities[-1]
    checks.append(
        Check(f"{_name('DPF', low)}: accuracy lost, %", Below(LOST), accuracies["dense"] - accuracies[_name("DPF", low)])
    )
    for label in ("incremental", "one-shot"):
        gains = [accuracies[_name("DPF", s)] - accuracies[_name(label, s)] for s in sparsities]
        checks.append(Check(f"accuracy over {label}, mean of all, %", Above(0), float(np.mean(gains))))
    checks.append(Check(f"{_name('DPF', high)}: accuracy over one-shot, %", Above(0), gains[-1]))
    return Findings(checks, trails, _notes(found["dense"], lab), {"accuracies": accuracies, "sparsities": sparsities})


def _name(label: str, sparsity: float) -> str:
    return f"{label} {100 * sparsity:g} %"


def _trails(lab: Lab, world: World) -> list[Trail]:
    """Collective."""
    base = BLOBS if lab.data is None else replace(ROWS, data=lab.data)
    base = replace(
        base, test=lab.test, method="sgd", schedule="cosine", warmup=0.25, batch=32, epochs=lab.pick(base.epochs, 1.0)
    )
    jobs = {"dense": base}
    for sparsity in lab.pick(SPARSITIES, SPARSITIES[1:2]):
        for label, method in METHODS.items():
            jobs[_name(label, sparsity)] = replace(base, method=method, set=(("sparsity", sparsity),))
    return trained(lab, world, jobs)


def zeros(trail: Trail) -> float:
    """The share of the weights, biases left out, that are 0 in the answer."""
    return float((trail.x == 0).sum()) / (trail.x.size - sum(_biases(trail)))


def _biases(trail: Trail) -> list[int]:
    """As many as each layer of the perceptron has."""
    return [*map(int, trail.about["model"].partition(":")[2].split(",")), trail.about["classes"]]


def _notes(dense: Trail, lab: Lab) -> str:
    return (
        f"{dense.about['dataset']}, {dense.about['model']}, {WORKERS} workers on {counted(lab.world.size, 'rank')}, "
        f"{dense.readings['epoch'][-1]:.3g} epochs; dense: {100 * dense.about['accuracy']:.2f} %. All send as plain SGD does. "
        "The published figures are of ResNet-50 on ImageNet: 75.95 % dense, 75.13 % at 80 % sparsity."
    )


def draw(found: Findings) -> "Figure":
    """Test errors against epochs at one sparsity, and at the end against sparsity."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, sheet

    accuracies, sparsities = found.facts["accuracies"], found.facts["sparsities"]
    middle = sparsities[-1]
    with sheet(2, width=5, height=4.2) as (figure, (panels,)):
        for number, label in enumerate(["dense", *METHODS]):
            trail = found.trail("dense" if label == "dense" else _name(label, middle))
            at, errors = examined(trail)
            curve(panels[0], trail.readings["epoch"][at][1:], errors[1:], number, label)
            ends = [100 - accuracies["dense" if label == "dense" else _name(label, s)] for s in sparsities]
            curve(panels[1], 100 * np.array(sparsities), ends, number, marker=None if label == "dense" else "o")
        panels[0].set(xlabel="epochs", title=f"sparsity {100 * middle:g} %")
        panels[1].set(xlabel="sparsity, %", title="at the end")
        for panel in panels:
            percent(panel)
            panel.set_ylabel("test error, %")
        legend(figure, panels[0], 4)
        return figure
