"""Preconditioners of conjugate gradients over all workers: approximate inverses of the Hessian of F at a point."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mpiopt.arrays import Array, beside, namespace
from mpiopt.engine.phase import PerWorker, Tree
from mpiopt.numerics import krylov
from mpiopt.problems.problem import Message, Point, Team, mean
from mpiopt.problems.protocols import Margins
from mpiopt.problems.surrogate import Reference
from mpiopt.work.server import sample, server_mu


class Preconditioner(Protocol):
    """M^-1, the same linear map on every rank."""

    def prepare(self, points: PerWorker, team: Team[Margins]) -> Tree:
        """What to keep while CG runs at these points. Collective."""

    def __call__(self, r: Array, kept: Tree, points: PerWorker, team: Team[Margins]) -> Array:
        """M^-1 r, a new array (dim,). Collective."""


@dataclass(frozen=True)
class Jacobi:
    """M = (1 - weight) l2 I + weight diag(H); 1 where that is 0. Collective: one vector round per point."""

    weight: float = 1.0

    def prepare(self, points: PerWorker, team: Team[Margins]) -> Tree:
        """1 / M, (dim,)."""
        parts = [Message(site.loss.diagonal(at), np.empty(0)) for site, at in zip(team.sites, points, strict=True)]
        ridge = team.penalty.grad(beside(points[0].x, team.dim, 1))
        m = ridge + self.weight * mean(team, parts, name="diagonal").vector
        return 1 / namespace(m).where(m > 0, m, 1.0)

    def __call__(self, r: Array, kept: Tree, points: PerWorker, team: Team[Margins]) -> Array:
        """r / M; no communication."""
        return r * kept


@dataclass(frozen=True)
class Server:
    """M = Hessian of f_0 + (l2 + mu) I, solved on worker 0 to a relative residual of ``accuracy`` and broadcast.

    rows : f_0 is the loss of the first rows of worker 0, all for None; mu : None for `work.server.server_mu`.
    """

    rows: int | None = None
    mu: float | None = None
    accuracy: float = 1e-3
    products: int = 1000

    def prepare(self, points: PerWorker, team: Team[Margins]) -> Tree:
        """mu. Collective; raises UsageError on every rank where worker 0 holds fewer rows."""
        found = server_mu(team, self.rows)
        return found if self.mu is None else self.mu

    def __call__(self, r: Array, kept: Tree, points: PerWorker, team: Team[Margins]) -> Array:
        """As many passes over the server's sample as its CG takes, then one broadcast."""
        out = beside(r, r.size)
        if 0 in team.world.hosted:
            phi = Reference.of(sample(team.sites[0], self.rows), team.penalty, kept)
            at = Point(points[0].x, points[0].margins[: phi.loss.margin_count])
            out[:] = krylov.solve(phi.hessian(at), r, phi.jacobi(at), self.accuracy, self.products).x
        return team.world.bcast(out, team.world.host_of(0), "precondition")
