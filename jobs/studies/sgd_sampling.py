"""SGD with any sampling: its constants predict the minibatch of least total work, and when steps should begin to fall.

After Gower, Loizou, Qian, Sailanbayev, Shulgin, Richtarik, SGD: general analysis and improved rates, ICML 2019: ridge
regression on 64 random rows of 5 features, one worker; every law with the step of theory, means over five seeds.
"""

from functools import partial
from itertools import islice
from math import ceil, e, log
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds as rounds_of
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Below, Check, Equal, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.quadratics import regression
from mpiopt.methods.averaging import sgd
from mpiopt.methods.chosen_descent import sgd_as
from mpiopt.numerics import theory
from mpiopt.numerics.schedules import Constant, Schedule, Switching
from mpiopt.numerics.streams import Streams
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from mpiopt.sampling.constants import row_constants
from mpiopt.sampling.laws import Draws, Law, Nice, Single
from mpiopt.transforms import rules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, DIM, RIDGE, NOISE, SEED = 64, 5, 0.3, 0.5, 1
SIZES = (1, 2, 4, 8, 16, 32, 64)
ACCURACIES = (0.2, 0.05)
LOOKS, COUNTING = 40, 400  # in a run; rounds until sgd_as has found its rows


class Ridges:
    """The rows, the optimum and the constants."""

    def __init__(self) -> None:
        stream = Streams(SEED)("sampling")
        a = stream.standard_normal((ROWS, DIM))
        self.loss = regression(a, a @ stream.standard_normal(DIM) + NOISE * stream.standard_normal(ROWS))
        h = a.T @ a / ROWS + RIDGE * np.eye(DIM)
        self.goal = np.linalg.solve(h, a.T @ self.loss.y / ROWS)
        self.mu = float(np.linalg.eigvalsh(h)[0])
        self.constants = row_constants(self.loss, RIDGE, self.goal)
        self.far = float(self.goal @ self.goal)

    def team(self, world: World, law: Law, seed: int) -> Team:
        """One worker that draws by a law."""
        return Team.of(world, [self.loss], L2(RIDGE), seed, [Draws(law, Streams(seed), 0)])

    def best(self, accuracy: float, mu: float | None = None) -> float:
        """The predicted minibatch, where mu is all that is known of how strongly convex F is."""
        c = self.constants
        return theory.best_minibatch(ROWS, c.whole, float(c.each.max()), float(c.squares.mean()), mu or self.mu, accuracy)

    def steps(self, law: Law, accuracy: float) -> int:
        """So many are enough, as theory has it."""
        smooth, noise = law.smoothness(self.constants), law.noise(self.constants)
        return ceil(max(2 * smooth / self.mu, 4 * noise / (accuracy * self.mu**2)) * log(2 * self.far / accuracy))


def run(lab: Lab) -> Findings:
    """Collective."""
    data = Ridges()
    trails: list[Trail] = []
    work: dict[float, dict[int, float]] = {}
    checks = [Check("importance: smoothness over the mean of the L_i", Near(1, 1.0001), _importance(data))]
    for accuracy in lab.pick(ACCURACIES, ACCURACIES[-1:]):
        found, ratios = {}, []
        for size in SIZES:
            law = Nice(ROWS, size)
            enough = data.steps(law, accuracy)
            step = theory.sampled(law.smoothness(data.constants), law.noise(data.constants), data.mu, accuracy)
            runs = follow(lab, data, f"{accuracy:g}-nice-{size}", law, Constant(step), enough)
            trails.append(runs[0])
            taken = first(data, runs, accuracy)
            found[size] = taken * size
            ratios.append(taken / enough)
        work[accuracy] = found
        least = min(found, key=lambda size: found[size])
        checks += [
            Check(f"accuracy {accuracy:g}: the minibatch of least work, by theory", Near(data.best(accuracy), 1.7), least),
            Check(f"accuracy {accuracy:g}: work with it over that with 1 row", Below(0.95), found[least] / found[1]),
            Check(f"accuracy {accuracy:g}: steps over those enough by theory", Below(1), max(ratios)),
            Check(
                f"accuracy {accuracy:g}: rows of a step that sgd_as finds",
                Equal(data.best(accuracy, RIDGE), 1),
                counted_by(lab, data, accuracy),
            ),
        ]
    both = _switching(lab, data)
    errors = {name: mean_squares(data, each) for name, each in both.items()}
    trails += [each[0] for each in both.values()]
    return Findings(checks + _ends(data, both, errors), trails, NOTES, {"work": work, "data": data, "errors": errors})


def counted_by(lab: Lab, data: Ridges, accuracy: float) -> float:
    """The rows of a step to which sgd_as has come on its way. Collective."""
    with lab.alone(1) as world:
        team, method = data.team(world, Nice(ROWS, 1), SEED), sgd_as(accuracy=accuracy)
        runs = islice(rounds_of(method, team, np.zeros(DIM)), COUNTING + 1)
        return float([run.states.works[0][0].size for run in runs][-1])


def _importance(data: Ridges) -> float:
    each = data.constants.each
    return Single(each / each.sum()).smoothness(data.constants) / float(each.mean())


def _switching(lab: Lab, data: Ridges) -> dict[str, list[Trail]]:
    """Runs with one row a step: constant steps, and those that begin to fall. Collective."""
    law = Nice(ROWS, 1)
    smooth = law.smoothness(data.constants)
    rates: dict[str, Schedule] = {"constant": Constant(1 / (2 * smooth)), "switching": Switching(smooth, data.mu)}
    rounds = 12 * ceil(smooth / data.mu)
    return {name: follow(lab, data, name, law, rate, rounds) for name, rate in rates.items()}


def _ends(data: Ridges, runs: dict[str, list[Trail]], errors: dict[str, np.ndarray]) -> list[Check]:
    law, rounds = Nice(ROWS, 1), runs["switching"][0].rounds
    smooth, noise = law.smoothness(data.constants), law.noise(data.constants)
    bound = 8 * noise / (data.mu**2 * rounds) + 16 * ceil(smooth / data.mu) ** 2 * data.far / (e * rounds) ** 2
    end, other = (float(np.exp(np.log(errors[name][-5:]).mean())) for name in ("switching", "constant"))
    return [
        Check("falling over constant steps: error after 12 smoothness / mu", Below(0.8), end / other),
        Check("falling steps: error over its bound", Below(1), end / bound),
    ]


def follow(lab: Lab, data: Ridges, name: str, law: Law, rate: Schedule, rounds: int) -> list[Trail]:
    """A run for each seed. Collective."""
    return [
        lab.follow(
            name,
            sgd(rules.sgd(rate)),
            1,
            partial(data.team, law=law, seed=seed),
            np.zeros(DIM),
            rounds,
            every=max(1, rounds // LOOKS),
            about={"method": "sgd", "sampling": f"nice:{round(law.expected)}", "seed": seed},
        )
        for seed in lab.seeds[:5]
    ]


def mean_squares(data: Ridges, runs: list[Trail]) -> np.ndarray:
    """Mean over the seeds of |x - x*|^2, (readings,)."""
    return np.mean([trail.distances(data.goal) for trail in runs], axis=0)


def first(data: Ridges, runs: list[Trail], accuracy: float) -> float:
    """Steps until the mean is within ``accuracy``; infinity where it never is."""
    near = mean_squares(data, runs) <= accuracy
    return float(runs[0].readings["round"][int(np.argmax(near))]) if near.any() else float("inf")


NOTES = (
    f"{ROWS} normal rows of {DIM} features, lambda {RIDGE}, from 0; errors are means of |x - x*|^2 over five seeds. Steps: "
    "min(1 / (2 smoothness), accuracy mu / (4 noise)), of which 2 smoothness / mu or 4 noise / (accuracy mu^2) times a "
    "logarithm are enough; sgd_as measures the same as it goes, its mu being lambda. Work: rows looked at until the error is "
    "within the accuracy, read off at forty places of a run. The published figures are plots of other data; what is expected "
    "is theory's."
)


def draw(found: Findings) -> "Figure":
    """Work against the minibatch; errors of constant and falling steps."""
    from mpiopt.jobs.studies.apparatus.canvas import COLOURS, curve, logarithmic, sheet

    data = found.facts["data"]
    with sheet(2, width=5.5, height=4.2) as (figure, (panels,)):
        for number, (accuracy, work) in enumerate(found.facts["work"].items()):
            curve(panels[0], list(work), list(work.values()), number, f"accuracy {accuracy:g}", marker="o", markersize=4)
            panels[0].axvline(data.best(accuracy), color=COLOURS[number], linestyle=":", linewidth=1.2)
        panels[0].set_xscale("log", base=2)
        panels[0].set_xticks(SIZES, [str(size) for size in SIZES])
        panels[0].set(xlabel="rows of a step", ylabel="rows looked at", title="Total work (dotted: predicted best)")
        panels[0].set_ylim(bottom=0)
        for number, name in enumerate(("constant", "switching")):
            curve(panels[1], found.trail(name).readings["round"], found.facts["errors"][name], number, f"{name} step")
        logarithmic(panels[1])
        panels[1].set(xlabel="steps of one row", ylabel="|x - x*|\N{SUPERSCRIPT TWO}", title="Mean of the seeds")
        for panel in panels:
            panel.legend(frameon=False)
        return figure
