"""Linear models of numbers and of counts in scikit-learn's manner."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from mpiopt.estimators.linear_estimator import LinearEstimator


class LinearRegressor(RegressorMixin, LinearEstimator):
    """Numbers; what is expected at a margin is the margin."""

    _numeric = True

    def __init__(
        self,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str | None = None,
        tol: float = 1e-16,
        max_iter: int = 1000,
        warm_start: bool = False,
        rows: str = "same",
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.rows = rows

    def _penalty(self) -> dict[str, Any]:
        return {"l2": self.alpha}

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return y.astype(np.float64)

    def predict(self, X: Any) -> np.ndarray:
        """What is expected of rows, (rows,)."""
        return self._margins(X)


class Ridge(LinearRegressor):
    """Least squares: |y - X coef - intercept|^2 + alpha |coef|^2, as scikit-learn's."""

    def _loss(self) -> str:
        return "least_squares"

    def _penalty(self) -> dict[str, Any]:
        return {"l2": self.alpha, "per_weight": True}


class PoissonRegressor(LinearRegressor):
    """Counts with a logarithmic link: half the mean deviance plus alpha/2 |coef|^2, as scikit-learn's."""

    def _loss(self) -> str:
        return "poisson"

    def _targets(self, y: np.ndarray) -> np.ndarray:
        if (y < 0).any():
            raise ValueError("Some value(s) of y are out of the valid range of counts, which are not negative")
        return y.astype(np.float64)

    def predict(self, X: Any) -> np.ndarray:
        """The expected counts of rows of exposure 1, (rows,)."""
        return np.exp(self._margins(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags


class HuberRegressor(LinearRegressor):
    """Least squares within epsilon of a row, absolute errors beyond: the mean loss plus alpha/2 |coef|^2.

    epsilon is in the units of y; unlike scikit-learn's it is not multiplied by a scale that is estimated.
    """

    def __init__(
        self,
        epsilon: float = 1.35,
        alpha: float = 1e-4,
        fit_intercept: bool = True,
        solver: str | None = None,
        tol: float = 1e-16,
        max_iter: int = 1000,
        warm_start: bool = False,
        rows: str = "same",
    ) -> None:
        super().__init__(alpha, fit_intercept, solver, tol, max_iter, warm_start, rows)
        self.epsilon = epsilon

    def _loss(self) -> str:
        return f"huber:delta={float(self.epsilon)!r}"
