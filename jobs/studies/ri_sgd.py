"""Redundant data keep local SGD near the optimum with long periods, and when workers die: residuals over tau and q.

After Haddadpour, Kamani, Mahdavi, Cadambe, Trading redundancy for communication: speeding up distributed SGD for
non-convex optimization, ICML 2019. Published are figures of image classification only: that more redundancy brings local SGD
with long periods nearer to the optimum, and keeps it there when workers die. That is what is checked here, on a toy of our
own: least squares in eight chunks that differ in their solutions and in their curvatures; worker j holds chunks j to
j + q - 1, and a step looks at as many rows of each. How far chunks are apart, how uneven, how noisy, and the step size were
chosen until the residuals of one seed were those of an earlier toy of ours. The residuals expected are means over ten seeds
by a few lines of numpy: they say nothing of the paper, and guard against change only. The claims are held against all seeds.
"""

from collections.abc import Sequence
from itertools import pairwise, product
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Below, Check, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.quadratics import optimum, regression
from mpiopt.jobs.studies.apparatus.redrawn import Redrawn
from mpiopt.methods.averaging import ri_sgd
from mpiopt.numerics.streams import Streams
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Team
from mpiopt.sampling.clients import Clients
from mpiopt.transforms.rules import sgd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORKERS, REDUNDANCY = 8, (1, 2, 4, 8)
DIM, ROWS, BATCH = 10, 64, 16  # of a chunk, and of a chunk in a step
APART, UNEVEN, NOISE = 1.05, 0.8, 0.1  # solutions of the chunks, logarithms of their curvatures, answers: deviations
RATE, STEPS = 0.016, 2400
FACTOR = 3

CASES = {
    "tau 1": (1, (), (5.8e-3, 3.0e-3, 1.5e-3, 7.4e-4)),
    "tau 20": (20, (), (4.9e-2, 1.2e-2, 2.5e-3, 7.4e-4)),
    "tau 100": (100, (), (0.36, 0.11, 1.7e-2, 7.7e-4)),
    "2 dead": (20, (0, 4), (0.65, 0.19, 3.0e-3, 9.3e-4)),
    "4 dead": (20, (0, 2, 4, 6), (1.8, 1.5e-2, 4.3e-3, 1.5e-3)),
}


def chunks(seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows, answers) of each chunk."""
    return [_chunk(Streams(seed)("chunk", 0, number)) for number in range(WORKERS)]


def _chunk(stream: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    curvatures = np.exp(UNEVEN * stream.standard_normal(DIM))
    a = stream.standard_normal((ROWS, DIM)) * np.sqrt(curvatures / curvatures.mean())
    solution = APART * stream.standard_normal(DIM)
    return a, a @ solution + NOISE * stream.standard_normal(ROWS)


def team(world, data: list[tuple[np.ndarray, np.ndarray]], q: int, seed: int) -> Team:
    """Workers with q chunks each. Collective."""
    chunks_of = [[data[(worker + k) % WORKERS] for k in range(q)] for worker in world.hosted]
    losses = [regression(*map(np.concatenate, zip(*held, strict=True))) for held in chunks_of]
    return Team.of(world, losses, Zero(), seed, [Redrawn(ROWS, BATCH, worker, seed, chunks=q) for worker in world.hosted])


def run(lab: Lab) -> Findings:
    """Collective."""
    names, redundancy = lab.pick((tuple(CASES), REDUNDANCY), (("4 dead",), (1, 2, 4)))
    trails, goals = [], []
    found: dict[tuple[str, int], list[float]] = {}
    for seed in lab.seeds:
        data = chunks(seed)
        goals.append(optimum([regression(a, y) for a, y in data]))
        for name, q in product(names, redundancy):
            trail = _follow(lab, name, data, q, seed)
            trails += [trail] * (seed == lab.seeds[0])
            found.setdefault((name, q), []).append(residual(trail, goals[-1]))
    checks = [
        Check.over(f"{name}, q {q}: |x - x*|^2", Near(CASES[name][2][REDUNDANCY.index(q)], FACTOR), values)
        for (name, q), values in found.items()
    ]
    checks += [Check.over(f"{name}: least gain from a larger q", Above(1), _gains(found, name)) for name in names]
    checks += [
        Check.over(f"{name}, q {q}: over that of all 8 alive", Below(3), _ratios(found[name, q], found["tau 20", q]))
        for name in names
        if CASES[name][1] and "tau 20" in names
        for q in (4, 8)
    ]
    return Findings(checks, trails, NOTES, {"goal": goals[0], "found": {key: fmean(values) for key, values in found.items()}})


NOTES = (
    "q: chunks that a worker holds. dead: tau 20, workers 0 and 4, or 0, 2, 4, 6, never take part. Residuals are means over "
    "the second half of a run. Published are figures of images only; this is a toy of our own, and the residuals expected are "
    "its means by plain numpy. found, +-: mean and standard deviation over ten seeds."
)


def _follow(lab: Lab, name: str, data: list, q: int, seed: int) -> Trail:
    period, dead, _ = CASES[name]
    method = ri_sgd(sgd(RATE), period, Clients(dead=dead))
    return lab.follow(
        f"{name.replace(' ', '-')}-q{q}",
        method,
        WORKERS,
        lambda world: team(world, data, q, seed),
        np.zeros(DIM),
        STEPS // period,
        every=max(1, 20 // period),
        about={"method": "ri_sgd"},
    )


def residual(trail: Trail, goal: np.ndarray) -> float:
    """Mean squared distance from the goal over the second half of a run."""
    distances = trail.distances(goal)
    return float(distances[len(distances) // 2 :].mean())


def _ratios(over: Sequence[float], under: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(over, under, strict=True)]


def _gains(found: dict[tuple[str, int], list[float]], name: str) -> list[float]:
    """By how much the residual falls at least from one q to the next, for each seed."""
    rows = [values for (case, _), values in found.items() if case == name]
    return [min(each) for each in zip(*(_ratios(a, b) for a, b in pairwise(rows)), strict=True)]


def draw(found: Findings) -> "Figure":
    """Residuals as bars beside those expected, and how they come about for tau 20."""
    from mpiopt.jobs.studies.apparatus.canvas import bars, curve, legend, logarithmic, sheet

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
