"""Local SGD with Stich's step sizes: the error of 8 workers is the same for H = 1 to 64; and how much delay SGD bears.

After Stich, Local SGD converges fast and communicates little, ICLR 2019, theorem 2.2: step sizes 4 / (mu (a + t)), and as
the answer the mean of the averages weighted by (a + t)^2. Published is the theorem: with K workers the error is K times
smaller, for any H up to sqrt(T / K). The problem is a toy of our own, least squares on rows that all workers draw from, whose
noise, start and length were chosen until the errors were those of an earlier one, whose generator is lost: they guard against
change only, while their ratios are the theorem's. The delay: on h x^2 / 2 workers that add to a
centre in turn make SGD with a constant delay, stable below 2 sin(pi / (2 (2 s + 1))).
"""

from math import pi, sin
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Observed, Trail
from mpiopt.jobs.studies.apparatus.quadratics import normal, regression
from mpiopt.methods.averaging import local_sgd
from mpiopt.methods.one_sided import downpour
from mpiopt.numerics.schedules import Inverse
from mpiopt.numerics.streams import Streams
from mpiopt.problems.landscapes import Quadratic
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Team
from mpiopt.sampling.batches import Batches
from mpiopt.training.method import Training
from mpiopt.transforms.rules import sgd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIM, ROWS, BATCH, KAPPA, NOISE, START = 20, 4096, 4, 4, 0.8, 4.7
SHIFT, STEPS, LOOK = 128, 896, 64  # a > max(16 kappa, H); T; steps between two looks, for all alike
PERIODS = (1, 4, 16, 64)
DELAYS = (0, 1, 2, 5, 10)
EIGHT, ONE, FACTOR = 4.7e-4, 1.4e-3, 2  # F - F* of 8 workers and of 1


class Regression:
    """The problem of a seed."""

    def __init__(self, seed: int) -> None:
        stream = Streams(seed)("rows")
        a = stream.standard_normal((ROWS, DIM)) * np.sqrt(np.geomspace(1, KAPPA, DIM))
        self.loss: Linear = regression(a, NOISE * stream.standard_normal(ROWS))
        self.h, b = normal([self.loss])
        self.goal, self.mu = np.linalg.solve(self.h, b), float(np.linalg.eigvalsh(self.h)[0])
        self.seed, self.start = seed, np.full(DIM, START)
        self.rule = sgd(Inverse(4 / self.mu, SHIFT))

    def team(self, world) -> Team:
        """All workers draw from the same rows, each in its own order. Collective."""
        batches = [Batches(ROWS, BATCH, Streams(self.seed), worker) for worker in world.hosted]
        return Team.of(world, [self.loss] * len(batches), Zero(), self.seed, batches)

    def follow(self, lab: Lab, name: str, method: Training, workers: int, period: int) -> Trail:
        """A run of STEPS steps, looked at every LOOK steps. Collective."""
        return lab.follow(
            f"{name}-{self.seed}",
            method,
            workers,
            self.team,
            self.start,
            STEPS // period,
            every=LOOK // period,
            about={"method": name, "period": period},
        )

    def error(self, trail: Trail) -> float:
        """F - F* at the weighted mean of the answers."""
        steps = trail.readings["round"][1:] * trail.about["period"]
        x = np.average(trail.points[1:], axis=0, weights=(SHIFT + steps) ** 2)
        return float((x - self.goal) @ self.h @ (x - self.goal)) / 2


def run(lab: Lab) -> Findings:
    """Collective."""
    trails, periods = [], lab.pick(PERIODS, PERIODS[1::2])
    errors: dict[tuple[int, int], list[float]] = {}
    for problem in map(Regression, lab.seeds):
        for workers, period in [*((8, period) for period in periods), (1, 64)]:
            name = f"workers-{workers}-H-{period}"
            trail = problem.follow(lab, name, local_sgd(problem.rule, period), workers, period)
            trails += [trail] * (problem.seed == lab.seeds[0])
            errors.setdefault((workers, period), []).append(problem.error(trail))
    means = {key: fmean(values) for key, values in errors.items()}
    eight = [means[8, period] for period in periods]
    checks = [Check.over(f"8 workers, H {h}: F - F*", Near(EIGHT, FACTOR), errors[8, h]) for h in periods]
    checks += [
        Check.over("1 worker: F - F*", Near(ONE, FACTOR), errors[1, 64]),
        Check("H 64, of the means: 1 worker / 8 workers", Above(2, 3), means[1, 64] / means[8, 64]),
        Check("8 workers, of the means: largest / smallest", Below(1.5, 1), max(eight) / min(eight)),
    ]
    limits = {s: delay_limit(lab, s) for s in lab.pick(DELAYS, DELAYS[:2])}
    checks += [
        Check(f"delay {s}: largest stable eta h", Near(2 * sin(pi / (2 * (2 * s + 1))), 1.01), limit)
        for s, limit in limits.items()
    ]
    return Findings(checks, trails, NOTES, {"means": means, "limits": limits})


NOTES = (
    f"F - F*: of the weighted mean, {STEPS} steps. found, +-: mean and standard deviation over ten seeds. delay s: a gradient "
    "is s additions old when it is added to the centre; every rank finds the limits by itself, its workers in turn."
)


# ---------------------------------------------------------------------------------------------- delays
def delay_limit(lab: Lab, delay: int) -> float:
    """The largest stable eta h, to 0.2 %, by bisection; all ranks find the same. Collective."""
    stable, wild = 0.0, 2.5
    while wild - stable > 0.002 * wild:
        middle = (stable + wild) / 2
        stable, wild = (stable, middle) if delayed_grows(lab, delay, middle) else (middle, wild)
    return (stable + wild) / 2


def delayed_grows(lab: Lab, delay: int, eta: float) -> bool:
    """Whether x^2 / 2 under SGD with this step size and delay grows: as many workers, one more than the delay, in turn."""
    workers = delay + 1
    with lab.alone(workers) as world:
        team = Team.of(world, [Quadratic((0.5,), (1.0,))] * workers, Zero())
        walk = Observed(downpour(sgd(eta), meeting=1), team)
        trail = walk.to(np.ones(1), None, 240, lambda x: bool(abs(x[0]) > 1e6), name="delay", about={})
    size = abs(trail.points[:, 0])
    return bool(size[-1] > 1e6 or size[160:].max() > size[80:160].max())


# ---------------------------------------------------------------------------------------------- the picture
def draw(found: Findings) -> "Figure":
    """Errors of the averages against steps and against rounds, and the limits of the delay."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, logarithmic, sheet

    problem, limits = Regression(0), found.facts["limits"]
    with sheet(3, height=4.3) as (figure, (panels,)):
        for number, (workers, period) in enumerate(found.facts["means"]):
            trail = found.trail(f"workers-{workers}-H-{period}-0")
            gaps = [float((x - problem.goal) @ problem.h @ (x - problem.goal)) / 2 for x in trail.points]
            label = f"{workers} workers, H = {period}" if workers > 1 else "1 worker"
            curve(panels[0], trail.readings["round"] * period, gaps, number, label)
            if workers > 1:
                curve(panels[1], trail.readings["round"], gaps, number, marker="o", markersize=3)
        for panel, unit in zip(panels, ("steps", "agreements"), strict=False):
            logarithmic(panel)
            panel.set(xlabel=unit, ylabel="F - F* of the average", title=f"against {unit}")
        panels[1].set_xscale("symlog", linthresh=1)
        panels[1].set_xlim(left=0)
        s = np.linspace(0, max(limits), 200)
        curve(panels[2], s, 2 * np.sin(pi / (2 * (2 * s + 1))), 6, linewidth=1)
        panels[2].plot(list(limits), list(limits.values()), "o", color="#D55E00")
        panels[2].set(xlabel="delay s", ylabel="largest stable step size times curvature", title="what SGD bears of delay")
        logarithmic(panels[2])
        legend(figure, panels[0], 5)
        return figure
