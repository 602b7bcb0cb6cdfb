"""Losses of a linear model: f_w(x) = (1/W) sum_i w_i loss(y_i, a_i.x + b + o_i), the last coordinate b being optional."""

import numpy as np

from mpiopt.arrays import Array
from mpiopt.errors import CapabilityError
from mpiopt.kernels import host
from mpiopt.problems.flaws import finite, first
from mpiopt.problems.linear_margins import LinearMargins
from mpiopt.problems.model import Block, ScoreSums
from mpiopt.problems.problem import Point

EXACTLY = 60  # steps of dual coordinate descent on a row, of which the error falls to a tenth each at least


class Linear(LinearMargins):
    """One worker's rows of a linear model, with its dual and what a training asks; made as `LinearMargins` says."""

    # ------------------------------------------------------------------------------------ Conjugate
    @property
    def descends(self) -> bool:
        """Whether there is dual coordinate descent: for losses with a dual step, where row after row can be visited."""
        return self.family.descends and self.sequential

    def conjugate(self, at: Point, scale: Array) -> float:
        """Mean of the rows' convex conjugates at their residuals times ``scale`` (rows,): what a dual objective needs."""
        seen = self._seen(at)
        total = self.family.conjugates(seen, self.y, self.weights, scale)
        if self.offset.size:  # the conjugate of m -> loss(m + o) at u is that of the loss, less u o
            total -= float((scale * self.family.value_residual(seen, self.y, self.weights)[1]) @ self.offset)
        return total * self._scale

    def dual_point(self, alpha: Array, q: Array, ridge: float | Array, bias: float) -> Array:
        """z = D^-1 (q + A^T (w y alpha) / W), (dim,): the dual map of `host.dual`.

        ridge : D, a number or (dim,); bias : that of the intercept, 0 where there is none.
        """
        self.demand_descent()
        a, z, signs, inverse = self.matrix, np.empty(q.size), self.family.signs(self.y), self._inverse(ridge)
        host.dual_start(a.indptr, a.indices, a.data, signs, self.weights, alpha, q, self.weight, inverse, bias, z)
        return z

    def _inverse(self, ridge: float | Array) -> Array:
        return 1 / (ridge[: self.features] if isinstance(ridge, np.ndarray) else np.array([ridge]))

    def dual_descent(
        self,
        alpha: Array,
        z: Array,
        ridge: float | Array,
        bias: float,
        seed: int,
        epochs: int,
        ratio: float,
        steps: int = 1,
        enough: float = 0.0,
    ) -> Array:
        """At most ``epochs`` of dual coordinate descent in place on alpha (rows,) and z (dim,), which satisfy the map.

        ridge, bias : as there. steps : of a visit to a row at most; one goes near the row's best dual variable (for some losses
        to it), and rows that gain little rest for an epoch or two; `EXACTLY` so many go to the last digit in every row. Returns
        the duality gap as each epoch met it, (epochs done,); ends once it fell to ``ratio`` of the first, or to ``enough``.
        """
        self.demand_descent()
        a, gaps = self.matrix, np.empty(epochs)
        done = self.family.host().dual_epochs(
            a.indptr,
            a.indices,
            a.data,
            self.y,
            self.weights,
            self.row_squares,
            alpha,
            self.weight,
            self._inverse(ridge),
            bias,
            z,
            seed,
            gaps,
            ratio,
            self.family.labels.classes,
            steps=steps,
            offset=self.offset,
            enough=enough,
        )
        return gaps[:done]

    def demand_descent(self, name: str = "this method") -> None:
        """Raises CapabilityError, in the name of a method, where there is no dual coordinate descent."""
        if not self.family.descends:
            raise CapabilityError(
                f"{name} ascends the dual by steps that the {self.family.name} loss does not offer: use spcg, whose local "
                "models are then solved by conjugate gradients, or lbfgs"
            )
        if not self.sequential:
            raise CapabilityError(
                f"{name} visits one row after the other, which a GPU does not: use the CPU, or spcg, whose local models a GPU "
                "solves by conjugate gradients"
            )

    # ------------------------------------------------------------------------------------ Model
    @property
    def blocks(self) -> tuple[Block, ...]:
        """The weights, and the intercept, if any."""
        return (Block("weights", (self.features,)), Block("intercept", (1,)))[: 1 + self.intercept]

    def initial(self, stream: np.random.Generator) -> Array:
        """0, float64: the loss is convex."""
        return np.zeros(self.dim)

    def evaluate(self, x: Array, rows: Array | None = None) -> ScoreSums:
        """Weighted sum of losses, right answers and number of ``rows``, None for all."""
        part = self if rows is None else self.take(rows)
        m = part.shifted(part.margins(x))
        return ScoreSums(self.family.value_residual(m, part.y, part.weights)[0], self.family.correct(m, part.y), part.rows)

    @property
    def form(self) -> str:
        """See `Model.form`."""
        return f"{self.family} {self.intercept}"

    def flawed(self) -> int | None:
        """See `Model.flawed`; the values of a `CSR` are looked at where it is made."""
        return first([finite(self.y), *([finite(self.offset)] if self.offset.size else [])])
