"""Compile before the clock starts: the first run on a machine turns the kernels into machine code and keeps it."""

import numpy as np

from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from mpiopt.problems.surrogate import Reference
from mpiopt.work.local_solvers import DualDescent, NewtonCG


def warm(team: Team) -> None:
    """Call every kernel that a solve may use on two rows of this rank's own, with the types that it will see.

    Collective at its end, so that no rank starts while another compiles.
    """
    with team.world.together("compiling kernels"):
        _touch(team.sites[0].loss.head(min(2, team.sites[0].loss.rows)))
    team.world.barrier()


def _touch(loss: Linear) -> None:
    at = loss.point(np.zeros(loss.dim))
    at = at._replace(slope=loss.value_grad(at)[1])
    loss.plane(at, np.zeros((1, loss.rows)), np.zeros(1))
    loss.bregman(at, at.margins)
    loss.conjugate(at, np.ones(loss.rows))
    phi = Reference.of(loss, L2(1.0, free=int(loss.intercept)), mu=1.0)
    for solver in (NewtonCG(), DualDescent())[: 1 + loss.descends]:
        memory = solver.init(at.x, phi)
        for q in (at.slope, -at.slope):
            _, memory = solver(phi, q, at, memory)
