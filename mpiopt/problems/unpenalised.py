"""Residuals that are orthogonal to what has no penalty, as every dual point is; an intercept alone needs less (`dual_bound`).

    r' = r - W B c,    c = (B^T W B)^-1 B^T r,    B = the columns without a penalty, and ones for an intercept

W : the rows' second derivatives, so that r' is what r would be after a step of Newton's method over these coefficients, to
first order: near their minimum r' is near r, and bounds by it are as close.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.kinked import unfolded
from mpiopt.problems.abreast import Abreast
from mpiopt.problems.columns import columns
from mpiopt.problems.linear import Linear

MOST = 300  # columns: of more the matrix is larger than what it is for
TURNS = 2  # the second for what rounding has left of the first
ROUNDING = 1e-11  # of a column's size: what may be left of its product with r'
RANK = 1e-12  # of the largest eigenvalue of a matrix with ones on its diagonal: those below are 0


@dataclass(frozen=True)
class Unpenalised:
    """Some columns, and the intercept, if any. losses : of the hosted workers, on these alone."""

    losses: tuple[Linear, ...]

    @staticmethod
    def of(problem: Abreast, features: Array) -> "Unpenalised | None":
        """Of features (u,), ascending; None where they are too many. Not collective: a pass over the rows."""
        if features.size > MOST:
            return None
        small = (replace(loss, matrix=columns(loss.matrix, features)) for loss in problem.losses)
        return Unpenalised(tuple(small))

    def factors(self, problem: Abreast, margins: Sequence[Array], rows: Sequence[Array]) -> list[Array] | None:
        """r' / r, (k, rows) for each worker, of the rows' slopes r, weighed; None where there are none.

        Collective: four vector rounds of few numbers, and a small sum.
        """
        small = replace(problem, losses=self.losses)
        bends, even = small.bends(margins), list(rows)
        lines = small.triangles(np.zeros((self.losses[0].dim, len(rows[0]))), margins)
        hessians = [unfolded(line, self.losses[0].dim) for line in lines]
        if not np.isfinite(lines).all():
            return None
        sizes = np.sqrt(np.array([np.diag(h) for h in hessians])).T
        for _ in range(TURNS):
            off = small.combined(even)
            c = np.array([_solved(h, each) for h, each in zip(hessians, off.T, strict=True)]).T
            c = problem.world.bcast(np.ascontiguousarray(c))  # eigenvalues of unlike CPUs are not alike
            even = [each - h * image for each, h, image in zip(even, bends, small.margins(c), strict=True)]
        lost = [np.array([float(((r == 0) & (e != 0)).any())]) for r, e in zip(rows, even, strict=True)]
        left = small.combined(even)
        if problem.world.total(lost, "unpenalised")[0] or not (abs(left) <= ROUNDING * sizes).all():
            return None
        return [np.divide(e, r, out=np.ones_like(r), where=r != 0) for r, e in zip(rows, even, strict=True)]


def _solved(h: Array, b: Array) -> Array:
    """The shortest c with H c = b in units of the diagonal, (u,)."""
    unit = 1 / np.sqrt(np.where(np.diag(h) > 0, np.diag(h), 1.0))
    values, vectors = np.linalg.eigh(h * unit[:, None] * unit)
    known = values > RANK * values.max(initial=0.0)
    return unit * (vectors[:, known] @ ((vectors[:, known].T @ (unit * b)) / values[known]))
