"""OWL-QN: L-BFGS for l1 penalties, from orthant to orthant.

    d   = -H^-1 times the shortest subgradient, H from the smooth part; entries that do not point against it are left out
    x  <- the first of x + d, x + d/2, x + d/4, ... that decreases F enough, coordinates that leave the orthant being 0; before
          anything is known of H, of such multiples of the minimiser along d

Andrew, Gao, Scalable training of L1-regularized log-linear models, 2007, algorithm 1. Without an l1 part it is L-BFGS with a
search by halving.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.phase import Joint, Outer, PerWorker
from mpiopt.errors import CapabilityError
from mpiopt.outer.line_search import differences
from mpiopt.outer.quasi_newton import Secant, Secants, inverse_product, remembered
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Message, Point, Team, mean_scalars
from mpiopt.problems.protocols import Margins, Penalty

ENOUGH = 1e-4  # of the decrease that the subgradient promises
HALVINGS = 40


@dataclass(frozen=True)
class Orthantwise(Outer):
    """OWL-QN with ``memory`` pairs, for elastic nets."""

    needs: ClassVar[type] = Margins
    memory: int = 10

    def init(self, x: Array, team: Team[Margins]) -> Secants:
        """No pairs yet. Raises CapabilityError on every rank for other penalties."""
        _elastic_net(team.penalty)
        none = np.zeros(0)
        return Secants((), none, none, none)

    def __call__(self, agreed: Message, points: PerWorker, state: Secants, here: Joint[Margins]) -> tuple[PerWorker, Secants]:
        """A small sum for every step that is tried. Collective."""
        team, x, pairs = here.team, points[0].x, state.pairs
        penalty = _elastic_net(team.penalty)
        smooth, slope = agreed.vector + penalty.grad(x), penalty.residual(x, agreed.vector)
        if state.x.size:
            pairs = remembered(pairs, Secant(x - state.x, smooth - state.gradient), self.memory)
        kinked = np.arange(x.size) < x.size - penalty.free if penalty.l1 else np.zeros(x.size, bool)
        p = -inverse_product(pairs, slope, state.scale)
        p[kinked & (p * slope >= 0)] = 0
        side = np.where(x != 0, np.sign(x), -np.sign(slope))
        t = 1.0 if pairs else _reach(team, points, slope, p)
        for _ in range(HALVINGS):
            trial = x + t * p
            trial[kinked & (trial * side < 0)] = 0
            margins = [site.loss.margins(trial) for site in team.sites]
            (change,), (promised,) = differences(team, points, slope, [trial - x], [[one] for one in margins])
            if change <= ENOUGH * promised < 0:
                moved = PerWorker(Point(trial, one) for one in margins)
                return moved, Secants(pairs, x, smooth, state.scale)
            t /= 2
        return points, Secants((), state.x[:0], state.x[:0], state.scale)


def _elastic_net(penalty: Penalty) -> ElasticNet:
    """The penalty, if it is one; raises CapabilityError."""
    if not isinstance(penalty, ElasticNet):
        raise CapabilityError("owlqn moves from orthant to orthant, and knows no walls: use `method=prox_newton`")
    return penalty


def _reach(team: Team[Margins], points: PerWorker, slope: Array, p: Array) -> float:
    """How far along p the minimiser of the model of second order is: a first step, of which no units are known. Collective."""
    rows = [site.loss.margins(p)[None, :] for site in team.sites]
    parts = [site.loss.plane(at, row, np.zeros(1)) for site, at, row in zip(team.sites, points, rows, strict=True)]
    _, _, bend, promised, ridge = mean_scalars(team, parts, "search", [(slope, p), (team.penalty.grad(p), p)]).tolist()
    return -promised / (bend + ridge) if bend + ridge > 0 else 1.0
