"""When conjugate gradients have come far enough for one step of Newton's method."""

from dataclasses import dataclass
from math import sqrt
from typing import Protocol

from mpiopt.numerics.krylov import CG
from mpiopt.problems.problem import Team
from mpiopt.problems.protocols import Margins


class CgRule(Protocol):
    """When CG has done enough."""

    def target(self, cg: CG, team: Team[Margins]) -> float:
        """The number to compare with, from CG at its start."""

    def holds(self, cg: CG, before: float, target: float) -> bool:
        """Whether to stop; ``before`` is b.x one product earlier."""


@dataclass(frozen=True)
class ModelDecrease:
    """Stop at product k once k (Q_k - Q_{k-1}) >= e Q_k, Q_k = -b.x_k / 2 the model's value, e = min(ratio, |g|^(1/2)).

    |g| = (g.M^-1 g / l2)^(1/2) is the norm that the preconditioner M defines, of the objective divided by l2 as LIBLINEAR
    has it. Hsia, Chiang, Lin, Preconditioned conjugate gradient methods in truncated Newton frameworks for large-scale
    linear classification, 2018; LIBLINEAR, newton.cpp, whose ratio from a cold start is 0.1.
    """

    ratio: float = 0.1

    def target(self, cg: CG, team: Team[Margins]) -> float:
        """e; ``ratio`` where l2 is 0."""
        l2 = team.penalty.l2
        return min(self.ratio, sqrt(sqrt(cg.rz / l2))) if l2 > 0 else self.ratio

    def holds(self, cg: CG, before: float, target: float) -> bool:
        """Never before the first product."""
        return cg.products > 0 and cg.products * (cg.bx - before) <= target * cg.bx


@dataclass(frozen=True)
class SmallResidual:
    """Stop once |H x - b| <= ratio |b|."""

    ratio: float = 0.1

    def target(self, cg: CG, team: Team[Margins]) -> float:
        """ratio |b|."""
        return self.ratio * cg.residual

    def holds(self, cg: CG, before: float, target: float) -> bool:
        """By the residual that CG carries along."""
        return cg.residual <= target
