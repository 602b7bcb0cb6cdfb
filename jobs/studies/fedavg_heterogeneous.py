"""Workers with different data: where FedAvg stalls, what FedProx damps, where SCAFFOLD and Scaffnew are exact.

After McMahan et al., AISTATS 2017; Li et al., FedProx, MLSys 2020; Karimireddy et al., SCAFFOLD, ICML 2020; Mishchenko et
al., ProxSkip, ICML 2022; Wang et al., SlowMo, ICLR 2020; Douillard et al., DiLoCo, 2023. Published are theorems: constant
step sizes leave local gradient descent and FedAvg at a wrong point, FedProx nearer to the right one, SCAFFOLD and Scaffnew at
the right one, Scaffnew with 1/sqrt(kappa) agreements a step; and figures of networks in which slow momentum comes sooner.
The problems are toys of our own: quadratics of ten workers that differ in their minimisers and in their curvatures. Their
curvatures, how far minimisers are apart, the noise and the step sizes were chosen until the errors of the inexact methods
were those of an earlier toy of ours, whose generator is lost: these numbers say nothing of the papers, and guard against
change only.
"""

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Near, Wanted
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.quadratics import bowl, optimum, regression, rotation
from mpiopt.jobs.studies.apparatus.redrawn import Redrawn
from mpiopt.methods.averaging import local_sgd
from mpiopt.methods.averaging import sgd as synchronous
from mpiopt.methods.diloco import diloco
from mpiopt.methods.federated import fedavg, fedprox, scaffnew, scaffold, slowmo
from mpiopt.numerics.schedules import Constant
from mpiopt.numerics.streams import Streams
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Team
from mpiopt.training.method import Training
from mpiopt.transforms.rules import sgd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORKERS, DIM = 10, 10
LOW, HIGH, APART = 0.087, 0.74, 0.238  # curvatures between these; deviation of the minimisers
RATE, DRIFT_STEPS, ROUNDS = 0.56, 1600, 200  # step size; steps of local gradient descent; rounds of the federated methods
LOCAL, PROX = 16, 10  # local steps of FedAvg and SCAFFOLD, and of FedProx
WEIGHTS = (0.001, 0.01, 0.1, 0.5, 1.0)
KAPPA, SKIP_STEPS = 947, 60_000
FACTOR = 3


class Bowls:
    """One quadratic for each worker, and where their mean is least."""

    def __init__(self, seed: int, losses: list[Linear], samples: list | None = None) -> None:
        self.seed, self.losses, self.samples, self.goal = seed, losses, samples, optimum(losses)

    def team(self, world) -> Team:
        """Collective."""
        samples = None if self.samples is None else [self.samples[worker] for worker in world.hosted]
        return Team.of(world, [self.losses[worker] for worker in world.hosted], Zero(), self.seed, samples)

    def follow(self, lab: Lab, name: str, method: Training, rounds: int, looks: int = 200, **options) -> Trail:
        """A run from 0. Collective."""
        return lab.follow(name, method, WORKERS, self.team, np.zeros(DIM), rounds, every=max(1, rounds // looks), **options)

    def error(self, trail: Trail) -> float:
        """|x - x*|^2 at the end."""
        return float(trail.distances(self.goal)[-1])


def mild(seed: int) -> Bowls:
    """Curvatures from LOW to HIGH in ten random positions."""
    losses = []
    for worker in range(WORKERS):
        stream = Streams(seed)("bowl", 0, worker)
        inner = np.exp(stream.uniform(np.log(LOW), np.log(HIGH), DIM - 2))
        losses.append(bowl(np.array([LOW, *inner, HIGH]), rotation(stream, DIM), APART * stream.standard_normal(DIM)))
    return Bowls(seed, losses)


def steep(seed: int) -> Bowls:
    """Every worker's curvatures go from 1 to KAPPA; which of the flat directions is the flattest differs."""
    axes, losses = rotation(Streams(seed)("axes"), DIM), []
    for worker in range(WORKERS):
        stream = Streams(seed)("steep", 0, worker)
        curvatures = np.concatenate([stream.permutation([1.0, 3.0, 6.0]), np.geomspace(10, KAPPA, DIM - 3)])
        losses.append(bowl(curvatures, axes, stream.standard_normal(DIM)))
    return Bowls(seed, losses)


WANTED: dict[str, Wanted] = {
    "local GD, tau 1: err": Below(1e-20),
    "local GD, tau 4: err": Near(1.6e-3, FACTOR),
    "local GD, tau 16: err": Near(1.2e-2, FACTOR),
    "FedAvg, 200 rounds: err": Near(1.6e-2, FACTOR),
    "SCAFFOLD, 200 rounds: err": Below(1e-26),
    "FedProx, mu 0: err": Near(6.6e-3, FACTOR),
    "FedProx, best mu: err": Near(1.1e-3, FACTOR),
    "FedProx: err of mu 0 over that of the best": Above(2),
    "Scaffnew: agreements": Near(SKIP_STEPS / KAPPA**0.5, 1.02),
    "Scaffnew: gradient steps": Near(SKIP_STEPS, 1.1),
    "Scaffnew: err": Below(1e-26),
    "gradient descent, as many rounds: err": Near(1e-6, FACTOR),
}


def run(lab: Lab) -> Findings:
    """Collective."""
    found: dict[str, list[float]] = {}
    first: list[Trail] = []
    for seed in lab.seeds:
        problem = mild(seed)
        trails: list[Trail] = []
        parts = [_drift(lab, problem, trails), _stall(lab, problem, trails), _prox(lab, problem, trails)]
        parts += [lab.pick(_skip, lambda *_: {})(lab, seed, trails), _outer(lab, seed, trails)]
        for what, value in chain.from_iterable(part.items() for part in parts):
            found.setdefault(what, []).append(value)
        first = first or trails
    checks = [Check.over(what, (WANTED | LATER)[what], values) for what, values in found.items()]
    return Findings(checks, first, NOTES, {"problem": mild(lab.seeds[0])})


NOTES = (
    f"err: |x - x*|^2. tau: exact gradients, constant step size. FedAvg and SCAFFOLD: {LOCAL} local steps. FedProx: {PROX}, "
    f"the best of mu = 0.001 to 1, beside mu = 0. Scaffnew: condition number {KAPPA} of every worker, agreements with "
    f"probability 1/sqrt({KAPPA}), beside gradient descent in as many rounds. FedAvg, SlowMo, DiLoCo by rounds: noisy "
    "gradients, 20 steps a round, error over that of the start. Toys of our own: what is expected of inexact "
    "methods is from earlier ones. found, +-: mean and standard deviation over ten seeds."
)


def _drift(lab: Lab, problem: Bowls, trails: list[Trail]) -> dict[str, float]:
    errors = {}
    for tau in (1, 4, 16):
        trails.append(
            problem.follow(
                lab,
                f"local-gd-{tau}",
                local_sgd(sgd(RATE), tau),
                lab.pick(DRIFT_STEPS, 640) // tau,
                about={"method": f"local_sgd, tau {tau}"},
            )
        )
        errors[f"local GD, tau {tau}: err"] = problem.error(trails[-1])
    return errors


def _stall(lab: Lab, problem: Bowls, trails: list[Trail]) -> dict[str, float]:
    average = problem.follow(lab, "fedavg", fedavg(sgd(RATE), LOCAL), ROUNDS)
    exact = problem.follow(lab, "scaffold", scaffold(Constant(RATE), LOCAL), ROUNDS)
    trails += [average, exact]
    return {"FedAvg, 200 rounds: err": problem.error(average), "SCAFFOLD, 200 rounds: err": problem.error(exact)}


def _prox(lab: Lab, problem: Bowls, trails: list[Trail]) -> dict[str, float]:
    errors = {}
    for mu in (0.0, *lab.pick(WEIGHTS, WEIGHTS[-1:])):
        trails.append(
            problem.follow(
                lab,
                f"fedprox-{mu:g}",
                fedprox(sgd(RATE), PROX, mu),
                lab.pick(ROUNDS, 120),
                about={"method": f"fedprox, mu {mu:g}"},
            )
        )
        errors[mu] = problem.error(trails[-1])
    best = min(errors.values())
    return {
        "FedProx, mu 0: err": errors[0.0],
        "FedProx, best mu: err": best,
        "FedProx: err of mu 0 over that of the best": errors[0.0] / best,
    }


def _skip(lab: Lab, seed: int, trails: list[Trail]) -> dict[str, float]:
    problem, probability = steep(seed), KAPPA**-0.5
    rounds = round(SKIP_STEPS * probability)
    lr = Constant(1 / KAPPA)
    skipping = problem.follow(lab, "scaffnew", scaffnew(lr, probability), rounds)
    plain = problem.follow(lab, "gradient-descent", synchronous(sgd(lr)), rounds, about={"method": "sgd"})
    trails += [skipping, plain]
    steps = int(skipping.readings["steps"][-1]) / WORKERS
    return {
        "Scaffnew: agreements": skipping.rounds,
        "Scaffnew: gradient steps": steps,
        "Scaffnew: err": problem.error(skipping),
        "gradient descent, as many rounds: err": problem.error(plain),
    }


# ---------------------------------------------------------------------------------------------- outer optimisers
NOISY_ROWS, NOISY_BATCH, NOISY_RATE, NOISY = 400, 4, 2.65e-4, 2.5
INNER, MARKS = 20, (20, 60, 200)
OUTER = {
    "FedAvg": (fedavg(sgd(NOISY_RATE), INNER), (0.80, 0.52, 0.13)),
    "SlowMo": (slowmo(sgd(NOISY_RATE), Constant(NOISY_RATE), INNER, beta=0.5), (0.65, 0.29, 0.015)),
    "DiLoCo": (diloco(sgd(NOISY_RATE), INNER, 0.7, 0.9), (0.34, 0.004, 0.0012)),
}


def noisy(seed: int) -> Bowls:
    """Round bowls seen through noisy rows; |x*| is about 1."""
    common = Streams(seed)("goal").standard_normal(DIM)
    common /= np.linalg.norm(common)
    losses = []
    for worker in range(WORKERS):
        stream = Streams(seed)("noisy", 0, worker)
        a = stream.standard_normal((NOISY_ROWS, DIM))
        centre = common + 0.1 * stream.standard_normal(DIM)
        losses.append(regression(a, a @ centre + NOISY * stream.standard_normal(NOISY_ROWS)))
    return Bowls(seed, losses, [Redrawn(NOISY_ROWS, NOISY_BATCH, worker, seed) for worker in range(WORKERS)])


LATER: dict[str, Wanted] = {
    f"{name}, {mark} rounds: relative err": Near(value, FACTOR)
    for name, (_, wanted) in OUTER.items()
    for mark, value in zip(MARKS, wanted, strict=True)
}


def _outer(lab: Lab, seed: int, trails: list[Trail]) -> dict[str, float]:
    problem, marks = noisy(seed), lab.pick(MARKS, MARKS[:1])
    found: dict[str, float] = {}
    for name, (method, _) in OUTER.items():
        trail = problem.follow(lab, f"outer-{name.lower()}", method, marks[-1], about={"method": name.lower()})
        trails.append(trail)
        errors = trail.distances(problem.goal)
        found |= {f"{name}, {mark} rounds: relative err": errors[trail.at(mark)] / errors[0] for mark in marks}
    return found


# ---------------------------------------------------------------------------------------------- the picture
def draw(found: Findings) -> "Figure":
    """Errors against rounds, in four panels."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, logarithmic, sheet

    panels = {
        "constant tau": ("local-gd",),
        "exact where FedAvg stalls": ("fedavg", "scaffold", "fedprox-0.1", "fedprox-1"),
        "few agreements": ("scaffnew", "gradient-descent"),
        "outer optimisers": ("outer",),
    }
    problems = {"outer": noisy(0), "scaffnew": steep(0), "gradient-descent": steep(0)}
    with sheet(4, width=3.6, height=3.8) as (figure, (axes,)):
        for panel, (title, kinds) in zip(axes, panels.items(), strict=True):
            shown = [trail for trail in found.trails if trail.name.startswith(kinds)]
            for number, trail in enumerate(shown):
                goal = problems.get(trail.name.split("-")[0], problems.get(trail.name, found.facts["problem"])).goal
                label = str(trail.about.get("method", trail.method))
                curve(panel, trail.readings["round"], np.maximum(trail.distances(goal), 1e-32), number, label)
            panel.set(title=title, xlabel="rounds")
            if shown:
                logarithmic(panel)
                if max(trail.rounds for trail in shown) > 500:
                    panel.set_xscale("symlog", linthresh=10)
                    panel.set_xlim(left=0)
                panel.legend(frameon=False, fontsize=7)
        axes[0].set_ylabel("|x - x*|\N{SUPERSCRIPT TWO}")
        return figure
