"""Redundant data keep local SGD near the optimum with long periods, and when workers die: residuals over tau and q.

After Haddadpour, Kamani, Mahdavi, Cadambe, Trading redundancy for communication: speeding up distributed SGD for
non-convex optimization, ICML 2019. Least squares in eight chunks that differ in their solutions and in their curvatures;
worker j holds chunks j to j + q - 1, and a step looks at as many rows of each.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.clients import Clients
from mpiopt.jobs.checks import Above, Below, Check, Near
from mpiopt.jobs.lab import Lab, Trail
from mpiopt.jobs.quadratics import optimum, regression
from mpiopt.jobs.studies import Findings
from mpiopt.methods.averaging import ri_sgd
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Team
from mpiopt.streams import Streams
from mpiopt.transforms.rules import sgd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORKERS, REDUNDANCY = 8, (1, 2, 4, 8)
DIM, ROWS, BATCH = 10, 64, 16  # of a chunk, and of a chunk in a step
APART, UNEVEN, NOISE = 1.05, 0.8, 0.1  # solutions of the chunks, logarithms of their curvatures, answers: deviations
SEED, RATE, STEPS = 245, 0.016, 2400
FACTOR = 3

CASES = {
    "tau 1": (1, (), (6.4e-3, 2.9e-3, 1.7e-3, 9.8e-4)),
    "tau 20": (20, (), (3.7e-2, 8.8e-3, 2.1e-3, 9.7e-4)),
    "tau 100": (100, (), (0.61, 0.17, 1.7e-2, 9.2e-4)),
    "2 dead": (20, (0, 4), (0.19, 0.15, 2.6e-3, 1.3e-3)),
    "4 dead": (20, (0, 2, 4, 6), (2.75, 1.3e-2, 3.5e-3, 1.4e-3)),
}


def chunks(seed: int = SEED) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows, answers) of each chunk."""
    return [_chunk(Streams(seed)("chunk", 0, number)) for number in range(WORKERS)]


def _chunk(stream: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    curvatures = np.exp(UNEVEN * stream.standard_normal(DIM))
    a = stream.standard_normal((ROWS, DIM)) * np.sqrt(curvatures / curvatures.mean())
    solution = APART * stream.standard_normal(DIM)
    return a, a @ solution + NOISE * stream.standard_normal(ROWS)


@dataclass(frozen=True)
class Drawn:
    """As many rows of each of q chunks, which lie one after the other, drawn anew in every step."""

    q: int
    worker: int

    def __call__(self, step: int) -> np.ndarray:
        """Row numbers of a step, (q * BATCH,)."""
        rows = Streams(SEED)("rows", step, self.worker).integers(ROWS, size=(self.q, BATCH))
        return (rows + ROWS * np.arange(self.q)[:, None]).ravel()


def team(world, data: list[tuple[np.ndarray, np.ndarray]], q: int) -> Team:
    """Workers with q chunks each. Collective."""
    chunks_of = [[data[(worker + k) % WORKERS] for k in range(q)] for worker in world.hosted]
    losses = [regression(*map(np.concatenate, zip(*held, strict=True))) for held in chunks_of]
    return Team.of(world, losses, Zero(), SEED, [Drawn(q, worker) for worker in world.hosted])


def run(lab: Lab) -> Findings:
    """Collective."""
    data = chunks()
    goal = optimum([regression(a, y) for a, y in data])
    names, redundancy = lab.pick((tuple(CASES), REDUNDANCY), (("4 dead",), (1, 2, 4)))
    trails, checks, found = [], [], {}
    for name in names:
        period, dead, expected = CASES[name]
        for q in redundancy:
            trail = _follow(lab, f"{name.replace(' ', '-')}-q{q}", data, q, period, dead)
            trails.append(trail)
            found[name, q] = residual(trail, goal)
            checks.append(Check(f"{name}, q {q}: |x - x*|^2", Near(expected[REDUNDANCY.index(q)], FACTOR), found[name, q]))
    checks += [Check(f"{name}: least gain from a larger q", Above(1), _gain(found, name)) for name in names]
    checks += [Check(f"{name}, q {q}: over that of all 8 alive", Below(3), found[name, q] / found["tau 20", q])
               for name in names if CASES[name][1] and "tau 20" in names for q in (4, 8)]  # fmt: skip
    return Findings(checks, trails, NOTES, {"goal": goal, "found": found})


NOTES = (
    "q: chunks that a worker holds. dead: tau 20, workers 0 and 4, or 0, 2, 4, 6, never take part. Residuals are means over "
    "the second half of a run. The published experiments are on images; the expected residuals are of a synthetic problem of "
    "the same kind, whose generator is not recorded: this one has the same pattern."
)


def _follow(lab: Lab, name: str, data: list, q: int, period: int, dead: tuple[int, ...]) -> Trail:
    method = ri_sgd(sgd(RATE), period, Clients(dead=dead))
    return lab.follow(name, method, WORKERS, lambda world: team(world, data, q), np.zeros(DIM), STEPS // period,
                      every=max(1, 20 // period), about={"method": "ri_sgd"})  # fmt: skip


def residual(trail: Trail, goal: np.ndarray) -> float:
    """Mean squared distance from the goal over the second half of a run."""
    distances = trail.distances(goal)
    return float(distances[len(distances) // 2 :].mean())


def _gain(found: dict[tuple[str, int], float], name: str) -> float:
    """By how much the residual falls at least from one q to the next."""
    return min(a / b for a, b in pairwise(value for (case, _), value in found.items() if case == name))


def draw(found: Findings) -> "Figure":
    """Residuals as bars beside those expected, and how they come about for tau 20."""
    from mpiopt.jobs.canvas import bars, curve, legend, logarithmic, sheet

    residuals = found.facts["found"]
    names = list(dict.fromkeys(name for name, _ in residuals))
    with sheet(2, width=6) as (figure, (panels,)):
        shown = list(dict.fromkeys(q for _, q in residuals))
        columns = {f"q = {q}": [residuals[name, q] for name in names] for q in shown}
        expected = {f"q = {q}": [CASES[name][2][REDUNDANCY.index(q)] for name in names] for q in shown}
        bars(panels[0], names, columns, expected)
        panels[0].set(ylabel="|x - x*|\N{SUPERSCRIPT TWO}", title="residuals")
        name = "tau 20" if "tau 20" in names else names[-1]
        for number, q in enumerate(shown):
            trail = found.trail(f"{name.replace(' ', '-')}-q{q}")
            curve(panels[1], CASES[name][0] * trail.readings["round"], trail.distances(found.facts["goal"]), number)
        logarithmic(panels[1])
        panels[1].set(xlabel="steps", title=f"tau {CASES[name][0]}, {WORKERS - len(CASES[name][1])} of {WORKERS} alive")
        legend(figure, panels[0], 5)
        return figure
