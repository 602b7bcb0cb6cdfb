"""Leader SGD reaches a minimum where the centre of elastic averaging is held between two, and where EASGD is stable.

After Teng, Gao, Chalus, Choromanska, Goldfarb, Weller, Leader stochastic gradient descent, NeurIPS 2019, and Zhang,
Choromanska, LeCun, Deep learning with elastic averaging SGD, NIPS 2015. Exact gradients, agreement in every step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.arrays import Array
from mpiopt.comm.world import World
from mpiopt.engine.phase import Agreed, Exchange, Joint, Phase, Tree
from mpiopt.exchange.around import Around
from mpiopt.exchange.mean import Mean
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Check, Equal
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.methods.elastic import easgd
from mpiopt.methods.leader import lsgd
from mpiopt.numerics.streams import Streams
from mpiopt.outer.descend import Stay
from mpiopt.problems.factorisation import Completion, planted
from mpiopt.problems.landscapes import DoubleWell, Quadratic
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Message, Point, Team
from mpiopt.problems.protocols import Loss
from mpiopt.sampling.clients import Clients
from mpiopt.training.method import Centred, Training
from mpiopt.transforms.rules import sgd
from mpiopt.work.drift import Elastic
from mpiopt.work.steps import Steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEP = 0.02  # in the wells
STARTS = np.array([[-1.2, 0.8], [1.2, 0.8]])
PULLS = (1, 3, 5)  # lambda of (lambda / 2) |x - centre|^2
SHAPE, RANK, WORKERS, STEPS = (60, 60), 4, 8, 600
RATE, PART = 5.0, 0.03  # of the completion: step size, part of the way to the centre or the leader
SEEDS = (0, 1, 2, 3)


def run(lab: Lab) -> Findings:
    """Collective."""
    trails, checks = _wells(lab)
    more, wins = _completions(lab)
    seeds = len(more) // 2
    checks.append(Check(f"completion: seeds of {seeds} with LGD lower", Above(0.75 * seeds), wins))
    checks += [Check(f"stable region, {p} workers: violations", Equal(0), unstable(lab, p)) for p in lab.pick((3, 8), (3,))]
    return Findings([*checks, *_stationary(lab)], [*trails, *more], NOTES)


NOTES = (
    "f: of the EASGD centre, and of the best LGD worker, in the double well (x^2 - 1)^2 + y^2 from opposite wells.\n"
    "slope: |grad f| where the workers come to rest; lambda sqrt(1 - lambda/4) for EASGD with lambda below 4.\n"
    f"completion: {SHAPE[0]} x {SHAPE[1]}, rank {RANK}, {WORKERS} workers, {STEPS} steps, the best LGD worker against the "
    "centre.\nstable region: f = h x^2/2, workers in turn, stable exactly for 0 < eta < 2, 0 < alpha < (4 - 2 eta)/(4 - eta).\n"
    "moved: how far a worker at a minimiser goes in one step, the other worker being in the other well."
)


# ---------------------------------------------------------------------------------------------- the double well
def _wells(lab: Lab) -> tuple[list[Trail], list[Check]]:
    trails, checks = [], []
    for pull in PULLS:
        elastic = _follow_wells(lab, f"wells-easgd-{pull}", easgd(sgd(STEP), 2, 1, 2 * STEP * pull), STARTS, 1000)
        leader = _follow_wells(lab, f"wells-lgd-{pull}", lsgd(sgd(STEP), 1, STEP * pull), STARTS, 1000)
        trails += [elastic, leader]
        slope = pull * max(0, 1 - pull / 4) ** 0.5
        checks += [
            Check(f"lambda {pull}: f of the EASGD centre", Equal(1, 1e-6), elastic.objective),
            Check(f"lambda {pull}: f of the best LGD worker", Equal(0, 1e-12), min(map(_height, leader.own[-1]))),
            Check(f"lambda {pull}: slope at EASGD's workers", Equal(slope, 1e-5), max(map(_slope, elastic.own[-1]))),
            Check(f"lambda {pull}: slope at the LGD leader", Equal(0, 1e-6), min(map(_slope, leader.own[-1]))),
        ]
    return trails, checks


def _stationary(lab: Lab) -> list[Check]:
    """One step from the two minimisers: the leader has no reason to move."""
    at, pull = np.array(DoubleWell().minima), 1
    methods = {"EASGD": easgd(sgd(STEP), 2, 1, 2 * STEP * pull), "LGD leader": lsgd(sgd(STEP), 1, STEP * pull)}
    gone = {}
    for name, method in methods.items():
        trail = _follow_wells(lab, f"stay-{name}", method, at, 1)
        gone[name] = np.linalg.norm(trail.own[-1] - trail.own[0], axis=1).min()
    return [
        Check("moved: a worker of EASGD", Equal(STEP * pull, 1e-12), gone["EASGD"]),
        Check("moved: the leader of LGD", Equal(0), gone["LGD leader"]),
    ]


def _follow_wells(lab: Lab, name: str, method: Training, starts: np.ndarray, rounds: int) -> Trail:
    every = max(1, rounds // 200)
    return lab.follow(
        name, method, 2, lambda world: alike(world, DoubleWell()), starts.mean(0), rounds, every=every, starts=starts, own=True
    )


def alike(world: World, loss: Loss) -> Team:
    """Workers that all have the same loss."""
    return Team.of(world, [loss] * len(world.hosted), Zero())


def _height(x: np.ndarray) -> float:
    return DoubleWell().value_grad(Point(x))[0]


def _slope(x: np.ndarray) -> float:
    return float(np.linalg.norm(DoubleWell().value_grad(Point(x))[1]))


# ---------------------------------------------------------------------------------------------- matrix completion
def _completions(lab: Lab) -> tuple[list[Trail], int]:
    trails, wins = [], 0
    for seed in lab.pick(SEEDS, SEEDS[:1]):
        loss = Completion(planted(Streams(seed)("matrix"), SHAPE, RANK), SHAPE, RANK)
        starts = np.array([loss.initial(Streams(seed)("start", 0, worker)) for worker in range(WORKERS)])
        elastic, leader = (
            lab.follow(
                f"completion-{name}-{seed}",
                method,
                WORKERS,
                partial(alike, loss=loss),
                starts.mean(0),
                STEPS,
                every=20,
                starts=starts,
                own=True,
            )
            for name, method in (("easgd", easgd(sgd(RATE), WORKERS, 1, WORKERS * PART)), ("lgd", lsgd(sgd(RATE), 1, PART)))
        )
        best = min(loss.value_grad(Point(x))[0] for x in leader.own[-1])
        wins += best < elastic.objective
        trails += [elastic, leader]
    return trails, wins


# ---------------------------------------------------------------------------------------------- where EASGD is stable
@dataclass(frozen=True)
class Turn(Clients):
    """The workers one after the other, one a round."""

    @property
    def all(self) -> bool:
        """Never."""
        return False

    def __call__(self, workers: int, streams: Streams, round: int) -> np.ndarray:  # noqa: A002 - the field's word
        """The worker of this round."""
        return np.arange(workers) == round % workers


@dataclass(frozen=True)
class Ahead(Around):
    """``inner`` among the workers of the next round."""

    inner: Exchange

    def __call__(self, messages: Sequence[Message], state: Tree, here: Joint) -> tuple[Agreed, Sequence[Array | float], Tree]:
        """Collective."""
        return self.inner(messages, state, here._replace(round=here.round + 1))


def in_turn(alpha: float) -> Centred:
    """Elastic averaging in a round robin: in each round one worker and the centre attract each other.

    A round ends with the point of the worker whose turn comes next: it is this that the centre moves towards.
    """
    drift = Elastic(alpha, alpha)
    return Centred(None, (Phase(Steps(sgd(1.0), drift=drift), Ahead(Mean())),), Stay(), clients=Turn(), drift=drift)


def unstable(lab: Lab, workers: int) -> int:
    """Points (eta, alpha) of a grid on the wrong side of the boundary; those within 1 % of it do not count. Collective.

    One run has all eta at once: coordinate k is f = eta_k x^2 / 2 under a step size of 1.
    """
    etas, alphas = np.linspace(0, 2.2, lab.pick(41, 12))[1:], np.linspace(0, 1.2, lab.pick(61, 9))[1:]
    wrong = 0
    for alpha in alphas:
        grows = _grows(lab, workers, etas, alpha)
        edge = np.where(etas < 2, (4 - 2 * etas) / (4 - etas), 0)
        near = (abs(alpha - edge) < 0.01) | (abs(etas - 2) < 0.01)
        wrong += int((~near & (grows != (alpha > edge))).sum())
    return wrong


def _grows(lab: Lab, workers: int, etas: np.ndarray, alpha: float) -> np.ndarray:
    loss = Quadratic(tuple(etas / 2), tuple(np.ones(etas.size)))
    starts = np.array([np.full(etas.size, (-1.0) ** worker * (1 + worker / 3)) for worker in range(workers)])
    trail = lab.follow(
        "region",
        in_turn(alpha),
        workers,
        lambda world: alike(world, loss),
        starts.mean(0),
        60 * workers,
        every=workers,
        starts=starts,
        own=True,
    )
    size = np.concatenate([abs(trail.own), abs(trail.points)[:, None]], axis=1).max(axis=1)
    return size[45:].max(axis=0) > size[30:45].max(axis=0)


# ---------------------------------------------------------------------------------------------- the picture
def draw(found: Findings) -> "Figure":
    """Paths in the wells, f against rounds there, and the completion."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, logarithmic, sheet

    with sheet(3, height=4.4) as (figure, (panels,)):
        x, y = np.linspace(-1.5, 1.5, 121), np.linspace(-0.3, 1.0, 61)
        heights = (x**2 - 1) ** 2 + y[:, None] ** 2
        panels[0].contour(x, y, np.log(heights + 0.01), 20, cmap="Greys", linewidths=0.6, alpha=0.7)
        for number, name in enumerate(("easgd", "lgd")):
            trail = found.trail(f"wells-{name}-3")
            for worker in range(2):
                label = None if worker else {"easgd": "EASGD", "lgd": "LGD"}[name]
                across, up = trail.own[:, worker].T
                curve(panels[0], across, up, number, label, marker="o", markevery=[-1], markersize=5)
        across, up = found.trail("wells-easgd-3").points.T
        curve(panels[0], across, up, 0, "centre of EASGD", linestyle=":", marker="s", markevery=[-1])
        panels[0].set(title="two workers, lambda 3", xlabel="x", ylabel="y")
        _descents(panels[1], found)
        for trail in found.trails:
            if trail.name.startswith("completion"):
                lgd = "lgd" in trail.name
                curve(panels[2], trail.readings["round"], trail.readings["objective"], int(lgd))
        logarithmic(panels[2])
        panels[2].set(title="matrix completion, each seed", xlabel="rounds", ylabel="f of the centre, of LGD's mean")
        legend(figure, panels[0], 3)
        return figure


def _descents(panel, found: Findings) -> None:
    from mpiopt.jobs.studies.apparatus.canvas import curve, logarithmic

    for name, number in product(PULLS, range(2)):
        trail = found.trail(f"wells-{('easgd', 'lgd')[number]}-{name}")
        f = [min(map(_height, own)) for own in trail.own] if number else trail.readings["objective"]
        curve(panel, trail.readings["round"], np.maximum(f, 1e-16), number)
    logarithmic(panel, 1e-16)
    panel.set(title="lambda 1, 3, 5", xlabel="rounds", ylabel="f of the centre, of the best LGD worker")
