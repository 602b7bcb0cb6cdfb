"""Newton's method: from the Hessian itself, by conjugate gradients over all workers, or by each worker for itself.

    newton   Gradient -> Mean; Hessian -> Mean                              NewtonStep, PlaneSearch
    tron     CG on the whole Hessian, Jacobi preconditioner                 one step is one CG product
    disco    CG on the whole Hessian, preconditioned by the server's        one step is one CG product
    giant    Gradient -> Mean; own Newton direction -> Mean                 Backtracking

tron and disco spend one step on arriving at a point (its gradient, and the preconditioner's own needs) and one on every
product; a step that arrives has searched along the finished direction before. Between arrivals the answer stays.
"""

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, NamedTuple

import numpy as np

from mpiopt.arrays import Array
from mpiopt.engine.method import Composed, Measured, Method, Named, Run, measured
from mpiopt.engine.phase import PerWorker, Phase, Tree
from mpiopt.exchange.mean import Mean
from mpiopt.methods.cg_rules import CgRule, ModelDecrease, SmallResidual
from mpiopt.methods.entry import Entry
from mpiopt.methods.preconditioners import Jacobi, Preconditioner, Server
from mpiopt.methods.ranges import within
from mpiopt.numerics import krylov
from mpiopt.numerics.krylov import CG
from mpiopt.outer.line_search import Backtracking, along, refuse_kinks, search
from mpiopt.outer.newton import NewtonStep
from mpiopt.outer.plane_search import PlaneSearch
from mpiopt.problems.problem import Message, Point, Team, gradient, mean
from mpiopt.problems.protocols import Margins
from mpiopt.work.corrected import Corrected
from mpiopt.work.gradient import Gradient
from mpiopt.work.hessian import Hessian
from mpiopt.work.local_solvers import NewtonCG

GRADIENT = Phase(Gradient(), Mean())
PRODUCTS = 1000  # at most for one direction


class Inexact(NamedTuple):
    """A Newton step under way, the same on every rank."""

    cg: CG
    before: float  # b.x one product ago
    target: float  # the rule's
    kept: Tree  # what the preconditioner keeps for this point


@dataclass(frozen=True)
class TruncatedNewton(Named):
    """x <- x + s p with H p = -g solved by CG as far as ``rule`` asks; s from an exact search on cached margins.

    damped : s = 1 / (1 + (p.H p)^(1/2)) instead.
    """

    preconditioner: Preconditioner
    rule: CgRule
    damped: bool = False
    dvectors: int = 16
    needs: ClassVar[type] = Margins

    def init(self, x: Array, team: Team[Margins]) -> Run:
        """Arrive at x. Collective: one vector round and the preconditioner's. Raises CapabilityError on every rank."""
        self.check(team, self)
        refuse_kinks(team.penalty)
        return self._arrive(PerWorker(site.loss.point(x) for site in team.sites), 0, team)

    def step(self, run: Run, team: Team[Margins]) -> Run:
        """One product, or the search and the arrival at the next point. Collective."""
        under_way, cg = run.states, run.states.cg
        if cg.rz == 0 or cg.products == PRODUCTS or self.rule.holds(cg, under_way.before, under_way.target):
            return self._arrive(self._moved(run.points, cg, run.round, team), run.round + 1, team)
        hessians = (site.loss.hessian(at) for site, at in zip(team.sites, run.points, strict=True))
        hp = mean(team, [Message(product(cg.p), np.empty(0)) for product in hessians], name="product").vector
        hp += team.penalty.grad(cg.p)
        before = cg.bx
        cg = krylov.advance(cg, hp, lambda r: self.preconditioner(r, under_way.kept, run.points, team), team.world.dots)
        return run._replace(states=under_way._replace(cg=cg, before=before), round=run.round + 1)

    def _arrive(self, points: PerWorker, round: int, team: Team[Margins]) -> Run:  # noqa: A002 - the field's word
        agreed = gradient(team, points)
        kept = self.preconditioner.prepare(points, team)
        b = -team.penalty.residual(points[0].x, agreed.vector)
        cg = krylov.begin(b, lambda r: self.preconditioner(r, kept, points, team), team.world.dots)
        return Run(points, agreed, Inexact(cg, 0.0, self.rule.target(cg, team), kept), round)

    def _moved(self, points: PerWorker, cg: CG, round: int, team: Team[Margins]) -> PerWorker:  # noqa: A002
        if not self.damped:
            return search(team, points, cg.x, round)
        delta = sqrt(max(cg.bx - team.world.dots([(cg.x, cg.r)])[0], 0.0))  # x.H x, since H x = b - r
        return along(team, points, cg.x, [site.loss.margins(cg.x) for site in team.sites], 1 / (1 + delta), round)

    def measure(self, run: Run, team: Team[Margins]) -> Measured:
        """Of the point last arrived at. Collective: one small sum."""
        return measured(team, run.points[0].x, run.agreed)._replace(fresh=run.states.cg.products == 0)

    def answer(self, run: Run, team: Team[Margins]) -> Point:
        """The point last arrived at."""
        return run.points[0]


def tron(jacobi: float = 1.0, ratio: float = 0.1) -> Method:
    """Truncated Newton; one step is one CG product (MPI-LIBLINEAR).

    The preconditioner is (1 - jacobi) l2 + jacobi diag(H): LIBLINEAR's for jacobi = 0.01; the default, all of the
    diagonal, needs fewer products. ratio : how exactly CG solves (`ModelDecrease`). The step is searched for exactly.
    """
    return TruncatedNewton(Jacobi(jacobi), ModelDecrease(ratio))


def disco(
    server_rows: int | None = None,
    mu: float | None = None,
    accuracy: float = 0.1,
    solve: float = 1e-3,
    damped: bool = False,
) -> Method:
    """Truncated Newton preconditioned by the server's Hessian.

    P = Hessian of f_0 + (l2 + mu) I, f_0 the first ``server_rows`` rows of worker 0 (all for None), solved there by CG to
    a relative residual of ``solve`` and broadcast: two vector rounds a product. mu : None for `work.server.server_mu`. CG
    over all workers ends at a relative residual of ``accuracy``. The step is searched for exactly; with ``damped`` it is
    the paper's 1 / (1 + delta).
    """
    return TruncatedNewton(Server(server_rows, mu, solve), SmallResidual(accuracy), damped, dvectors=18)


def newton(most: int = 4000) -> Composed:
    """Newton's method from the summed Hessian, plane search; for few features.

    d (d + 1) / 2 numbers and a d-vector a round, and d^3 / 3 multiplications on every rank: few rounds, as many whatever the
    number of workers and the data's scaling. most : coefficients that it takes.
    """
    within(1, most=most)
    return Composed(GRADIENT, (Phase(Hessian(most), Mean()),), NewtonStep(PlaneSearch()), dvectors=16 + 2 * most)


def giant(accuracy: float = 0.01, mu: float = 0.0) -> Method:
    """The mean of the workers' own Newton directions.

    Each worker solves (H_w + l2 + mu) p = -grad F by CG to a relative residual of ``accuracy``; mu helps where workers
    hold few rows. Two vector rounds a step.
    """
    direction = Phase(Corrected(NewtonCG(accuracy), mu), Mean())
    return Composed(GRADIENT, (direction,), Backtracking(), dvectors=13)


ENTRIES = (
    Entry(newton, "Nocedal, Wright, Numerical optimization, 2006, section 3.3; the plane search is ours"),
    Entry(tron, "Zhuang, Chin, Juan, Lin, Distributed Newton methods for regularized logistic regression, 2015"),
    Entry(
        disco,
        "Zhang, Xiao, DiSCO: distributed optimization for self-concordant empirical loss, 2015",
        "mu, server sample",
    ),
    Entry(giant, "Wang, Roosta-Khorasani, Xu, Mahoney, GIANT: globally improved approximate Newton method, 2018"),
)
