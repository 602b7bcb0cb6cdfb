"""SGD that counts out the rows of a step itself, so that an accuracy takes the least work: `sgd_as` of all laws, or of none.

Of tau rows, every set of so many as likely, steps to E |x - x*|^2 <= accuracy are max(2 smoothness, 4 noise / (accuracy mu)) /
mu times a logarithm; both constants are measured, so that tau times that is known before any step is made. Smoothness belongs
to the rows. The noise is that of the gradients at the optimum, in whose place those at x stand: they are looked at anew once
all rows have been seen, and then whenever the rounds have doubled.

Gower, Loizou, Qian, Sailanbayev, Shulgin, Richtarik, SGD: general analysis and improved rates, ICML 2019, section 4.2; noise at
the present point as in Alfarra, Hanzely, Albasyoni, Ghanem, Richtarik, Adaptive learning of the optimal mini-batch size of SGD,
2020. Draws of several workers together are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.forms import Taken
from mpiopt.engine.method import Run
from mpiopt.engine.phase import PerWorker, Phase
from mpiopt.errors import UsageError
from mpiopt.exchange.mean import Mean
from mpiopt.methods.entry import Entry
from mpiopt.methods.sampled_descent import SampledDescent, joint
from mpiopt.numerics.schedules import demand
from mpiopt.outer.descend import Chosen, Falling
from mpiopt.problems.problem import Point, Team
from mpiopt.sampling.constants import RowConstants, gradient_squares
from mpiopt.sampling.laws import Nice
from mpiopt.sampling.plans import GOWER, plan_of
from mpiopt.work.drawn import DrawnRows, Sized, SizedRows

EXACT, MORE = 64, 64  # sizes that are tried: all up to so many, and so many up to all rows


@dataclass(frozen=True)
class ChosenDescent(SampledDescent):
    """See the head of this file. accuracy : of E |x - x*|^2."""

    accuracy: float = field(default=1e-3, kw_only=True)
    _known: dict[int, tuple[Any, RowConstants]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def init(self, x: Array, team: Team[Any]) -> Run:
        """At x, nothing chosen yet. Collective. Raises CapabilityError on every rank where rows have no constants."""
        states = self._states(x, team)
        self._of_rows(team)
        return Run(PerWorker(Point(x) for _ in team.sites), None, states._replace(outer=Chosen()))

    def step(self, run: Run, team: Team[Any]) -> Run:
        """One, of as many rows as were found when they were looked at last. Collective."""
        return super().step(self._looked(run, team) if run.round == run.states.outer.again else run, team)

    def _of_rows(self, team: Team[Any]) -> list[RowConstants]:
        """What does not change with x, found when it is first asked for, after a restart too. Collective."""
        with team.world.together("looking at the rows"):
            if any(self._known.get(site.worker, (None,))[0] is not site.loss for site in team.sites):
                found = zip(team.sites, self._constants(team)[1], strict=True)
                self._known.update({site.worker: (site.loss, c) for site, c in found})
        return [self._known[site.worker][1] for site in team.sites]

    def _looked(self, run: Run, team: Team[Any]) -> Run:
        """With the rows of a step counted out at the present point. Collective: 3 small messages."""
        mu, x = team.penalty.l2, run.points[0].x
        known = [here(c, site.loss, mu, x) for c, site in zip(self._of_rows(team), team.sites, strict=True)]
        size, smoothness, rows = counted_out(team, known, self.accuracy)
        why = f"rows of a step, of each worker; least work to |x - x*|^2 = {self.accuracy:g}, as of round {run.round:,}"
        again = max(2 * run.round, run.round + -(-rows // size))
        outer = Chosen(max(smoothness, mu), mu, again, Taken(f"nice:{size}", why))
        works = (PerWorker(Sized(size) for _ in team.sites),)
        return run._replace(states=run.states._replace(works=works, outer=outer))


def here(c: RowConstants, loss: Any, l2: float, x: Array) -> RowConstants:
    """The constants with the gradients at x (dim,)."""
    squares, mean = gradient_squares(loss, l2, x)
    return replace(c, squares=squares, mean=mean)


def counted_out(team: Team[Any], known: Sequence[RowConstants], accuracy: float) -> tuple[int, float, int]:
    """The rows of each worker's step by which ``accuracy`` takes the fewest, the expected smoothness of such steps, and the
    rows of the worker with most. known : of the hosted workers. Collective: 3 small messages."""
    mu, world = team.penalty.l2, team.world
    most = int(world.extremes(np.array([max(site.loss.rows for site in team.sites)]), "rows")[1][0])
    tried = sizes(most)
    laws = [[Nice(site.loss.rows, min(size, site.loss.rows)) for size in tried.tolist()] for site in team.sites]
    smooth = joint(
        team,
        np.array([[law.smoothness(c) for law in each] for each, c in zip(laws, known, strict=True)]),
        [c.whole for c in known],
    )
    parts = [
        site.share**2 * np.array([law.noise(c) for law in each]) for site, each, c in zip(team.sites, laws, known, strict=True)
    ]
    noise = world.total(parts, "noise")
    best = int(np.argmin(tried * np.maximum(2 * smooth, 4 * noise / (accuracy * mu))))
    return int(tried[best]), float(smooth[best]), most


def sizes(rows: int) -> np.ndarray:
    """The minibatches of so many rows that are tried, ascending."""
    wide = np.geomspace(1, rows, MORE).round().astype(np.int64)
    return np.unique(np.concatenate([np.arange(1, min(rows, EXACT) + 1), wide]))


def sgd_as(sampling: str | None = None, accuracy: float | None = None) -> SampledDescent:
    """SGD with any sampling, by theory's steps: constant, then falling.

    sampling : nice:64, single:importance, independent:count=32, partition:blocks=100, of each worker's rows; 64 rows, or as
    many as there are, unless given. accuracy : in its place, the mean squared distance from the optimum that is to be reached
    in the least work, for which the method finds the rows of a step itself.
    """
    if accuracy is None:
        work = DrawnRows(None if sampling is None else plan_of(sampling))
        return SampledDescent(None, (Phase(work, Mean()),), Falling(), dvectors=11)
    demand(0 < accuracy < np.inf, "`accuracy`", accuracy, "a finite number above 0")
    if sampling is not None:
        raise UsageError(
            f"`sampling={sampling}` says which rows a step looks at, and `accuracy={accuracy:g}` lets sgd_as find how many: "
            "give one of the two"
        )
    return ChosenDescent(None, (Phase(SizedRows(), Mean()),), Falling(), dvectors=11, accuracy=accuracy)


ENTRIES = (Entry(sgd_as, GOWER),)
