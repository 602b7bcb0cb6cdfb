"""Seven update rules race on a saddle, in a long valley and on Beale's function: steps needed, and their paths.

After the animation by Alec Radford, 2014: momentum overshoots and comes back, plain gradient descent all but stops at the
saddle, rules that scale every coordinate leave it at once. Gradients are exact, so that the steps are whole numbers.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from mpiopt.comm.world import World
from mpiopt.jobs.studies import Findings
from mpiopt.jobs.studies.apparatus.checks import Above, Check, Equal
from mpiopt.jobs.studies.apparatus.lab import Lab, Trail
from mpiopt.methods.averaging import sgd as synchronous
from mpiopt.problems.landscapes import SADDLE, VALLEY, Beale
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.protocols import Loss
from mpiopt.transforms.rules import adadelta, adagrad, adam, momentum, nag, rmsprop, sgd
from mpiopt.transforms.transform import Transform

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORKERS = 2  # the mean of two equal gradients is exact
FRAMES = 100
VIEW = {"saddle": ((-1.2, 1.2), (-0.6, 1.3)), "valley": ((-10.6, 1.0), (-0.6, 1.3)), "beale": ((0.0, 3.5), (-1.5, 2.0))}


class Ground(Loss, Protocol):
    """A landscape of two coordinates."""

    @property
    def start(self) -> Sequence[float]:
        """Where runs begin."""

    @property
    def minima(self) -> Sequence[Sequence[float]]:
        """Where they may end."""


class Contest(NamedTuple):
    """Where to start, when it is done, and how many steps that took each rule; more than ``limit`` where None."""

    landscape: Ground
    goal: str
    rules: dict[str, Transform]
    steps: tuple[int | None, ...]
    limit: int = 50_000

    def done(self, x: np.ndarray) -> bool:
        """Whether x (2,) is there."""
        if self.landscape is SADDLE:
            return bool(abs(x[1]) > 1)
        if self.landscape is VALLEY:
            return self.landscape.value_grad(Point(x))[0] < 1e-3
        return bool(np.hypot(*(x - self.landscape.minima[0])) < 0.05)


def _rules(plain: float, rms: float) -> dict[str, Transform]:
    return {
        "SGD": sgd(plain),
        "momentum": momentum(plain),
        "NAG": nag(plain),
        "Adagrad": adagrad(0.5),
        "RMSprop": rmsprop(rms),
        "Adadelta": adadelta(),
        "Adam": adam(0.05),
    }


TASKS = {
    "saddle": Contest(SADDLE, "|y| > 1", _rules(0.01, 0.02), (233, 49, 47, 2, 29, 30, 20)),
    "valley": Contest(VALLEY, "f < 1e-3", _rules(0.01, 0.02), (17268, 1703, 1706, 342, 506, 2061, 384)),
    "beale": Contest(Beale(), "distance < 0.05", _rules(1e-3, 0.01), (6883, 667, 670, 642, 355, None, 591)),
}


def run(lab: Lab) -> Findings:
    """Collective."""
    trails, checks = [], []
    for name, task in TASKS.items():
        for (label, rule), steps in zip(task.rules.items(), task.steps, strict=True):
            limit = task.limit if steps is None else 2 * steps
            if lab.quick and limit > 1500:
                continue
            trail = _race(lab, f"{name}-{label.lower()}", task, rule, limit)
            trails.append(trail)
            there = task.done(trail.x)
            wanted = Above(limit) if steps is None else Equal(steps)
            checks.append(Check(f"{name}: {label}", wanted, trail.rounds if there == (steps is not None) else np.nan))
    goals = "; ".join(f"{name} from {task.landscape.start} until {task.goal}" for name, task in TASKS.items())
    return Findings(checks, trails, f"Steps needed. {goals}.")


def _race(lab: Lab, name: str, task: Contest, rule: Transform, limit: int) -> Trail:
    def team(world: World) -> Team:
        return Team.of(world, [task.landscape] * len(world.hosted), Zero())

    start = np.array(task.landscape.start)
    every = 1 if limit <= 1500 else 25 if limit > 40_000 else 10
    return lab.follow(name, synchronous(rule), WORKERS, team, start, limit, every=every, done=task.done)


def draw(found: Findings) -> "Figure":
    """The paths over contours of log f."""
    from mpiopt.jobs.studies.apparatus.canvas import curve, legend, sheet

    with sheet(3, height=4.6) as (figure, panels):
        for panel, name in zip(panels[0], TASKS, strict=True):
            _contours(panel, name)
            labels = list(TASKS[name].rules)
            for label, trail in _of(found, name).items():
                x, y = trail.points.T
                curve(panel, x, y, labels.index(label), label, linewidth=1.8)
                panel.plot(*trail.x, "o", color=panel.lines[-1].get_color(), markersize=4)
        legend(figure, panels[0, 0], 7)
        return figure


def _of(found: Findings, name: str) -> dict[str, Trail]:
    labels = {f"{name}-{label.lower()}": label for label in TASKS[name].rules}
    return {labels[trail.name]: trail for trail in found.trails if trail.name in labels}


def _contours(panel: "Axes", name: str) -> None:
    task = TASKS[name]
    (left, right), (bottom, top) = VIEW[name]
    x, y = np.linspace(left, right, 101), np.linspace(bottom, top, 101)
    f = np.array([[task.landscape.value_grad(Point(np.array([a, b])))[0] for a in x] for b in y])
    panel.contour(x, y, np.sign(f) * np.log1p(100 * abs(f)), 24, cmap="Greys", linewidths=0.6, alpha=0.7)
    panel.plot(*task.landscape.start, "k*", markersize=9)
    for minimum in task.landscape.minima:
        panel.plot(*minimum, "kx", markersize=8, markeredgewidth=2)
    panel.set(title=f"{name}: {task.goal}", xlim=(left, right), ylim=(bottom, top), xlabel="x", ylabel="y")
    panel.grid(visible=False)


def animate(found: Findings, path: "Path") -> None:
    """A GIF of the paths as they grow; the steps between two frames grow with the steps made."""
    from matplotlib.animation import FuncAnimation, PillowWriter

    from mpiopt.jobs.reports.plots import thinned

    figure = draw(found)
    figure.set_dpi(80)
    lines = [line for panel in figure.axes for line in panel.lines if line.get_marker() in ("None", "o")]
    whole = [line.get_xydata() for line in lines[::2]]
    trails = [trail for name in TASKS for trail in _of(found, name).values()]
    last = max(trail.rounds for trail in trails)

    def frame(number: int) -> None:
        step = 0 if number == 0 else round((1 + last) ** (number / FRAMES))
        for path_line, end, points, trail in zip(lines[::2], lines[1::2], whole, trails, strict=True):
            upto = max(1, int(np.searchsorted(trail.readings["round"][thinned(len(trail.points))], step, "right")))
            path_line.set_data(*points[:upto].T)
            end.set_data(*points[upto - 1 : upto].T)
        figure.suptitle(f"step {step:,}")

    FuncAnimation(figure, frame, FRAMES + 1).save(path, PillowWriter(fps=15))
