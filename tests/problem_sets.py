"""Small random problems for the tests, and their optima by a method that is not ours."""

import numpy as np
import scipy.optimize
import scipy.sparse

from mpiopt.comm.world import World
from mpiopt.kernels.csr import CSR
from mpiopt.losses.least_squares import LeastSquares
from mpiopt.losses.logistic import Logistic
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import ElasticNet, Penalty
from mpiopt.problems.problem import Team


class Data:
    """Random sparse rows with labels from a planted model, the same for every caller with the same arguments."""

    def __init__(self, rows=120, features=15, seed=0, loss="logistic", intercept=False, weighted=False, density=0.3):
        rng = np.random.default_rng(seed)
        self.a = scipy.sparse.random(rows, features, density, "csr", rng=rng, data_rvs=rng.standard_normal)
        planted = rng.standard_normal(features)
        margins = self.a @ planted + 0.5 * intercept + 0.5 * rng.standard_normal(rows)
        self.y = np.where(margins > 0, 1.0, -1.0) if loss == "logistic" else margins
        self.w = rng.integers(0, 4, rows).astype(float) if weighted else np.ones(rows)
        self.family = Logistic() if loss == "logistic" else LeastSquares()
        self.intercept, self.weighted, self.dim = intercept, weighted, features + intercept

    def team(self, world: World, penalty: Penalty) -> Team:
        """The rows shared out over the world's workers."""
        bounds = balanced(self.a.indptr, world.workers)
        return Team.of(world, [self.linear(bounds[w], bounds[w + 1]) for w in world.hosted], penalty)

    def linear(self, lo: int, hi: int) -> Linear:
        """The loss of rows lo <= i < hi."""
        a = self.a[lo:hi]
        matrix = CSR.of(a.indptr, a.indices, a.data, a.shape)
        weights = self.w[lo:hi] if self.weighted else np.empty(0)
        return Linear(matrix, self.y[lo:hi], self.family, weights, self.intercept)

    def objective(self, x: np.ndarray, penalty: ElasticNet) -> tuple[float, np.ndarray]:
        """F and its gradient (penalties without l1), straight from the definition."""
        a = scipy.sparse.hstack([self.a, np.ones((self.a.shape[0], 1))]).tocsr() if self.intercept else self.a
        m = a @ x
        if self.family.name == "logistic":
            losses, slopes = np.logaddexp(0, -self.y * m), -self.y / (1 + np.exp(self.y * m))
        else:
            losses, slopes = 0.5 * (m - self.y) ** 2, m - self.y
        total = self.w.sum()
        return float(self.w @ losses) / total + penalty.value(x), a.T @ (self.w * slopes) / total + penalty.grad(x)

    def optimum(self, penalty: ElasticNet) -> np.ndarray:
        """argmin F by scipy, polished with Newton steps on a finite-difference-free Hessian."""
        x = scipy.optimize.minimize(
            self.objective, np.zeros(self.dim), (penalty,), jac=True, method="BFGS", options={"gtol": 1e-10}
        ).x
        for _ in range(3):
            steps = 1e-6 * np.eye(self.dim)
            h = np.array([(self.objective(x + s, penalty)[1] - self.objective(x - s, penalty)[1]) / 2e-6 for s in steps])
            x = x - np.linalg.solve(h, self.objective(x, penalty)[1])
        return x


def balanced(indptr: np.ndarray, owners: int) -> np.ndarray:
    """Bounds (owners + 1,) of contiguous row blocks that hold about equally many nonzeros.

    indptr : (rows + 1,) row pointers of the whole matrix. A row counts for its nonzeros and one more, so that
    empty rows are shared out too. Blocks may be empty.
    """
    rows = len(indptr) - 1
    cost = (np.asarray(indptr) - indptr[0]) + np.arange(rows + 1)
    targets = cost[-1] * np.arange(1, owners) / owners
    cuts = np.searchsorted(cost, targets, side="left")
    # the nearer of the two neighbouring row boundaries
    lower = np.maximum(cuts - 1, 0)
    cuts = np.where(targets - cost[lower] < cost[np.minimum(cuts, rows)] - targets, lower, cuts)
    return np.concatenate(([0], cuts, [rows])).astype(np.int64)
