"""Six small problems on which compressed gradients go wrong, and error feedback and EF21 do not.

1 to 3 after Karimireddy, Rebjock, Stich, Jaggi, Error feedback fixes SignSGD and other gradient compression schemes, ICML
2019; 4 after Beznosikov, Horvath, Richtarik, Safaryan, On biased compression for distributed learning, 2020. 5 is the usual
objection to majority votes. 6 is a toy of our own, uneven quadratics with noise whose deviations were chosen until the
errors were those of an earlier one, whose generator is lost: they guard against change only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Below, Check, Equal, Near, Wanted
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.noisy import Noisy, drawn
from mpiopt.jobs.studies.apparatus.quadratics import optimum, regression
from mpiopt.methods.averaging import sgd
from mpiopt.methods.linked import linked
from mpiopt.numerics.schedules import Constant, Cosine, Schedule
from mpiopt.numerics.streams import Streams
from mpiopt.problems.landscapes import Landscape
from mpiopt.problems.penalties import L2, Box, Zero
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.protocols import Loss, Penalty
from mpiopt.training.method import Training
from mpiopt.transforms import rules
from mpiopt.transforms.bounds import Prox
from mpiopt.transforms.transform import Transform, chain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SEED = 3
EPSILON = 0.5  # of problems 2 and 3
CYCLE = np.array([[-3.0, 2, 2], [2, -3, 2], [2, 2, -3]])  # the a_i of problem 4
ETA = 0.01  # step size there
SHARED = 0  # problem 3 with a row on each of two workers, who look at it in every step


@dataclass(frozen=True)
class Slopes(Landscape):
    """The mean of c_i x, x a number, over rows i."""

    c: tuple[float, ...]
    dim = 1

    @property
    def rows(self) -> int:
        """As many as there are c_i."""
        return len(self.c)

    def value_grad(self, at: Point, rows: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """Value and gradient (1,)."""
        slope = float(np.mean(np.asarray(self.c) if rows is None else np.asarray(self.c)[rows]))
        return slope * float(at.x[0]), np.array([slope])


@dataclass(frozen=True)
class Valley(Landscape):
    """epsilon |x + y| + |x - y|; where an argument is 0 the subgradient is that of its right side."""

    epsilon: float
    dim = 2

    def value_grad(self, at: Point) -> tuple[float, np.ndarray]:
        """Value and a subgradient (2,)."""
        x, y = at.x
        along, across = (1 if x + y >= 0 else -1) * self.epsilon, 1 if x >= y else -1
        return self.epsilon * abs(x + y) + abs(x - y), np.array([along + across, along - across], float)


@dataclass(frozen=True)
class Problem:
    """losses : of the workers; start : (dim,), the same for all; single : look at one row in each step."""

    losses: tuple[Loss, ...]
    start: np.ndarray
    rounds: int
    lr: Schedule
    penalty: Penalty = field(default_factory=Zero)
    box: Box | None = None  # every step ends in it
    sample: Callable[[int, int], Callable[[int], np.ndarray]] | None = None

    def team(self, world) -> Team:
        """The workers that a rank hosts. Collective."""
        samples = None if self.sample is None else [self.sample(self.losses[w].rows, w) for w in world.hosted]
        return Team.of(world, [self.losses[w] for w in world.hosted], self.penalty, SEED, samples)

    @property
    def rule(self) -> Transform:
        """Plain steps, back into the box where there is one."""
        plain = rules.sgd(self.lr)
        return plain if self.box is None else chain(plain, Prox(self.box.prox, self.lr))


def one_row(rows: int, worker: int) -> Callable[[int], np.ndarray]:
    """One row in each step, with replacement."""
    return lambda step: Streams(SEED)("row", step, worker).integers(rows, size=1)


def problems(seed: int = 0) -> dict[int, Problem]:
    """All of them; the seed is that of the sixth."""
    tilted = EPSILON * np.ones((2, 2)) + np.array([[1.0, -1], [-1, 1]])
    halves = [regression(2 * row[None], np.zeros(1)) for row in tilted]
    own = [regression(np.sqrt(2) * row[None], np.zeros(1)) for row in CYCLE]
    votes = [regression(np.ones((1, 1)), np.array([c])) for c in (1.0, 1.0, -3.0)]
    return {
        1: Problem((Slopes((4.0, -1, -1, -1)),), np.zeros(1), 2000, Constant(0.004), box=Box(-1, 1), sample=one_row),
        2: Problem((Valley(EPSILON),), np.ones(2), 400, Cosine(0.05, 400)),
        3: Problem((regression(2 * tilted, np.zeros(2)),), np.ones(2), 400, Constant(0.05), sample=one_row),
        SHARED: Problem(tuple(halves), np.ones(2), 400, Constant(0.05)),
        4: Problem(tuple(own), np.ones(3), 3200, Constant(ETA), L2(0.5)),
        5: Problem(tuple(votes), np.zeros(1), 400, Constant(0.05)),
        6: Problem(tuple(uneven(seed)), np.zeros(10), 2500, Constant(0.004), sample=lambda rows, worker: drawn),
    }


def uneven(seed: int = 0, workers: int = 4, dim: int = 10, apart: float = 0.55, noise: float = 0.19) -> list[Noisy]:
    """Quadratics with curvatures and centres of their own, and noise."""
    losses = []
    for worker in range(workers):
        stream = Streams(seed)("uneven", 0, worker)
        a = np.diag(np.sqrt(dim * stream.uniform(1, 2, dim)))
        losses.append(Noisy(regression(a, a @ (apart * stream.standard_normal(dim))), noise, Streams(seed), worker))
    return losses


def method(problem: Problem, compress: str | None, link: str = "plain") -> Training:
    """SGD with compressed gradients, also where no theory allows them."""
    plain = sgd(problem.rule)
    return plain if compress is None else linked(plain, "sgd", compress, link, force=True)


SIGNS = {"sign": ("sign",), "EF": ("scaled_sign", "ef"), "EF21": ("scaled_sign", "ef21")}
LARGEST = {"top-1": ("topk:k=1",), "EF": ("topk:k=1", "ef"), "EF21": ("topk:k=1", "ef21")}
RUNS: dict[int, dict[str, tuple]] = {
    1: {"SGD": (None,), **SIGNS, "EF": ("sign", "ef")},
    2: SIGNS,
    3: {"SGD": (None,), "sign": SIGNS["sign"], "EF": SIGNS["EF"]},
    SHARED: SIGNS,
    4: LARGEST,
    5: {"vote": ("vote",), "EF": SIGNS["EF"], "EF21": SIGNS["EF21"]},
    6: {"SGD": (None,), **LARGEST},
}


def run(lab: Lab) -> Findings:
    """Collective."""
    checks: list[Check] = []
    trails: dict[tuple[int, str], Trail] = {}
    errors: dict[str, list[float]] = {}
    for number in lab.pick((1, 2, 3, SHARED, 4, 5), (2, SHARED, 4, 5)):
        mine = _runs(lab, number, problems()[number], lab.quick and number == 4)
        trails |= {(number, name): trail for name, trail in mine.items()}
        checks += CHECKS[number](mine)
    for seed in lab.pick(lab.seeds, ()):
        problem = problems(seed)[6]
        mine = _runs(lab, 6, problem)
        trails |= {(6, name): trail for name, trail in mine.items() if seed == lab.seeds[0]}
        for name, trail in mine.items():
            errors.setdefault(name, []).append(error(trail, problem))
    checks += [Check.over(f"6 {name}: |x - x*|^2", SIXTH[name], values) for name, values in errors.items()]
    return Findings(checks, list(trails.values()), NOTES, {"trails": trails})


def _runs(lab: Lab, number: int, problem: Problem, one: bool = False) -> dict[str, Trail]:
    """All runs of a problem by name, or the first. Collective."""
    return {name: follow(lab, problem, number, name, how) for name, how in list(RUNS[number].items())[: 1 if one else None]}


def follow(lab: Lab, problem: Problem, number: int, name: str, how: tuple) -> Trail:
    """A run of a problem; that of top-1 on problem 4 is short, since it grows. Collective."""
    rounds = 400 if (number, name) == (4, "top-1") else problem.rounds
    return lab.follow(
        f"{number}-{name.lower()}",
        method(problem, *how),
        len(problem.losses),
        problem.team,
        problem.start,
        rounds,
        every=max(1, rounds // 200),
        about={"method": name},
    )


def late(trail: Trail) -> float:
    """The mean of a one-dimensional answer over the second half of a run."""
    return float(trail.points[len(trail.points) // 2 :].mean())


def growth(trail: Trail) -> float:
    """By what the answer is multiplied in a round, in the mean."""
    return float(np.linalg.norm(trail.x) / np.linalg.norm(trail.points[0])) ** (1 / trail.rounds)


def error(trail: Trail, problem: Problem) -> float:
    """Mean squared distance from the optimum over the second half of a run."""
    goal = optimum([each.loss for each in problem.losses if isinstance(each, Noisy)])
    distances = trail.distances(goal)
    return float(distances[len(distances) // 2 :].mean())


def _first(found: dict[str, Trail]) -> list[Check]:
    wanted = {"SGD": Equal(-0.98, 0.01), "sign": Equal(1, 0.01), "EF": Equal(-1, 0.02), "EF21": Equal(-0.98, 0.01)}
    return [Check(f"1 {name}: x (worst 1, best -1)", wanted[name], late(trail)) for name, trail in found.items()]


def _second(found: dict[str, Trail]) -> list[Check]:
    wanted: dict[str, Wanted] = {"sign": Equal(1, 1e-3), "EF": Below(2.7e-3), "EF21": Below(2.7e-3)}
    checks = [Check(f"2 {name}: f", wanted[name], trail.objective) for name, trail in found.items()]
    return [*checks, Check("2 sign: x1 + x2", Equal(2, 1e-12), float(found["sign"].x.sum()))]


def _third(found: dict[str, Trail]) -> list[Check]:
    wanted: dict[str, Wanted] = {"SGD": Below(2e-14), "sign": Equal(2.37, 0.38), "EF": Below(2e-14)}
    checks = [Check(f"3 {name}: f", wanted[name], trail.objective) for name, trail in found.items()]
    return [*checks, Check("3 sign: x1 + x2", Equal(2, 1e-12), float(found["sign"].x.sum()))]


def _shared(found: dict[str, Trail]) -> list[Check]:
    wanted: dict[str, Wanted] = {"sign": Equal(2, 1e-12), "EF": Below(2e-14), "EF21": Below(2e-14)}
    return [Check(f"3 on two workers, {name}: f", wanted[name], trail.objective) for name, trail in found.items()]


def _fourth(found: dict[str, Trail]) -> list[Check]:
    checks = [Check("4 top-1: growth - 1, 11 eta / 6", Equal(11 * ETA / 6, 1e-6), growth(found["top-1"]) - 1)]
    exact = [name for name in found if name != "top-1"]
    return [*checks, *(Check(f"4 {name}: |x|", Below(1e-15), float(np.linalg.norm(found[name].x))) for name in exact)]


def _fifth(found: dict[str, Trail]) -> list[Check]:
    wanted: dict[str, Wanted] = {"vote": Equal(1, 1e-9), "EF": Equal(-1 / 3, 1e-9), "EF21": Equal(-1 / 3, 1e-9)}
    checks = [Check(f"5 {name}: x (optimum -1/3)", wanted[name], float(trail.x[0])) for name, trail in found.items()]
    return [Check("5 vote: first step over its size", Equal(1), float(np.sign(found["vote"].points[1, 0]))), *checks]


SIXTH: dict[str, Wanted] = {"SGD": Near(1.4e-4, 2), "top-1": Near(0.48, 2), "EF": Near(2.2e-4, 2), "EF21": Below(0.0048)}
CHECKS = {1: _first, 2: _second, 3: _third, SHARED: _shared, 4: _fourth, 5: _fifth}
NOTES = (
    "1: min x/4 on [-1, 1], gradient 4 or -1; means over the second half. EF with the unscaled sign; of one number the scaled "
    "sign of EF21 is the number itself.\n2: |x1 + x2| / 2 + |x1 - x2| from (1, 1), step size falling to 0.\n3: "
    "<a1, x>^2 + <a2, x>^2, one of the two drawn in each step. EF21 needs exact gradients, as on two workers with one each.\n"
    "4: <a_i, x>^2 + |x|^2 / 4 on three workers, eta 0.01.\n5: (x - c)^2 / 2 with c = 1, 1, -3, so that the gradients at 0 are "
    "-1, -1, 3: their mean is positive, the vote is not.\n6: quadratics of 4 workers with noise, d = 10, eta 0.004, means over "
    "the second half. A toy of our own, expected as an earlier one was; for EF21 a hundredth of top-1's: it averages no noise. "
    "found, +-: mean and standard deviation over ten seeds."
)


def draw(found: Findings) -> "Figure":
    """How far each goes, problem by problem."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, logarithmic, sheet

    trails = found.facts["trails"]
    numbers = list(dict.fromkeys(number for number, _ in trails))
    colours = {"EF": 0, "EF21": 1, "SGD": 2, "sign": 3, "top-1": 3, "vote": 3}
    with sheet(-(-len(numbers) // 2), rows=2, width=4, height=3.2) as (figure, panels):
        for panel, number in zip(panels.ravel(), numbers, strict=False):
            label, value = LOOKS[number]
            for name, colour in colours.items():
                if (number, name) in trails:
                    trail = trails[number, name]
                    shown = name if colour < 3 else "compressed only"
                    dashes = {"linestyle": (0, (4, 2))} if name == "EF21" else {}  # it lies on EF's where both are exact
                    curve(panel, trail.readings["round"], value(trail), colour, shown, **dashes)
            panel.set(title=f"{number or '3 on two workers'}: {label}", xlabel="rounds")
            if number not in (1, 5):
                logarithmic(panel, 1e-20)
        for panel in panels.ravel()[len(numbers) :]:
            panel.set_axis_off()
        fullest = next((panels.ravel()[k] for k, n in enumerate(numbers) if n == 1), panels[0, 0])
        legend(figure, fullest, 4)
        return figure


def _gap(trail: Trail) -> np.ndarray:
    return trail.readings["objective"]


LOOKS = {
    1: ("x", lambda trail: trail.points[:, 0]),
    2: ("f", _gap),
    3: ("f", _gap),
    SHARED: ("f", _gap),
    4: ("|x|", lambda trail: np.linalg.norm(trail.points, axis=1)),
    5: ("x", lambda trail: trail.points[:, 0]),
    6: ("|x - x*|^2", lambda trail: trail.distances(optimum([each.loss for each in uneven()]))),
}
