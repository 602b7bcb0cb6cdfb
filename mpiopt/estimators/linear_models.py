"""Linear models in scikit-learn's manner: fitted by any method of the catalogue, with a certificate, on all ranks alike.

Under ``mpiexec -n 4 python fit.py`` the same lines run on every rank; see `estimators.fit` for what ``rows`` says.
"""

import warnings
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from mpiopt.engine.stop import Reason
from mpiopt.estimators.fit import LinearSolution, fit
from mpiopt.estimators.here import here


class LinearEstimator(BaseEstimator):
    """What all of them share; a subclass says its loss, its penalty and what becomes of y."""

    @abstractmethod
    def _loss(self) -> str:
        """The loss, as `fit` takes it."""

    @abstractmethod
    def _penalty(self) -> dict[str, Any]:
        """l2, l1 and per_weight, as `fit` takes them."""

    def _targets(self, y: np.ndarray) -> np.ndarray:
        """y as the loss takes it. Collective where classes are looked for."""
        return y

    def _class_weight(self, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        """The weights of the rows once those of their classes are in."""
        return weight

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, offset: Any = None) -> "LinearEstimator":
        """Fit the model. Collective: every rank gets the same.

        X : (rows, features), dense or sparse, or the path of a data set, which has labels, weights and offsets of its own.
        y : (rows,). sample_weight, offset : (rows,), if any.
        """
        before = getattr(self, "coef_", None) if self.warm_start else None
        if isinstance(X, str | Path):
            self._name_classes()
            return self._found(self._solved(X, None, None, None, before))
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], y_numeric=self._numeric)
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
        if weight is not None and (weight < 0).any():
            raise ValueError("Negative values in data passed to `sample_weight`")
        targets = self._targets(y)
        return self._found(self._solved(X, targets, self._class_weight(y, weight), offset, before))

    _numeric = False

    def _name_classes(self) -> None:
        """Of a data set, whose labels are its own."""

    def _solved(self, X: Any, y: Any, weight: Any, offset: Any, before: np.ndarray | None) -> LinearSolution:
        start = None
        if before is not None:
            start = np.append(before, self.intercept_) if self.fit_intercept else np.ravel(before)
        return fit(
            X,
            y,
            loss=self._loss(),
            **self._penalty(),
            intercept=self.fit_intercept,
            sample_weight=weight,
            offset=offset,
            solver=self.solver,
            tol=self.tol,
            max_iter=self.max_iter,
            rows=self.rows,
            start=start,
        )

    def _found(self, found: LinearSolution) -> "LinearEstimator":
        solution = found.solution
        self.coef_: Any = found.coef
        self.intercept_: Any = found.intercept
        self.n_features_in_ = len(found.coef)
        self.n_iter_, self.history_, self.certificate_ = solution.final.round, solution.history, solution.certificate
        if not (solution.reason.converged or solution.reason is Reason.HIDDEN):  # what is hidden is below rounding
            warnings.warn(f"{type(self).__name__}: {solution.reason_text}", ConvergenceWarning, stacklevel=3)
        return self

    def _margins(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        return safe_sparse_dot(X, np.ravel(self.coef_), dense_output=True) + np.ravel(self.intercept_)[0]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class LinearClassifier(ClassifierMixin, LinearEstimator):
    """Two classes; the larger of the two labels is +1. Those of a data set on disk are called -1 and +1."""

    def _targets(self, y: np.ndarray) -> np.ndarray:
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        told = here().tell_all(np.unique(y)) if self.rows == "mine" else [y]
        self.classes_ = np.unique(np.concatenate(told))
        if len(self.classes_) > 2:
            raise ValueError(f"Only binary classification is supported. The type of the target is {kind}.")
        if len(self.classes_) < 2:
            raise ValueError(f"{type(self).__name__} needs two classes, and y has one class: {self.classes_[0]!r}")
        return np.where(y == self.classes_[1], 1.0, -1.0)

    def _class_weight(self, y: np.ndarray, weight: np.ndarray | None) -> np.ndarray | None:
        if self.class_weight is None:
            return weight
        every = [(y, weight)] if self.rows == "same" else here().tell_all((y, weight))
        labels = np.concatenate([each[0] for each in every])
        weights = None if weight is None else np.concatenate([each[1] for each in every])
        factors = compute_class_weight(self.class_weight, classes=self.classes_, y=labels, sample_weight=weights)
        return factors[np.searchsorted(self.classes_, y)] * (1.0 if weight is None else weight)

    def _found(self, found: LinearSolution) -> "LinearEstimator":
        super()._found(found)
        self.coef_, self.intercept_ = self.coef_[None, :], np.array([self.intercept_])
        return self

    def _name_classes(self) -> None:
        self.classes_ = np.array([-1.0, 1.0])

    def decision_function(self, X: Any) -> np.ndarray:
        """The margins of rows, (rows,): above 0 for the second of the classes."""
        return self._margins(X)

    def predict(self, X: Any) -> np.ndarray:
        """The classes of rows, (rows,)."""
        above = self._margins(X) > 0
        return self.classes_[above.astype(int)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class LogisticRegression(LinearClassifier):
    """Two classes by their log-odds: C times the sum of the losses plus the elastic net, as scikit-learn's.

    C : inverse strength of the penalty; infinity for none. l1_ratio : share of l1 in it. tol : the gap that is certified,
    as a share of the mean loss at 0. solver : a method of `mpiopt.catalogue`; by default newton with few features, else spcg,
    or fista with l1.
    """

    def __init__(
        self,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        class_weight: Any = None,
        solver: str | None = None,
        tol: float = 1e-14,
        max_iter: int = 1000,
        warm_start: bool = False,
        rows: str = "same",
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.rows = rows

    def _loss(self) -> str:
        return "logistic"

    def _penalty(self) -> dict[str, Any]:
        return {"l2": (1 - self.l1_ratio) / self.C, "l1": self.l1_ratio / self.C, "per_weight": True}

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities of both classes, (rows, 2)."""
        chance = expit(self._margins(X))
        return np.stack([1 - chance, chance], axis=1)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Their logarithms, (rows, 2)."""
        margins = self._margins(X)
        return -np.stack([np.logaddexp(0, margins), np.logaddexp(0, -margins)], axis=1)


class LinearSVC(LinearClassifier):
    """Two classes by the squared hinge loss: C times the sum of the losses plus |coef|^2 / 2, the intercept not penalised."""

    def __init__(
        self,
        C: float = 1.0,
        fit_intercept: bool = True,
        class_weight: Any = None,
        solver: str | None = None,
        tol: float = 1e-14,
        max_iter: int = 1000,
        warm_start: bool = False,
        rows: str = "same",
    ) -> None:
        self.C = C
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.rows = rows

    def _loss(self) -> str:
        return "squared_hinge"

    def _penalty(self) -> dict[str, Any]:
        return {"l2": 1 / self.C, "per_weight": True}


class LinearRegressor(RegressorMixin, LinearEstimator):
    """Numbers; what is expected at a margin is the margin."""

    _numeric = True

    def __init__(
        self,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: str | None = None,
        tol: float = 1e-14,
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
        tol: float = 1e-14,
        max_iter: int = 1000,
        warm_start: bool = False,
        rows: str = "same",
    ) -> None:
        super().__init__(alpha, fit_intercept, solver, tol, max_iter, warm_start, rows)
        self.epsilon = epsilon

    def _loss(self) -> str:
        return f"huber:delta={float(self.epsilon)!r}"
