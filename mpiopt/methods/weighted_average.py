"""Averages of models that workers fit to their own rows, weighed by a fit on one worker's rows.

    round     z_w = argmin f_w + penalty, each worker for itself                         a vector from each
              v   = argmin of the mean loss of worker 0's rows at x = sum_w v_w z_w, and (merge/2)|v|^2
              x   = sum_w v_w z_w                                                         one vector round
    acowa     f_w also has two rows of every worker, the centres of its classes, which count for as many rows as they are of;
              in the second round feature j has the l1 of l1 (1/s_j) / mean(1/s), s_j = 1 + gain * share of the z_w that have j

Later rounds repeat the last with the newest z_w; those of owa change nothing. Of some values of `merge` the one is taken at
which F is lowest on worker 0's rows (the papers look for the best accuracy on held-out ones), and means are divided by all
weights, the centres' among them: both are ours. Izbicki, Shelton, Distributed
learning of non-convex linear models with one round of communication, 2019; Lu, Curtin, Raff, Ferraro, Holt, Optimizing the
optimal weighted average: efficient distributed sparse classification, 2025, whose constants (gain = 10, a centre counts for
its rows) are those of its authors' program.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Measured, Method, Named, Run, measured
from mpiopt.engine.phase import PerWorker
from mpiopt.errors import CapabilityError
from mpiopt.kernels.csr import CSR
from mpiopt.methods.entry import Entry
from mpiopt.methods.ranges import within
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Point, Site, Team, gradient
from mpiopt.problems.protocols import Columns
from mpiopt.problems.surrogate import Reference
from mpiopt.work.exact import Exact
from mpiopt.work.kinked_newton import KinkedNewton
from mpiopt.work.server import occupied

MERGES = tuple(10.0 ** (k / 2) for k in range(-8, 5))


class Models(NamedTuple):
    """What all ranks have of all workers: their models (workers, dim), (0, dim) before the first round; and of each the two
    centres, the features' means, with their weights and offsets, (2 workers, features + 2), (0, features + 2) of owa."""

    fitted: Array
    centres: Array


@dataclass(frozen=True)
class WeightedAverage(Named):
    """See above. gain : 0 for l1 alike in all features. centres : whether workers have those of all."""

    gain: float
    merge: float | None
    accuracy: float
    centres: bool
    needs: ClassVar[type] = Columns

    @property
    def dvectors(self) -> int:
        """Of one worker; a rank holds one more of each other worker, three with ``centres``."""
        return 18 if self.centres else 16

    def init(self, x: Array, team: Team[Columns]) -> Run:
        """Tell of the centres. Collective: a gather of two vectors of each worker. Raises CapabilityError on every rank."""
        self.check(team, self)
        with team.world.together("setting up the method"):
            self._demand(team)
            own = [_centres(site.loss) if self.centres else _nothing(site.loss) for site in team.sites]
        centres = np.concatenate(team.world.gather(np.concatenate(own), "centres")) if self.centres else own[0]
        return Run(PerWorker(site.loss.point(x) for site in team.sites), None, Models(np.zeros((0, x.size)), centres))

    def _demand(self, team: Team[Columns]) -> None:
        loss, penalty = team.sites[0].loss, team.penalty
        if not isinstance(loss.matrix, CSR):
            raise CapabilityError(f"{self.name} works on the CPU: leave `device=gpu` out, or use `method=spcg`")
        if self.centres and not loss.family.labels.classes:
            raise CapabilityError(
                f"{self.name} adds the centres of two classes, and the {loss.family.name} loss has none: use `method=spcg`"
            )
        if not isinstance(penalty, ElasticNet):
            raise CapabilityError(
                f"{self.name} combines models, and a combination does not stay within a {type(penalty).__name__}: use "
                "`method=prox_gradient`"
            )
        if team.sites[0].worker == 0:
            occupied(team.sites[0])

    def step(self, run: Run, team: Team[Columns]) -> Run:
        """One round. Collective: a gather of a vector of each worker, a broadcast."""
        models, world = run.states, team.world
        own = [self._fitted(site, models) for site in team.sites]
        fitted = np.concatenate(world.gather(np.array(own), "models"))
        x = merged(team.sites[0], fitted, self.merge, self.accuracy) if world.rank == 0 else np.zeros(team.dim)
        world.bcast(x, name="average")
        points = PerWorker(site.loss.point(x) for site in team.sites)
        return Run(points, None, models._replace(fitted=fitted), run.round + 1)

    def _fitted(self, site: Site[Columns], models: Models) -> Array:
        """This worker's minimiser, (dim,)."""
        loss = with_rows(site.loss, models.centres)
        if not loss.weight > 0:
            return np.zeros(loss.dim)
        phi = Reference.of(loss, site.penalty, 0.0)
        if phi.kinks is not None and len(models.fitted):
            phi = replace(phi, kinks=phi.kinks._replace(l1=phi.kinks.l1 * leniency(models.fitted, self.gain)))
        at = Point(np.zeros(loss.dim), np.zeros(loss.rows))
        return KinkedNewton(self.accuracy)(phi, np.zeros(loss.dim), at, ())[0]

    def measure(self, run: Run, team: Team[Columns]) -> Measured:
        """Collective: a vector round of recording."""
        return measured(team, run.points[0].x, gradient(team, run.points))

    def answer(self, run: Run, team: Team[Columns]) -> Point:
        """The common point."""
        return run.points[0]


def leniency(fitted: Array, gain: float) -> Array:
    """What l1 is multiplied by in each coordinate, (dim,), of mean 1: less where more of the models (workers, dim) have it."""
    inverse = 1 / (1 + gain * (fitted != 0).mean(0))
    return inverse / inverse.mean()


def merged(site: Site[Columns], fitted: Array, merge: float | None, accuracy: float) -> Array:
    """The best combination of models (workers, dim) on the rows of one site, (dim,); None for the best of `MERGES`."""
    loss, count = site.loss, len(fitted)
    margins = np.array([loss.margins(model) for model in fitted])
    ends, places = np.arange(loss.rows + 1) * count, np.tile(np.arange(count), loss.rows)
    few = replace(loss, matrix=CSR.of(ends, places, margins.T.ravel(), (loss.rows, count)), intercept=False)
    best, least = fitted.mean(0), np.inf
    for ridge in MERGES if merge is None else (merge,):
        v = Exact(accuracy)(Reference(few, ridge, 0.0, 0), np.zeros(count), few.point(np.zeros(count)), ())[0]
        x = v @ fitted
        height = loss.value_grad(loss.point(x))[0] + site.penalty.value(x)
        if height < least:
            best, least = x, height
    return best


def _nothing(loss: Columns) -> Array:
    return np.zeros((0, loss.features + 2))


def _centres(loss: Columns) -> Array:
    """Of the rows of each class, +1 first: the mean of the features, of the offsets, and their weight; (2, features + 2)."""
    weights = loss.weights if loss.weights.size else np.ones(loss.rows)
    offsets, out = loss.shifted(np.zeros(loss.rows)), np.zeros((2, loss.features + 2))
    for line, mine in zip(out, (loss.y > 0, loss.y <= 0), strict=True):
        each = weights * mine
        total = float(each.sum())
        if total > 0:
            line[:-2] = loss.matrix.tdot(each / total)
            line[-2:] = float(offsets @ each) / total, total
    return out


def with_rows(loss: Columns, centres: Array) -> Columns:
    """The loss with two rows for each worker more, of classes +1 and -1 in turn."""
    if not len(centres):
        return loss
    a, dense = loss.matrix, centres[:, :-2]
    at = dense != 0
    indptr = np.concatenate([a.indptr - a.indptr[0], a.indptr[-1] - a.indptr[0] + np.cumsum(at.sum(1))])
    span = slice(int(a.indptr[0]), int(a.indptr[-1]))
    indices = np.concatenate([a.indices[span], np.nonzero(at)[1]])
    matrix = CSR.of(indptr, indices, np.concatenate([a.data[span], dense[at]]), (loss.rows + len(dense), loss.features))
    signs = np.tile([1.0, -1.0], len(dense) // 2)
    weights = loss.weights if loss.weights.size else np.ones(loss.rows)
    offsets = np.concatenate([loss.shifted(np.zeros(loss.rows)), centres[:, -2]])
    y, weights = np.concatenate([loss.y, signs]), np.concatenate([weights, centres[:, -1]])
    return replace(loss, matrix=matrix, y=y, weights=weights, offset=offsets)


def owa(merge: float | None = None, accuracy: float = 1e-6) -> Method:
    """The optimal weighted average: the best combination of the workers' own minimisers, in one round."""
    within(0, merge=merge)
    within(0, 1, accuracy=accuracy)
    return WeightedAverage(0.0, merge, accuracy, centres=False)


def acowa(merge: float | None = None, gain: float = 10.0, accuracy: float = 1e-6) -> Method:
    """The same of workers that know the centres of all classes, in two rounds, the second lenient where models agree."""
    within(0, merge=merge, gain=gain)
    within(0, 1, accuracy=accuracy)
    return WeightedAverage(gain, merge, accuracy, centres=True)


ENTRIES = (
    Entry(
        owa,
        "Izbicki, Shelton, Distributed learning of non-convex linear models with one round of communication, 2019",
        smooth_only=False,
    ),
    Entry(
        acowa,
        "Lu, Curtin, Raff, Ferraro, Holt, Optimizing the optimal weighted average: efficient distributed sparse "
        "classification, 2025",
        smooth_only=False,
    ),
)
