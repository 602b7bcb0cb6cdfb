"""spcg for benchopt: copy benchopt_solver.py into the folder ``solvers`` of a clone of benchmark_logreg_l2, and there

benchopt run . -s mpiopt -d simulated

The objective there is a sum, sum_i log(1 + exp(-y_i (x_i.w + c))) + lmbd/2 |w|^2: lmbd is 1 / C. One process computes, without
MPI. Started by itself this file solves made-up rows, for which benchopt need not be installed.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from mpiopt import LogisticRegression

BASE: Any = import_module("benchopt").BaseSolver if find_spec("benchopt") else object


class Solver(BASE):
    """A solver as benchopt knows them: set_objective once, then run to tighter and tighter tolerances."""

    name = "mpiopt"
    install_cmd = "conda"
    requirements = ("pip::mpiopt[sklearn]",)
    sampling_strategy = "tolerance"

    def set_objective(self, X: Any, y: np.ndarray, lmbd: float, fit_intercept: bool = False) -> None:
        """X (n, d), dense or sparse; y (n,), -1 and +1."""
        self.x, self.y, self.lmbd, self.fit_intercept = csr_matrix(X), y, lmbd, fit_intercept
        self.run(0.1)  # which compiles, outside of what is timed

    def run(self, tolerance: float) -> None:
        """Fit until the mean objective is certified to be within ``tolerance`` of the optimum."""
        model = LogisticRegression(C=1 / self.lmbd, fit_intercept=self.fit_intercept, tol=max(tolerance, 1e-14))
        model.fit(self.x, self.y)
        self.beta = np.append(model.coef_.ravel(), model.intercept_ if self.fit_intercept else [])

    def get_result(self) -> dict[str, np.ndarray]:
        """The coefficients, the intercept, if any, last."""
        return {"beta": self.beta}


def main() -> None:
    """Solve made-up rows, and print the coefficients."""
    draw = np.random.default_rng(0)
    x = draw.standard_normal((200, 5))
    solver = Solver()
    solver.set_objective(x, np.sign(x[:, 0] + 0.5 * draw.standard_normal(200)), 1.0, fit_intercept=True)
    solver.run(1e-10)
    print(solver.get_result()["beta"])


if __name__ == "__main__":
    main()
