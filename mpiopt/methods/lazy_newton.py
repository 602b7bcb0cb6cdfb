"""LazyNewton: Newton's method from the summed Hessian, which is kept while it serves.

A new Hessian is d (d + 1) / 2 numbers, in float32 where that is exact enough; a round with the one at hand is a gradient. It is
kept as long as the Newton decrement g.H^-1 g falls well; the plane search with its last steps makes a conjugate gradient
method of such rounds. Doikov, Chayti, Jaggi, Second-order optimization with lazy Hessians, 2023; the plane search is ours.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np

from mpiopt.arrays import Array, beside, namespace
from mpiopt.engine.forms import Extent
from mpiopt.engine.method import HessianAtHand, Measured, Named, Run, measured
from mpiopt.engine.phase import Joint, PerWorker
from mpiopt.errors import CapabilityError
from mpiopt.kernels.definite import Factor
from mpiopt.outer.line_search import refuse_kinks
from mpiopt.outer.plane_search import PlaneMemory, PlaneSearch
from mpiopt.problems.problem import Message, Point, Team, gradient, mean
from mpiopt.problems.protocols import Margins
from mpiopt.work.hessian import triangle

WELL = 0.03  # of the decrement before: a Hessian with which it falls less is made anew
SINGLE = 2.0**-26  # of the Hessian's trace: an l2 above it is more than float32 rounds off
RANGE = 1e25  # of a trace of which float32 holds all that matters, as it does up to 1e38
NOISE = float(np.finfo(float).eps)  # of F: a decrement below is rounding, which no Hessian cures


class KeptHessian(NamedTuple):
    """The factored Hessian at hand, None before the first, and the step that it leads to, (0,) where a new one is due.

    decrement : -g.step, about twice what F lies above its minimum. single : whether Hessians are sent in float32.
    """

    factor: Factor | None
    step: Array
    decrement: float
    single: bool
    plane: PlaneMemory


def fits_single(extent: Extent) -> bool:
    """Whether float32 holds of a Hessian what matters."""
    trace = extent.bend * extent.squares
    return extent.columns and 1 / RANGE < trace < RANGE and extent.l2 > SINGLE * trace


@dataclass(frozen=True)
class LazyNewton(Named):
    """x <- plane search from -H^-1 grad F and the last steps, H of this point or of one before.

    most : coefficients that it takes. plane : the search.
    """

    most: int = 1500
    plane: PlaneSearch = field(default_factory=lambda: PlaneSearch(wide=True))
    needs: ClassVar[type] = Margins

    @property
    def dvectors(self) -> int:
        """With ``most`` coefficients: what a sum of Hessians takes, and two factors, are halves of so many."""
        return 40 + 5 * self.most // 2

    def init(self, x: Array, team: Team[Any]) -> Run:
        """Evaluate at x. Collective: one vector round. Raises CapabilityError on every rank."""
        if x.size > self.most:
            raise CapabilityError(
                f"{self.name} sums Hessians of up to {self.most:,} coefficients, and here are {x.size:,}: use `form=counts`"
            )
        self.check(team, self)
        refuse_kinks(team.penalty)
        points = PerWorker(site.loss.point(x) for site in team.sites)
        return self.onward(Run(points, gradient(team, points), ()), team)

    def onward(self, run: Run, team: Team[Any]) -> Run:
        """See `Onward`. Collective: one small sum."""
        single, x = fits_single(Extent.of(team)), run.points[0].x
        return run._replace(states=KeptHessian(None, x[:0], np.inf, single, self.plane.init(x, team)))

    def step(self, run: Run, team: Team[Any]) -> Run:
        """One round; with a Hessian where one is due. Collective: one vector round, and a sum of a Hessian."""
        kept = run.states
        if not kept.step.size:
            kept = self._stepped(kept._replace(factor=self._summed(run.points, kept.single, team)), run, team)
        points = PerWorker(at._replace(gradient=run.agreed.vector) for at in run.points)
        message = Message(kept.step, np.empty(0))
        points, plane = self.plane(message, points, kept.plane, Joint(team, run.round))
        run = Run(points, gradient(team, points), (), run.round + 1)
        after = self._stepped(kept._replace(plane=plane), run, team)
        if max(WELL * kept.decrement, NOISE * abs(float(run.agreed.scalars[0]))) < after.decrement:
            after = after._replace(step=kept.step[:0])  # the Hessian at hand may still show how far F is from its minimum
        return run._replace(states=after)

    def _summed(self, points: PerWorker, single: bool, team: Team[Any]) -> Factor:
        kind = np.float32 if single else np.float64
        parts = (triangle(site.loss, at) for site, at in zip(team.sites, points, strict=True))
        whole = mean(team, [Message(part.astype(kind), np.empty(0)) for part in parts], name="hessian").vector
        return Factor.of(whole, team.penalty.grad(beside(points[0].x, team.dim, 1)))

    def _stepped(self, kept: KeptHessian, run: Run, team: Team[Any]) -> KeptHessian:
        """With the step at a point, and its decrement. Collective: one small sum."""
        slope = team.penalty.residual(run.points[0].x, run.agreed.vector)
        step = namespace(slope).asarray(cast(Factor, kept.factor).solved(-slope))
        return kept._replace(step=step, decrement=-team.world.dots([(slope, step)])[0])

    def measure(self, run: Run, team: Team[Any]) -> Measured:
        """From the gradient at hand. Collective: one small sum."""
        return measured(team, run.points[0].x, run.agreed)

    def answer(self, run: Run, team: Team[Any]) -> Point:
        """The common point."""
        return run.points[0]

    def at_hand(self, run: Run, team: Team[Any]) -> HessianAtHand | None:
        """See `Inverting`."""
        kept: KeptHessian = run.states
        factor = kept.factor
        return None if factor is None else HessianAtHand(kept.decrement, lambda r: namespace(r).asarray(factor.solved(r)))
