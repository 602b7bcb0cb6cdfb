"""SPAG, the statistically preconditioned accelerated gradient method.

Hendrikx, Xiao, Bubeck, Bach, Massoulie, Statistically preconditioned accelerated gradient method for distributed
optimization, ICML 2020, arXiv 2002.10726, algorithm 1; phi = f_0 + penalty + (mu/2)|x|^2, f_0 the server's sample:

    find a > 0:  a^2 L G = (A + a)(B + a sigma);   A' = A + a,  B' = B + a sigma
    alpha = a/A',  beta = a sigma/B',  eta = a/B';   y = ((1 - alpha) x + alpha (1 - beta) v) / (1 - alpha beta)
    v' = argmin  eta grad F(y).z + (1 - beta) D_phi(z, v) + beta D_phi(z, y);    x' = (1 - alpha) x + alpha v'
    accept if  D_phi(x', y) <= alpha^2 G [(1 - beta) D_phi(v', v) + beta D_phi(v', y)],  else double G

One step is one trial: a gradient at y (one vector round) and the server's v' (a broadcast). A rejected trial leaves x, v,
A and B alone and costs as much. The equations are homogeneous in (A, B, a), so B is scaled to 1 and the ratio A/B kept.
x, v and y are on every rank; their margins are combinations of what is kept per row, and A v' is the only product.

mu has a cliff: well below the largest eigenvalue of the difference of the Hessians, the objective does not fall slowly but
rises by orders of magnitude. `adaptive` finds the product M = L G from D_F itself and is safe there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Measured, Named, Run, measured
from mpiopt.engine.phase import Joint, PerRow, PerWorker, Tree
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.exchange.mean import From
from mpiopt.methods.entry import Entry
from mpiopt.methods.gains import Adaptive, Doubling, Fixed, Gain, Weights, warmed, weigh
from mpiopt.methods.ranges import above, within
from mpiopt.problems.problem import Message, Point, Site, Team, gradient, mean_scalars
from mpiopt.problems.protocols import Margins
from mpiopt.problems.surrogate import Reference
from mpiopt.work.corrected import LocalSolver
from mpiopt.work.exact import Exact
from mpiopt.work.server import occupied, sample, server_mu


class Accelerating(NamedTuple):
    """What SPAG keeps beside x."""

    v: Array  # (dim,)
    ratio: float  # A/B
    gain: float  # M = L G of the next trial
    mu: float
    sigma: float
    margins: PerRow  # of v
    memories: PerWorker  # of the server's solver


@dataclass(frozen=True)
class Spag(Named):
    """SPAG with a server sample of the first ``rows`` rows of worker 0 (all of them for None).

    mu, sigma : None for `server.server_mu` and l2 / (l2 + 2 mu).
    """

    solver: LocalSolver
    gain: Gain
    rows: int | None = None
    mu: float | None = None
    sigma: float | None = None
    warm: int = 0
    dvectors: int = 18
    needs: ClassVar[type] = Margins

    def init(self, x: Array, team: Team[Margins]) -> Run:
        """x, v = x; mu and sigma found where not given. Collective."""
        self.check(team, self)
        if not team.penalty.smooth:
            raise CapabilityError("spag minimises smooth objectives, which an l1 penalty or a box is not: use `method=fista`")
        mu = server_mu(team, self.rows) if self.mu is None else self.mu
        l2 = team.penalty.l2
        exact = 1.0 if l2 + 2 * mu == 0 else l2 / (l2 + 2 * mu)  # phi is F itself where neither regularises
        sigma = exact if self.sigma is None else self.sigma
        with team.world.together("setting up the server"):
            memories = PerWorker(
                self.solver.init(x, self._phi(occupied(site), mu)) if site.worker == 0 else () for site in team.sites
            )
        points = PerWorker(site.loss.point(x) for site in team.sites)
        rows = PerRow(at.margins.copy() for at in points)
        first = self.gain.first
        return Run(points, None, Accelerating(x, warmed(self.warm, first, sigma), first, mu, sigma, rows, memories))

    def _phi(self, site: Site[Margins], mu: float) -> Reference:
        return Reference.of(sample(site, self.rows), site.penalty, mu)

    def step(self, run: Run, team: Team[Margins]) -> Run:
        """One trial. Collective: an allreduce and a broadcast of d-vectors."""
        points, _, state, k = run
        weights = weigh(state.ratio, state.gain, state.sigma)
        last = [Point(state.v, margins) for margins in state.margins]
        middle = _blends(points, last, *weights.towards_v)
        agreed = gradient(team, middle)
        solved = [
            self._mirror(site, x, at, mid, agreed, weights, state.mu, memory)
            for site, x, at, mid, memory in zip(team.sites, points, last, middle, state.memories, strict=True)
        ]
        told, _, _ = From(0)([message for message, _ in solved], (), Joint(team, k))
        ahead = [Point(told.vector, site.loss.margins(told.vector)) for site in team.sites]
        ends = _blends(points, ahead, 1 - weights.alpha, weights.alpha)
        whole = self.gain.needs_whole and _divergence(team, ends, middle)
        taken, gain = self.gain.judge(state.gain, whole, told.scalars)
        state = state._replace(gain=gain, memories=PerWorker(memory for _, memory in solved))
        if not taken:
            return Run(points, None, state, k + 1)
        rows = PerRow(at.margins for at in ahead)
        return Run(ends, None, state._replace(v=told.vector, ratio=weights.ratio, margins=rows), k + 1)

    def _mirror(
        self, site: Site[Margins], x: Point, v: Point, y: Point, agreed: Message, weights: Weights, mu: float, memory: Tree
    ) -> tuple[Message, Tree]:
        """The server's v', and what its test needs: [D_phi(x', y), alpha^2 ((1 - beta) D_phi(v', v) + beta D_phi(v', y))]."""
        if site.worker != 0:
            return Message(agreed.vector, np.empty(2 if self.gain.tests else 0)), memory
        phi = self._phi(site, mu)
        x, v, y = (Point(at.x, at.known[: phi.loss.margin_count]) for at in (x, v, y))
        v = v._replace(slope=phi.loss.value_grad(v)[1])
        q = (1 - weights.beta) * phi.grad(v) + weights.beta * phi.grad(y)
        q -= weights.eta * (agreed.vector + site.penalty.grad(y.x))
        z, memory = self.solver(phi, q, v, memory)
        if not self.gain.tests:
            return Message(z, np.empty(0)), memory
        ahead = phi.loss.point(z)
        end = _blend(x, ahead, 1 - weights.alpha, weights.alpha)
        room = (1 - weights.beta) * phi.bregman(ahead, v) + weights.beta * phi.bregman(ahead, y)
        return Message(z, np.array([phi.bregman(end, y), weights.alpha**2 * room])), memory

    def measure(self, run: Run, team: Team[Margins]) -> Measured:
        """Of x, whose gradient the method never computes: one vector round of recording. Collective."""
        return measured(team, run.points[0].x, gradient(team, run.points))

    def answer(self, run: Run, team: Team[Margins]) -> Point:
        """x, not y or v."""
        return run.points[0]


def _blend(x: Point, v: Point, a: float, b: float) -> Point:
    """a x + b v, with margins."""
    return Point(a * x.x + b * v.x, a * x.known + b * v.known)


def _blends(points: Sequence[Point], others: Sequence[Point], a: float, b: float) -> PerWorker:
    """The same for every hosted worker, on one common x."""
    first = _blend(points[0], others[0], a, b)
    return PerWorker(Point(first.x, a * x.known + b * v.known) for x, v in zip(points, others, strict=True))


def _divergence(team: Team[Margins], to: PerWorker, at: PerWorker) -> float:
    """D_F(to, at). Collective: one small sum."""
    parts = [np.array([site.loss.bregman(a, b.margins)]) for site, a, b in zip(team.sites, at, to, strict=True)]
    step = to[0].x - at[0].x
    divergence, bend = mean_scalars(team, parts, pairs=[(step, team.penalty.grad(step))]).tolist()
    return divergence + 0.5 * bend


def spag(
    server_rows: int | None = None,
    mu: float | None = None,
    smoothness: float = 1.0,
    sigma: float | None = None,
    line_search: bool = False,
    adaptive: bool = False,
    t0: int = 0,
    accuracy: float = 1e-6,
    residual: float = 0.0,
) -> Spag:
    """Accelerated mirror descent, preconditioned by a server sample.

    smoothness : L of F relative to phi. line_search : the search for G. adaptive : the search for M = L G by D_F, which
    bears a mu that is too small. t0 : rounds by which A and B are ahead at the start; the paper's 50 is for a start near
    the optimum (the minimiser on many of the server's rows) and overshoots from x = 0. The server stops at a gradient of
    max(accuracy * its value at v, residual); the paper has residual 1e-9.
    """
    within(0, mu=mu, sigma=sigma, t0=t0, residual=residual)
    above(0, smoothness=smoothness)
    within(0, 1, accuracy=accuracy)
    if line_search and adaptive:
        raise UsageError("spag searches for G (line_search) or for M = L G (adaptive), not for both: leave one out")
    rule = (Adaptive if adaptive else Doubling if line_search else Fixed)(smoothness)
    return Spag(Exact(accuracy, residual), rule, server_rows, mu, sigma, t0)


ENTRIES = (
    Entry(
        spag,
        "Hendrikx, Xiao, Bubeck, Bach, Massoulie, Statistically preconditioned accelerated gradient method for distributed "
        "optimization, 2020",
        "mu, a server sample (default: both found from the rows of worker 0), L (default 1)",
    ),
)
