"""Error feedback costs only a lower-order term: 1 / sqrt(n T), as without compression, plus 1 / (delta^2 T).

After Stich, Karimireddy, The error-feedback framework: better rates for SGD with delayed gradients and compressed updates,
JMLR 2020, and Karimireddy, Rebjock, Stich, Jaggi, Error feedback fixes SignSGD, ICML 2019, theorem II. Quadratics of the
workers' own, with noise; for every T a run with the constant step that the rate is proved for.
"""

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Below, Check, Equal, Near
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.jobs.studies.apparatus.noisy import Noisy, drawn
from mpiopt.jobs.studies.apparatus.quadratics import regression
from mpiopt.methods.averaging import sgd
from mpiopt.methods.linked import linked
from mpiopt.numerics.streams import Streams
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Team
from mpiopt.training.method import Training
from mpiopt.transforms import rules

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEPT = {1.0: None, 0.2: "randk:k=4,scaled=no", 0.05: "randk:k=1,scaled=no"}  # delta = k / d exactly
DIM, FAR, APART, NOISE, STEP = 20, 0.3, 0.25, 1.0, 0.4  # deviations: of the common centre, of the own ones, of the noise
WORKERS = (1, 9)
TIMES = (256, 1024, 4096)
SEED = 0


def losses(workers: int) -> list[Noisy]:
    """Quadratics with curvatures from 0.2 to 1 and centres of their own around one point."""
    a = np.diag(np.sqrt(DIM * np.linspace(0.2, 1, DIM)))
    common, found = FAR * Streams(SEED)("centre").standard_normal(DIM), []
    for worker in range(workers):
        stream = Streams(SEED)("centre", 0, worker)
        found.append(Noisy(regression(a, a @ (common + APART * stream.standard_normal(DIM))), NOISE, Streams(SEED), worker))
    return found


@dataclass(frozen=True)
class Task:
    """A run of T rounds. delta : of the compressor; 1 for none."""

    workers: int
    delta: float
    time: int

    @property
    def gamma(self) -> float:
        """STEP sqrt(n / T)."""
        return STEP * (self.workers / self.time) ** 0.5

    @property
    def method(self) -> Training:
        """SGD, with error feedback where it is compressed."""
        plain = sgd(rules.sgd(self.gamma))
        kept = KEPT[self.delta]
        return plain if kept is None else linked(plain, "sgd", kept, "ef")

    def follow(self, lab: Lab) -> Trail:
        """Collective."""
        mine = losses(self.workers)

        def team(world) -> Team:
            return Team.of(world, [mine[w] for w in world.hosted], Zero(), SEED, [drawn] * len(world.hosted))

        name = f"n{self.workers}-delta{self.delta:g}-T{self.time}"
        return lab.follow(name, self.method, self.workers, team, np.zeros(DIM), self.time, every=self.time // 128)


def run(lab: Lab) -> Findings:
    """Collective."""
    times, deltas = lab.pick(TIMES, TIMES[:1]), lab.pick(tuple(KEPT), (1.0, 0.2))
    trails = {key: Task(*key).follow(lab) for key in product(WORKERS, deltas, times)}
    sizes = {key: float((trail.readings["gradient_norm"] ** 2).mean()) for key, trail in trails.items()}
    one, many = WORKERS
    last = times[-1]
    checks = [
        Check(
            f"n {many}, T {last}: SGD's gain over n 1",
            Near((many / one) ** 0.5, 1.25),
            sizes[one, 1, last] / sizes[many, 1, last],
        )
    ]
    if len(times) > 1:
        checks += _slopes(sizes)
    cost = {name: trail.readings["bytes_sent"][-1] for name, trail in trails.items()}
    checks.append(
        Check(
            "bytes: n 9, delta 0.2 over SGD",
            Equal((8 * 4 + 16) / (8 * DIM + 8), 0.01),
            cost[many, 0.2, last] / cost[many, 1, last],
        )
    )
    return Findings(checks, list(trails.values()), NOTES, {"sizes": sizes})


def slope(values: list[float]) -> float:
    """Of the logarithms of values at TIMES against those of TIMES."""
    return float(np.polyfit(np.log(TIMES), np.log(values), 1)[0])


def _slopes(sizes: dict[tuple[int, float, int], float]) -> list[Check]:
    def excess(n: int, delta: float) -> list[float]:
        return [sizes[n, delta, t] - sizes[n, 1, t] for t in TIMES]

    many = WORKERS[-1]
    found = [Check(f"n {n}: exponent of T, SGD", Equal(-0.5, 0.1), slope([sizes[n, 1, t] for t in TIMES])) for n in WORKERS]
    found += [
        Check(f"n {many}, delta {delta:g}: exponent of T, what EF adds", Equal(-1, 0.25), slope(excess(many, delta)))
        for delta in (0.2, 0.05)
    ]
    mild, strong = excess(many, 0.2), excess(many, 0.05)
    most = max(b / a for a, b in zip(mild, strong, strict=True))
    found.append(Check(f"n {many}: what EF adds, delta 0.05 over 0.2", Below(16), most))
    late = {n: sizes[n, 0.2, TIMES[-1]] / sizes[n, 1, TIMES[-1]] for n in WORKERS}
    return [*found, *(Check(f"n {n}, delta 0.2, T {TIMES[-1]}: EF over SGD", Below(1.15, 1), late[n]) for n in WORKERS)]


NOTES = (
    f"Mean of |grad f|^2 over a run of T rounds with the step {STEP:g} sqrt(n / T); d = {DIM}, delta 0.2 and 0.05 by 4 and 1 "
    "random coordinates, unscaled. 16: one 1 / delta^2 over the other. Bytes: coordinates, the running loss and a mark."
)


def draw(found: Findings) -> "Figure":
    """The mean squared gradient, and what error feedback adds to it, against T."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, logarithmic, sheet

    sizes = found.facts["sizes"]
    times = np.array(sorted({t for _, _, t in sizes}))
    deltas = sorted({delta for _, delta, _ in sizes}, reverse=True)
    with sheet(2, width=5, height=4.2) as (figure, panels):
        for (row, n), (number, delta) in product(enumerate(WORKERS), enumerate(deltas)):
            values = np.array([sizes[n, delta, t] for t in times])
            look = {"marker": "o", "linestyle": ("--", "-")[row]}
            label = f"n = {n}, " + ("SGD" if delta == 1 else f"EF, delta {delta:g}")
            curve(panels[0, 0], times, values, number, label, **look)
            if delta < 1:
                curve(panels[0, 1], times, values - [sizes[n, 1, t] for t in times], number, **look)
        for panel, power, label in zip(panels[0], (0.5, 1), ("mean |grad f|\N{SUPERSCRIPT TWO}", "what EF adds"), strict=True):
            low = panel.get_ylim()[0] if power == 1 else min(sizes.values())
            curve(panel, times, 0.6 * max(low, 1e-4) * (times[-1] / times) ** power, 6, linestyle=":")
            panel.set_xscale("log")
            panel.set_xticks(times, map(str, times))
            panel.minorticks_off()
            logarithmic(panel)
            panel.set(xlabel="T", ylabel=label, title=f"dotted: T^-{power:g}")
        legend(figure, panels[0, 0], 3)
        return figure
