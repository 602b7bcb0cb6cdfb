"""Shifts make compressed gradient descent exact: seven methods on ridge regression, two stop at a floor, four do not.

After Shulgin, Richtarik, Shifted compression framework: generalizations and improvements, UAI 2022: 100 rows, 80 features,
10 workers, lambda = 1 / rows, every message 20 random coordinates of 80, and the step sizes of theory.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.engine.phase import Phase
from mpiopt.exchange.shifted import Shifted
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Equal, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.quadratics import normal, regression
from mpiopt.methods.compression import Compressing, dcgd, diana, gdci, rand_diana, vr_gdci
from mpiopt.numerics import theory
from mpiopt.numerics.streams import Streams
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Site, Team

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, DIM, WORKERS, KEPT = 100, 80, 10, 20
SEED = 8  # of rows with a condition number of 127; the median of such rows is 128
DRAWS = 1  # seed of the coordinates that are sent
COMPRESS = f"randk:k={KEPT}"
OMEGA = DIM / KEPT - 1
NOISE = theory.independent(OMEGA, WORKERS)
FACTOR = 3
NEAR = 0.995  # the fixed shifts are the gradients at this part of x*

LEVELS = {"dcgd": 1.5e-4, "dcgd-star": 1.5e-14, "diana": 2.4e-5, "rand-diana": 3.2e-5, "gdci": 1.9e-4, "vr-gdci": 1.5e-9}
ROUNDS = {"gdci": 8000, "vr-gdci": 8000}  # others 4000
NAMES = {
    "dcgd": "DCGD",
    "dcgd-shift": "DCGD-SHIFT",
    "dcgd-star": "DCGD-STAR",
    "diana": "DIANA",
    "rand-diana": "Rand-DIANA",
    "gdci": "GDCI",
    "vr-gdci": "VR-GDCI",
}


class RidgeProblem:
    """The rows of all workers, the optimum, and the constants."""

    def __init__(self) -> None:
        stream = Streams(SEED)("ridge")
        a = stream.standard_normal((ROWS, DIM))
        y = a @ stream.standard_normal(DIM)
        share = ROWS // WORKERS
        self.losses: list[Linear] = [regression(a[i : i + share], y[i : i + share]) for i in range(0, ROWS, share)]
        h, b = normal(self.losses)
        h += np.eye(DIM) / ROWS
        self.goal, spectrum = np.linalg.solve(h, b), np.linalg.eigvalsh(h)
        own = [np.linalg.eigvalsh(normal([loss])[0])[-1] + 1 / ROWS for loss in self.losses]
        self.constants = theory.Constants(spectrum[-1], max(own), float(np.sqrt(np.mean(np.square(own)))), spectrum[0], WORKERS)
        self.kappa = float(spectrum[-1] / spectrum[0])

    def team(self, world) -> Team:
        """The workers that a rank hosts. Collective."""
        return Team.of(world, [self.losses[w] for w in world.hosted], L2(1 / ROWS), DRAWS)

    def slopes(self, part: float) -> np.ndarray:
        """The workers' gradients at ``part`` of the way from 0 to the optimum, (workers, dim)."""
        x = part * self.goal
        return np.array([loss.value_grad(loss.point(x))[1] + x / ROWS for loss in self.losses])

    def shifted(self, gamma: float, part: float) -> Compressing:
        """DCGD with those gradients as fixed shifts."""
        slopes = self.slopes(part)

        def first(site: Site, x: np.ndarray) -> np.ndarray:
            return slopes[site.worker].copy()

        plain = dcgd(COMPRESS, gamma)
        return replace(plain, phases=(Phase(plain.phases[0].work, Shifted(plain.phases[0].exchange, 0.0, first)),))

    def methods(self) -> dict[str, Compressing]:
        """All seven, with the step sizes of theory."""
        c = self.constants
        return {
            "dcgd": dcgd(COMPRESS, theory.dcgd(c, NOISE)),
            "dcgd-shift": self.shifted(theory.dcgd(c, NOISE), NEAR),
            "dcgd-star": self.shifted(theory.dcgd_star(c, NOISE), 1.0),
            "diana": diana(COMPRESS, *theory.diana(c, NOISE)),
            "rand-diana": rand_diana(COMPRESS, *theory.rand_diana(c, NOISE)),
            "gdci": gdci(COMPRESS, *theory.gdci(c, NOISE)),
            "vr-gdci": vr_gdci(COMPRESS, *theory.vr_gdci(c, NOISE)),
        }

    def gaps(self, trail: Trail) -> np.ndarray:
        """|x - x*|^2 over its value at 0."""
        return trail.distances(self.goal) / float(self.goal @ self.goal)

    def floor(self, part: float) -> float:
        """Where theory lets DCGD end with shifts at ``part`` of x*: relative |x - x*|^2."""
        c = self.constants
        apart = float(((self.slopes(1) - (part > 0) * self.slopes(part)) ** 2).sum(axis=1).mean())
        return 2 * theory.dcgd(c, NOISE) / c.mu * OMEGA / WORKERS * apart / float(self.goal @ self.goal)

    def image_floor(self) -> float:
        """The same for GDCI."""
        gamma, eta = theory.gdci(self.constants, NOISE)
        away = float(((self.goal - gamma * self.slopes(1)) ** 2).sum(axis=1).mean())
        return 2 * eta * OMEGA / WORKERS * away / float(self.goal @ self.goal)

    def rates(self) -> dict[str, float]:
        """By how much theory lets the exact methods shrink |x - x*|^2 in a round, at least."""
        c = self.constants
        (step, alpha), (late, p) = theory.diana(c, NOISE), theory.rand_diana(c, NOISE)
        _, eta, learnt = theory.vr_gdci(c, NOISE)
        return {
            "dcgd-star": theory.dcgd_star(c, NOISE) * c.mu,
            "diana": min(step * c.mu, alpha / 2),
            "rand-diana": min(late * c.mu, p / 2),
            "vr-gdci": min(eta, learnt / 2),
        }


def run(lab: Lab) -> Findings:
    """Collective."""
    ridge = RidgeProblem()
    methods = ridge.methods()
    names = lab.pick(tuple(methods), ("dcgd", "dcgd-star", "gdci"))
    trails = {name: follow(lab, ridge, name, methods[name]) for name in names}
    ends = {name: level(ridge.gaps(trail)) for name, trail in trails.items()}
    checks = [Check("condition number", Near(128, 1.02), ridge.kappa)]
    if not lab.quick:
        checks += [Check(f"{NAMES[name]}: relative |x - x*|^2", Near(LEVELS[name], FACTOR), ends[name]) for name in LEVELS]
        checks += _floors(ridge, ends)
    checks += _tails(ridge, trails)
    costs = [cost(trail) for name, trail in trails.items() if name != "rand-diana"]
    checks.append(Check("bytes of a message, without refreshes", Equal(8 * KEPT + 16), max(costs)))
    return Findings(checks, list(trails.values()), NOTES, {"ridge": ridge})


def follow(lab: Lab, ridge: RidgeProblem, name: str, method: Compressing) -> Trail:
    """A run. Collective."""
    rounds = ROUNDS.get(name, 4000) // lab.pick(1, 10)
    return lab.follow(name, method, WORKERS, ridge.team, np.zeros(DIM), rounds, every=rounds // 200)


def level(gaps: np.ndarray) -> float:
    """Geometric mean of the last twentieth of a run."""
    return float(np.exp(np.log(gaps[-len(gaps) // 20 :]).mean()))


def rate(trail: Trail, gaps: np.ndarray) -> float:
    """By how much |x - x*|^2 shrinks in a round: a straight line through the logarithms of the second half."""
    half = len(gaps) // 2
    return float(-np.polyfit(trail.readings["round"][half:], np.log(gaps[half:]), 1)[0])


def _floors(ridge: RidgeProblem, ends: dict[str, float]) -> list[Check]:
    bounds = {"dcgd": ridge.floor(0), "dcgd-shift": ridge.floor(NEAR), "gdci": ridge.image_floor()}
    return [
        Check(f"{NAMES[name]}: floor, at most the bound", Below(bounds[name]), ends[name]) for name in bounds if name in ends
    ]


def _tails(ridge: RidgeProblem, trails: dict[str, Trail]) -> list[Check]:
    """Linear convergence: at least as fast as theory says."""
    found = {
        name: rate(trails[name], ridge.gaps(trails[name])) / least for name, least in ridge.rates().items() if name in trails
    }
    return [Check(f"{NAMES[name]}: rate over the guaranteed one", Above(1), value) for name, value in found.items()]


def cost(trail: Trail) -> float:
    """Bytes that a worker sends in a round."""
    sent = trail.readings["bytes_sent"]
    return float(sent[-1] - sent[0]) / (trail.rounds * trail.workers)


NOTES = (
    f"Random rows and solution, {ROWS} x {DIM}, {WORKERS} workers, lambda 1/{ROWS}, {KEPT} random coordinates a message "
    "(omega 3), from 0, 4000 rounds, GDCI and VR-GDCI 8000. Levels: geometric means of the last twentieth. DCGD-SHIFT: shifts "
    f"are gradients at {NEAR} x*. Bytes: {KEPT} numbers, the running loss and a mark. DCGD-STAR's level varies by a factor of "
    "ten with the draw of coordinates. The published figure has no digits; the expected levels are of other rows of that kind."
)


def draw(found: Findings) -> "Figure":
    """Errors against rounds and against bytes."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, logarithmic, sheet

    ridge = found.facts["ridge"]
    with sheet(2, width=6, height=4.4) as (figure, (panels,)):
        for number, (name, label) in enumerate(NAMES.items()):
            for trail in (trail for trail in found.trails if trail.name == name):
                curve(panels[0], trail.readings["round"], ridge.gaps(trail), number, label)
                curve(panels[1], trail.readings["bytes_sent"] / 1e6, ridge.gaps(trail), number)
        for panel, unit in zip(panels, ("rounds", "megabytes sent by all workers"), strict=True):
            logarithmic(panel)
            panel.set(xlabel=unit, ylabel="relative |x - x*|\N{SUPERSCRIPT TWO}")
        legend(figure, panels[0], 4)
        return figure
