"""Catalyst: any method for smooth objectives, accelerated from outside.

Stage t approximately minimises  F_t(w) = F(w) + (tau/2)|w - y|^2  by a few steps of the inner method begun at w, and then

    q = l2 / (l2 + tau),   zeta'^2 = (1 - zeta') zeta^2 + q zeta',   y = w + zeta (1 - zeta) / (zeta^2 + zeta') (w - last w)

Lin, Mairal, Harchaoui, A universal catalyst for first-order optimization, 2015; with DANE inside it is AIDE (Reddi, Konecny,
Richtarik, Poczos, Smola, AIDE: fast and communication efficient distributed optimization, 2016, algorithm 2). The inner
method sees F_t through its gradient, grad F(w) + tau (w - y), and through a local model whose mu is tau: on F_t that is DANE
without a mu of its own. The gradient of F at w is what the inner method evaluates anyway, so w is recorded as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any, NamedTuple

from mpiopt.arrays import Array
from mpiopt.engine.method import Composed, Measured, Named, Run, States
from mpiopt.methods.dane import server_dane
from mpiopt.methods.entry import Entry
from mpiopt.methods.ranges import within
from mpiopt.problems.problem import Message, Point, Team
from mpiopt.problems.protocols import Margins
from mpiopt.work.server import server_mu


class Stage(NamedTuple):
    """A stage under way; y and the w that it began with are (dim,)."""

    inner: States
    y: Array
    begun: Array
    zeta: float
    tau: float


@dataclass(frozen=True)
class Catalyst(Named):
    """``steps`` steps of ``inner`` a stage; tau : the team -> tau, asked once, at the start, and may be collective."""

    inner: Composed
    tau: Callable[[Team[Any]], float]
    steps: int = 1
    dvectors: int = 18

    def init(self, x: Array, team: Team) -> Run:
        """The inner method's start; y = w = x, zeta = sqrt(q), or 1 where l2 is 0. Collective."""
        self.check(team, *self.inner.blocks)
        tau, l2 = self.tau(team), team.penalty.l2
        run = self.inner.init(x, team)
        return run._replace(states=Stage(run.states, x, x, sqrt(l2 / (l2 + tau)) if l2 > 0 else 1.0, tau))

    def step(self, run: Run, team: Team) -> Run:
        """One step of the inner method on F_t, and a new y at the end of a stage. Collective."""
        stage, tau = run.states, run.states.tau
        pulled = Message(run.agreed.vector + tau * (run.points[0].x - stage.y), run.agreed.scalars)
        run = self.inner.step(run._replace(agreed=pulled, states=stage.inner), team)
        stage = stage._replace(inner=run.states)
        if run.round % self.steps == 0:
            w, l2 = run.points[0].x, team.penalty.l2
            q = l2 / (l2 + tau) if l2 + tau > 0 else 1.0  # with no tau there is nothing to make up for
            zeta, b = extrapolation(stage.zeta, q)
            stage = stage._replace(y=w + b * (w - stage.begun), begun=w, zeta=zeta)
        return run._replace(states=stage)

    def measure(self, run: Run, team: Team) -> Measured:
        """Of w, from the inner method's agreement. Collective: one small sum."""
        return self.inner.measure(run, team)

    def answer(self, run: Run, team: Team) -> Point:
        """w, not y."""
        return run.points[0]


def extrapolation(zeta: float, q: float) -> tuple[float, float]:
    """zeta' in (0, 1] and the weight of w - last w."""
    square = zeta * zeta
    following = 0.5 * (q - square + sqrt((square - q) * (square - q) + 4 * square))
    return following, float(zeta * (1 - zeta) / (square + following))


def aide(server_rows: int | None = None, tau: float | None = None, steps: int = 1, accuracy: float = 1e-6) -> Catalyst:
    """AIDE: Catalyst acceleration of DANE by one server.

    tau : what mu is to server_dane, and found as it is; steps : DANE steps a stage.
    """

    within(1, steps=steps)

    def found(team: Team[Margins]) -> float:
        return server_mu(team, server_rows) if tau is None else tau

    return Catalyst(server_dane(server_rows, tau, accuracy=accuracy), found, steps)


ENTRIES = (
    Entry(
        aide,
        "Reddi, Konecny, Richtarik, Poczos, Smola, AIDE: fast and communication efficient distributed optimization, 2016",
        "tau, a server sample (default: both found from the rows of worker 0)",
    ),
)
