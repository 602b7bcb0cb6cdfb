"""Averaging once at the end: fine on a quadratic, not with too few rows, and meaningless for two equal neural networks.

After Zinkevich, Weimer, Li, Smola, Parallelized stochastic gradient descent, NIPS 2010, and what is said against it: the
mean of minimisers is not the minimiser of the mean, and networks whose hidden units are in another order have no mean. No
number is published of any of this: the three problems are toys of our own, of sizes chosen until the numbers were those
of earlier ones, whose generators are lost: they guard against change only.
"""

from typing import TYPE_CHECKING

import numpy as np

from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.quadratics import dense
from mpiopt.jobs.studies.local_sgd_speedup import LOOK, STEPS, Regression
from mpiopt.losses.logistic import Logistic
from mpiopt.methods.averaging import local_sgd, one_shot
from mpiopt.numerics.streams import Streams
from mpiopt.problems.examples import Dense
from mpiopt.problems.heads import Squares
from mpiopt.problems.linear import Linear
from mpiopt.problems.model import split
from mpiopt.problems.penalties import L2, Zero
from mpiopt.problems.perceptron import Perceptron, Tanh
from mpiopt.problems.problem import Point, Team
from mpiopt.transforms.rules import adam, sgd, torch_nag

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORKERS, ROWS, DIM, RIDGE, SLOPE = 8, 20, 10, 0.02, 3.0  # logistic regression: rows of a worker; length of the solution
ROUNDS, PERIOD = 30, 20
HIDDEN, SAMPLES, NET_STEPS, NET_ROUNDS = 64, 256, 40, 50


def run(lab: Lab) -> Findings:
    """Collective."""
    quadratic, quadratic_error = _quadratic(lab)
    logistic, logistic_error, together_error = _logistic(lab)
    net, alone, averaged = _nets(lab)
    checks = [
        Check.over("quadratic: F - F*, one average", Near(4.2e-4, 2), quadratic_error),
        Check.over("logistic: F - F*, one average", Near(1.2e-2, 2), logistic_error),
        Check.over("logistic: F - F*, one every 20 steps", Below(1e-4), together_error),
        Check.over("nets: error of each", Below(0.05), alone),
        Check.over("nets: change by averaging", Near(0.8, 1.5), averaged),
        Check.over("nets: change over error", Above(10), [a / b for a, b in zip(averaged, alone, strict=True)]),
    ]
    return Findings(checks, [*quadratic, *logistic, net], NOTES)


NOTES = (
    f"quadratic: as in local-sgd-speedup, 8 workers. logistic: {DIM} features, {WORKERS} workers, lambda {RIDGE}. nets: one "
    f"hidden layer of {HIDDEN} tanh units, two workers with the same rows, whose starts differ in the order of the hidden "
    "units; outputs on the rows, relative to those of either net. found, +-: mean and standard deviation over ten seeds."
)


def _quadratic(lab: Lab) -> tuple[list[Trail], list[float]]:
    trails, errors = [], []
    for problem in map(Regression, lab.seeds):
        trails.append(problem.follow(lab, "quadratic-one_shot", one_shot(problem.rule, STEPS, LOOK), 8, LOOK))
        errors.append(problem.error(trails[-1]))
    return trails[:1], errors


# ---------------------------------------------------------------------------------------------- too few rows
def _logistic(lab: Lab) -> tuple[list[Trail], list[float], list[float]]:
    trails, once, often = [], [], []
    for seed in lab.seeds:

        def team(world, seed=seed):
            return Team.of(world, [_share(seed, worker) for worker in world.hosted], L2(RIDGE))

        one, local, exact = (
            lab.follow(
                f"logistic-{name}-{seed}", method, WORKERS, team, np.zeros(DIM), rounds, every=every, about={"method": name}
            )
            for name, method, rounds, every in (
                ("one_shot", one_shot(torch_nag(0.5), ROUNDS * PERIOD, PERIOD), ROUNDS, 1),
                ("local_sgd", local_sgd(sgd(0.02), PERIOD), 10 * ROUNDS, 10),
                ("sgd", local_sgd(torch_nag(0.5), 1), 400, 10),
            )
        )
        trails += [one, local, exact]
        once.append(one.objective - exact.objective)
        often.append(local.objective - exact.objective)
    return trails[:3], once, often


def _share(seed: int, worker: int) -> Linear:
    """A worker's rows: normal, answers by the logistic model."""
    solution = Streams(seed)("solution").standard_normal(DIM) * SLOPE / DIM**0.5
    stream = Streams(seed)("rows", 0, worker)
    a = stream.standard_normal((ROWS, DIM))
    y = np.where(stream.random(ROWS) < 1 / (1 + np.exp(-a @ solution)), 1.0, -1.0)
    return Linear(dense(a), y, Logistic())


# ---------------------------------------------------------------------------------------------- two nets that are one
def _nets(lab: Lab) -> tuple[Trail, list[float], list[float]]:
    """A run; for each seed the relative error of each net, and the relative change of the outputs by averaging."""
    found = [_pair(lab, seed) for seed in lab.seeds]
    trails, alone, averaged = zip(*found, strict=True)
    return trails[0], list(alone), list(averaged)


def _pair(lab: Lab, seed: int) -> tuple[Trail, float, float]:
    net, start = _net(seed)
    starts = np.array([start, permuted(net, start, Streams(seed)("order").permutation(HIDDEN))])
    trail = lab.follow(
        "nets-one_shot",
        one_shot(adam(0.01), NET_STEPS * NET_ROUNDS, NET_STEPS),
        2,
        lambda world: Team.of(world, [net] * len(world.hosted), Zero()),
        starts.mean(0),
        NET_ROUNDS,
        starts=starts,
        own=True,
        about={"method": "one_shot"},
    )
    before = trail.own[-2]  # the last reading is after the average
    outputs, mean = _outputs(net, before[0]), _outputs(net, before.mean(0))
    size = np.linalg.norm(net.data.y)
    return trail, float(np.linalg.norm(outputs - net.data.y) / size), float(np.linalg.norm(mean - outputs) / size)


def _net(seed: int) -> tuple[Perceptron, np.ndarray]:
    stream = Streams(seed)("nets")
    a = stream.standard_normal((SAMPLES, 4))
    y = np.sin(a[:, :1] + a[:, 1:2]) + a[:, 2:3] * a[:, 3:]
    net = Perceptron(Dense(a, y), (4, HIDDEN, 1), Tanh(), Squares())
    return net, net.initial(stream).astype(np.float64)


def permuted(net: Perceptron, x: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The same function with its hidden units in another order."""
    out = x.copy()
    weights, bias, after, _ = split(out, net.blocks)
    weights[:], bias[:], after[:] = weights[:, order], bias[order], after[order]
    return out


def _outputs(net: Perceptron, x: np.ndarray) -> np.ndarray:
    rows, _ = net.data.flat(slice(0, net.rows), np.dtype(np.float64))
    weights, bias, after, last = split(x, net.blocks)
    return np.tanh(rows @ weights + bias) @ after + last


# ---------------------------------------------------------------------------------------------- the picture
def draw(found: Findings) -> "Figure":
    """F - F* of averages on the logistic problem, losses of the nets and of their mean."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, logarithmic, sheet

    with sheet(2, width=5.4) as (figure, (panels,)):
        exact = found.trail("logistic-sgd-0").objective
        for number, (name, label) in enumerate((("one_shot", "mean of workers who never meet"), ("local_sgd", "local SGD"))):
            trail = found.trail(f"logistic-{name}-0")
            gaps = np.maximum(trail.readings["objective"] - exact, 1e-9)
            curve(panels[0], trail.readings["steps"] / WORKERS, gaps, number, label)
        panels[0].set(xlabel="steps of a worker", ylabel="F - F*", title="logistic regression, 20 rows a worker")
        logarithmic(panels[0], 1e-9)
        panels[0].legend(frameon=False)
        net, _ = _net(0)
        trail = found.trail("nets-one_shot")
        own = [net.value_grad(Point(x[0]))[0] for x in trail.own]
        steps = NET_STEPS * trail.readings["round"]
        curve(panels[1], steps[:-1], own[:-1], 2, "either net")
        curve(panels[1], steps, trail.readings["objective"], 3, "their mean")
        panels[1].set(xlabel="steps", ylabel="mean squared error / 2", title="two equal tanh nets in different order")
        logarithmic(panels[1])
        panels[1].legend(frameon=False)
        return figure
