"""Parts of a network, trained each on one worker and dealt out anew (IST), reach an accuracy with fewer bytes; and their bias.

After Yuan, Wolfe, Dun, Tang, Kyrillidis, Jermaine, Distributed learning of fully connected neural networks using independent
subnet training, VLDB 2022: real trainings of a wide perceptron, with --data and --test on these rows. And Shulgin,
Richtarik, Towards a better theoretical understanding of independent subnetwork training, 2023, section 5.3: on quadratics the
iterates go to a point of their own, not to the least one.
"""

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.comm.world import World
from mpiopt.jobs.cli.train_options import Train
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Below, Check, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.quadratics import normal, optimum, regression
from mpiopt.jobs.studies.apparatus.trained import bytes_of, examined, percent, trained
from mpiopt.methods.sketched import mast
from mpiopt.numerics.streams import Streams
from mpiopt.problems.examples import Dense
from mpiopt.problems.penalties import Zero
from mpiopt.problems.perceptron import Perceptron
from mpiopt.problems.problem import Team
from mpiopt.problems.subnetworks import divided
from mpiopt.sampling.neurons import neurons
from mpiopt.transforms import rules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USES = ("data", "test")
WORKERS, PERIOD, BATCH, HIDDEN = 4, 20, 32, (256, 256)
METHODS = {"data-parallel": "sgd", "local SGD": "local_sgd", "IST": "ist"}
MADE = Train(data="blobs:rows=16000,features=64,classes=10,spread=2", epochs=10)
ROWS = Train(epochs=8)
LR = {"sgd": 0.1, "local_sgd": 0.1, "ist": 0.02}  # neurons that stand for four have steeper losses
LOST = {True: 1.5, False: 3.5}  # of accuracy against local SGD, in points: of made-up rows, and of images
DIM = 4  # of the quadratics: as many as there are workers


def run(lab: Lab) -> Findings:
    """Collective."""
    bias, away, quadratic = _quadratics(lab)
    checks = [
        Check("quadratics: mean iterate over the fixed point of theory", Near(1, 1.01), bias),
        Check("quadratics: distance from the least point over its size", Near(1 - 1 / DIM**0.5, 1.1), away),
    ]
    with lab.crew(WORKERS) as world:
        trails = None if world is None else _trails(lab, world)
    *trails, split = [_apart(trail) if trail.method == "ist" else trail for trail in lab.world.tell(trails)]
    found = dict(zip(METHODS, trails, strict=True))
    sent = {name: bytes_of(trail) for name, trail in found.items()}
    checks.append(Check("bytes of a training: IST over local SGD", Below(0.6), sent["IST"] / sent["local SGD"]))
    step = bytes_of(split) / split.readings["steps"][-1] / (sent["data-parallel"] / trails[0].readings["steps"][-1])
    checks.append(Check("bytes of a step: layers divided over data-parallel", Near(_divided(trails[0]), 1.05), step))
    if not lab.quick:
        lost = 100 * (found["local SGD"].about["accuracy"] - found["IST"].about["accuracy"])
        goal = max(examined(trail)[1].min() for trail in trails)  # which all reach
        needed = {name: _bytes_to(trail, goal) for name, trail in found.items()}
        checks += [
            Check("accuracy lost against local SGD, %", Below(LOST[lab.data is None]), lost),
            Check(
                f"bytes to {goal:.3g} % test error: IST over data-parallel", Below(0.1), needed["IST"] / needed["data-parallel"]
            ),
        ]
    return Findings(checks, [*trails, split, quadratic], _notes(lab, found, step), {})


def _trails(lab: Lab, world: World) -> list[Trail]:
    """Collective."""
    base = MADE if lab.data is None else replace(ROWS, data=lab.data)
    base = replace(
        base,
        test=lab.test,
        model="mlp:" + ",".join(map(str, HIDDEN)),
        rule="sgd",
        batch=BATCH,
        epochs=lab.pick(base.epochs, 1.0),
        examine=0.5,
    )
    period = {"sgd": (), "local_sgd": (("period", PERIOD),), "ist": (("period", PERIOD),)}
    jobs = {label: replace(base, method=name, lr=LR[name], set=period[name]) for label, name in METHODS.items()}
    jobs["layers divided"] = replace(base, method="model_parallel", lr=LR["sgd"], epochs=0.1, record=0.1, examine=0.1)
    return trained(lab, world, jobs)


def _divided(dense: Trail) -> float:
    """Bytes of a step with layers divided over those of data-parallel training, by the widths.

    Sums are of float32, of every worker; rows go as float64, once.
    """
    rows, classes = BATCH * WORKERS, int(dense.about["classes"])
    features = (dense.x.size - sum((i + 1) * o for i, o in pairwise((*HIDDEN, classes)))) // HIDDEN[0] - 1
    summed = 4 * rows * (2 * sum(HIDDEN) + classes) * WORKERS
    return (summed + 8 * rows * (features + 2)) / (4 * (dense.x.size + 1) * WORKERS)


def _apart(trail: Trail) -> Trail:
    """With the bytes that IST sends where every worker is a rank, which is how those of the others are counted on any."""
    features, classes = trail.x.size, int(trail.about["classes"])
    features = (features - sum((i + 1) * o for i, o in pairwise((*HIDDEN, classes)))) // HIDDEN[0] - 1
    model = Perceptron(Dense(np.zeros((0, features), np.float32), np.zeros(0, int)), (features, *HIDDEN, classes))
    found = divided(model, neurons(HIDDEN, WORKERS, Streams(0), 0))
    each = 4 * (WORKERS * int(found.common.sum()) + (1 - 1 / WORKERS) * sum(map(len, found.own)))
    return replace(trail, readings=trail.readings | {"bytes_sent": each * trail.readings["round"]})


def _quadratics(lab: Lab) -> tuple[float, float, Trail]:
    """The mean iterate over theory's fixed point, and how far that is from the least point. Collective."""
    stream, spread = Streams(1)("ist"), 0.02
    planted = stream.standard_normal(DIM)
    raw = [(a := stream.standard_normal((400, DIM)), a @ (planted + spread * stream.standard_normal(DIM))) for _ in range(DIM)]
    pairs = [normal([regression(*one)]) for one in raw]
    scaled = [1 / np.sqrt(DIM * np.diag(h)) for h, _ in pairs]
    losses = [regression(a * root, y) for (a, y), root in zip(raw, scaled, strict=True)]

    def team(world: World) -> Team:
        return Team.of(world, [losses[w] for w in world.hosted], Zero(), 1)

    trail = lab.follow("quadratics", mast(rules.sgd(0.1), "permk"), DIM, team, np.zeros(DIM), 1500)
    goal = np.mean([root * b for root, (_, b) in zip(scaled, pairs, strict=True)], axis=0)
    least, mean = optimum([regression(*one) for one in raw]), trail.points[200:].mean(axis=0)
    return float(mean @ goal / (goal @ goal)), float(np.linalg.norm(goal - least) / np.linalg.norm(least)), trail


def _bytes_to(trail: Trail, goal: float) -> float:
    """Bytes sent until the test error, in per cent, is at most this."""
    at, errors = examined(trail)
    reached = np.flatnonzero(errors <= goal)
    return float(trail.readings["bytes_sent"][at[reached[0]]]) if reached.size else float("inf")


def _notes(lab: Lab, found: dict[str, Trail], step: float) -> str:
    dense = next(iter(found.values()))
    accuracies = ", ".join(f"{name} {100 * trail.about['accuracy']:.2f} %" for name, trail in found.items())
    return (
        f"{dense.about['dataset']}, {dense.about['model']}, {WORKERS} workers, {dense.readings['epoch'][-1]:.3g} epochs, "
        f"{PERIOD} steps a round: {accuracies}. Layers divided over the workers (model parallel), two sums of activations a "
        f"layer and step, send {step:.2g} of what data-parallel sends in a step. Published as figures; bytes are those of one "
        "worker a rank."
    )


def draw(found: Findings) -> "Figure":
    """Test errors against bytes and against seconds."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, sheet

    with sheet(2, width=5, height=4.2) as (figure, (panels,)):
        for number, name in enumerate(METHODS):
            at, errors = examined(trail := found.trail(name))
            for panel, column, unit in zip(panels, ("bytes_sent", "seconds"), (1e-6, 1), strict=True):
                curve(panel, unit * trail.readings[column][at][1:], errors[1:], number, name)
        panels[0].set(xlabel="megabytes sent by all workers", xscale="log")
        panels[1].set(xlabel="seconds")
        for panel in panels:
            percent(panel)
            panel.set_ylabel("test error, %")
        legend(figure, panels[0], 3)
        return figure
