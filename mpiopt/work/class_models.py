"""Every worker's own models of the problems of several classes, as `work.counted` has that of one, solved side by side.

    (H_w + l2 T^-1) u_w = -T^-1 grad F     of each class;     message = T^-1 u_w, whose mean is the direction

In coordinates v = T^(-1/2) x the ridge is l2 alone: rows' entries are scaled by T^(1/2), once. By dual coordinate descent of
all classes at once where one class would take that, else by conjugate gradients of all at once; each class has its own steps.
"""

from dataclasses import dataclass, replace

import numpy as np

from mpiopt.arrays import Array
from mpiopt.kernels.csr import CSR
from mpiopt.kernels.host.products_many import room
from mpiopt.numerics.krylov_many import columns
from mpiopt.problems.rows_by_class import RowsByClass
from mpiopt.problems.several import Separable
from mpiopt.problems.surrogate import Reference
from mpiopt.work.local_solvers import Auto, DualDescent, NewtonCG


@dataclass(frozen=True)
class ClassModel:
    """A worker's. Not collective.

    plain : the rows; rows : with scaled columns; scale : (lines,), what by, or (0,) for 1 everywhere; mine : (lines,), 0 for
    features that it does not hold, or (0,). ridge : l2; solver : as of one class.
    """

    plain: RowsByClass
    rows: RowsByClass
    scale: Array
    mine: Array
    ridge: float
    solver: DualDescent | NewtonCG

    @staticmethod
    def of(loss: Separable, ridge: float, spread: Array, mine: Array, solver: Auto) -> "ClassModel":
        """spread : (lines,) 1 / tau, or (0,) where it is 1 everywhere."""
        matrix, scale = loss.matrix, spread
        assert isinstance(matrix, CSR)
        if spread.size:
            scale = 1 / np.sqrt(spread)
            matrix = _scaled(matrix, scale)
        single = replace(loss.single(0), matrix=matrix)
        chosen = solver.choose(Reference(single, ridge, 0.0, int(loss.intercept)))
        if not loss.family.labels.classes:  # whose dual variables have no signs
            chosen = solver.newton
        plain = RowsByClass(loss, loss.matrix)
        return ClassModel(plain, RowsByClass(loss, matrix) if scale.size else plain, scale, mine, ridge, chosen)

    @property
    def dual(self) -> bool:
        """Whether it keeps dual variables."""
        return isinstance(self.solver, DualDescent)

    def begun(self, margins: Array, which: Array | None = None) -> Array:
        """Dual variables that fit margins (k, rows), or, where all are 0, their usual start: (rows * k,). which : (k,), all
        classes unless given."""
        if not margins.any():
            return np.full(margins.size, self.rows.loss.family.dual_start)
        signs = self.rows.signs if which is None else self.rows.signs[which]
        found = [self.rows.loss.family.dual_variables(m, y) for m, y in zip(margins, signs, strict=True)]
        return np.array(found).T.reshape(-1)

    def __call__(self, which: Array, slope: Array, margins: Array, alpha: Array | None, turn: int) -> Array:
        """The message (lines, k), from the gradients of F (lines, k) and margins (k, rows).

        alpha : (rows, k), the dual variables, changed in place, where it keeps such. turn : the round.
        """
        if not self.rows.loss.weight > 0:
            return np.zeros_like(slope)
        pull = slope / self.scale[:, None] if self.scale.size else slope
        if self.mine.size:
            pull = np.where(self.mine[:, None], pull, 0.0)
        step = self._newton(which, pull, margins) if alpha is None else self._ascended(which, pull, margins, alpha, turn)
        return step / self.scale[:, None] if self.scale.size else step

    def _newton(self, which: Array, pull: Array, margins: Array) -> Array:
        """-(H + l2)^-1 pull by conjugate gradients."""
        assert isinstance(self.solver, NewtonCG)
        rows, h = self.rows, self.rows.bends(which, margins)
        ridge = self._ridge(0.0)
        bent = rows.scale * h.sum(1)
        diagonal = np.multiply.outer(rows.squares, bent) + ridge
        inverse = 1 / np.where(diagonal > np.finfo(float).tiny, diagonal, 1.0)

        def product(some: Array, p: Array) -> Array:
            out = rows.combined(h[some] * rows.margins(p))
            out += ridge * p
            return out

        return columns(product, -pull, inverse, self.solver.ratio, self.solver.products)

    def _ascended(self, which: Array, pull: Array, margins: Array, alpha: Array, turn: int) -> Array:
        """As `DualDescent` has it: z = v + D^-1 (A^T (slopes + s alpha) / W - pull), and what epochs make of it, less v."""
        assert isinstance(self.solver, DualDescent)
        rows, loss, solver = self.rows, self.rows.loss, self.solver
        bias = solver.floor if loss.intercept else 0.0
        slopes = rows.slopes(which, margins)[1]
        duals = self.rows.signs[which] * alpha.T
        start = rows.combined(slopes + (duals * loss.weights if loss.weights.size else duals))
        start -= pull
        start /= self._ridge(bias)
        # of v only the rows' margins matter, which are known: z is what is beyond it
        z = room(len(start), len(which))
        z[:, : len(which)], z[:, len(which) :] = start, 0.0
        matrix = rows.matrix
        loss.family.host().class_epochs(
            matrix.indptr,
            matrix.indices,
            matrix.data,
            loss.y,
            which,
            loss.weights,
            rows.lengths,
            margins.T.copy(),
            alpha,
            loss.weight,
            1 / self.ridge,
            bias,
            z,
            turn,
            solver.epochs,
            solver.ratio,
        )
        return z[:, : len(which)].copy()

    def _ridge(self, free: float) -> Array:
        """D, (lines, 1); ``free`` of the intercepts."""
        out = np.full((self.rows.lines, 1), self.ridge)
        out[len(out) - self.rows.loss.intercept :] = free
        return out


def _scaled(matrix: CSR, scale: Array) -> CSR:
    """The rows with columns times a scale (cols or more,); indices are shared."""
    out = CSR.empty(0, len(matrix.data), matrix.shape[1], matrix.data.dtype)
    np.multiply(matrix.data, scale[matrix.indices], out=out.data, casting="same_kind")
    return CSR(matrix.indptr, matrix.indices, out.data, matrix.shape)
