"""Compile before the clock starts: the first run on a machine turns the kernels into machine code and keeps it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mpiopt.kernels.compiling import side_by_side
from mpiopt.kernels.csr import CSR
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2
from mpiopt.problems.problem import Team
from mpiopt.problems.reduced import promising, touch
from mpiopt.problems.surrogate import Reference
from mpiopt.work.local_solvers import DualDescent, NewtonCG


def warm(team: Team[Linear]) -> None:
    """Call every kernel that a solve may use on two small rows, with the types that it will see on this rank.

    Collective at its end, so that no rank starts while another compiles.
    """
    with team.world.together("compiling kernels"):
        loss = team.sites[0].loss
        _touch(_small(loss), promising(loss), team.world.workers == 1)
    team.world.barrier()


def _small(loss: Linear) -> Linear:
    """Rows of the same types with two columns: what lacks memory for long vectors is the solve, not its compilation."""
    rows = min(2, loss.rows)
    matrix = CSR.empty(rows, rows, 2, loss.matrix.data.dtype)
    matrix.indptr[:], matrix.indices[:], matrix.data[:] = np.arange(rows + 1), 0, 1
    return replace(loss, matrix=matrix, y=loss.y[:rows], weights=loss.weights[:rows], offset=loss.offset[:rows])


def _touch(loss: Linear, reduces: bool, alone: bool) -> None:
    """What takes longest comes first: ranks of one node share what is to be compiled."""
    at, ones = loss.point(np.zeros(loss.dim)), np.ones(loss.dim)
    phi = Reference.of(loss, L2(1.0, free=int(loss.intercept)), mu=1.0)

    def solve(solver: NewtonCG | DualDescent) -> None:
        memory = solver.init(at.x, phi)
        for q in (ones, -ones):
            _, memory = solver(phi, q, at, memory)

    calls: list[Callable[[], object]] = [
        *[lambda: solve(DualDescent())] * loss.descends,
        lambda: loss.value_grad(at),
        lambda: loss.plane(at, np.zeros((1, loss.rows)), np.zeros(1)),
        *[lambda: touch(loss)] * reduces,
        lambda: solve(NewtonCG()),
        lambda: loss.conjugate(at, np.ones(loss.rows)),
        lambda: loss.bregman(at, at.known),
        *[lambda: loss.family.dual_gaps(at.known, loss.y, loss.weights, np.full(loss.rows, 0.5))] * (loss.descends and alone),
    ]
    side_by_side(calls)
