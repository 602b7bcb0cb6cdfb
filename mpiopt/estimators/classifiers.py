"""Linear models of classes in scikit-learn's manner."""

from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy.special import expit, log_softmax, softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from mpiopt.estimators.callbacks import FitTasks
from mpiopt.estimators.fit import ClassesSolution, LinearSolution, Place, fit_classes, of_classes
from mpiopt.estimators.here import here
from mpiopt.estimators.linear_estimator import LinearEstimator


class LinearClassifier(ClassifierMixin, LinearEstimator):
    """Two classes; the larger of the two labels is +1. Those of a data set on disk are called -1 and +1.

    Where a subclass takes ``several``, more than two are numbered in their order.
    """

    several = False

    def __init__(
        self,
        C: float = 1.0,
        fit_intercept: bool = True,
        class_weight: Any = None,
        solver: str | None = None,
        tol: float = 1e-16,
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

    def _targets(self, y: np.ndarray) -> np.ndarray:
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        told = here().tell_all(np.unique(y)) if self.rows == "mine" else [y]
        self.classes_ = np.unique(np.concatenate(told))
        if len(self.classes_) > 2 and self.several:
            return np.searchsorted(self.classes_, y)
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

    def _class_words(self, X: Any) -> str | None:
        if self.class_weight is None or not isinstance(X, str | Path):
            return None
        if isinstance(self.class_weight, str):
            return self.class_weight
        if set(self.class_weight) - {-1, 1}:
            raise ValueError(f"class_weight is {self.class_weight!r}: the classes of a data set are -1 and 1")
        return ":".join(f"{float(self.class_weight.get(sign, 1.0))!r}" for sign in (-1, 1))

    def _found(self, found: LinearSolution | ClassesSolution) -> "LinearEstimator":
        super()._found(found)
        self.coef_, self.intercept_ = np.atleast_2d(self.coef_), np.atleast_1d(self.intercept_)
        return self

    def _answer(self, x: np.ndarray) -> dict[str, Any]:
        told = super()._answer(x)
        return told | {"coef_": told["coef_"][None, :], "intercept_": np.array([told["intercept_"]])}

    def _name_classes(self) -> None:
        self.classes_ = np.array([-1.0, 1.0])

    def decision_function(self, X: Any) -> np.ndarray:
        """The margins of rows, (rows,): above 0 for the second of two classes; (rows, classes) of several."""
        return self._margins(X)

    def predict(self, X: Any) -> np.ndarray:
        """The classes of rows, (rows,)."""
        margins = self._margins(X)
        return self.classes_[(margins > 0).astype(int) if margins.ndim == 1 else margins.argmax(1)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.several
        return tags


class LogisticRegression(LinearClassifier):
    """Classes by their log-odds: C times the sum of the losses plus the elastic net, as scikit-learn's.

    Several classes are one problem (multinomial), for l2 alone: spcg unless another solver is named.

    C : inverse strength of the penalty; infinity for none. l1_ratio : share of l1 in it. tol : the gap that is certified,
    as a share of the mean loss at 0. solver : a method of `mpiopt.catalogue`; by default spcg, in the form that
    serves the problem best. penalty_factors : (features,), what the penalty of each is multiplied by, of two classes; where one
    is 0, tol is the norm of the subgradient.
    """

    def __init__(
        self,
        C: float = 1.0,
        l1_ratio: float = 0.0,
        fit_intercept: bool = True,
        class_weight: Any = None,
        solver: str | None = None,
        tol: float = 1e-16,
        max_iter: int = 1000,
        warm_start: bool = False,
        rows: str = "same",
        penalty_factors: Any = None,
    ) -> None:
        super().__init__(C, fit_intercept, class_weight, solver, tol, max_iter, warm_start, rows)
        self.l1_ratio = l1_ratio
        self.penalty_factors = penalty_factors

    several = True

    def _solved(self, X: Any, y: Any, weight: Any, offset: Any, before: np.ndarray | None) -> LinearSolution | ClassesSolution:
        if len(self.classes_) == 2:
            return super()._solved(X, y, weight, offset, before)
        if offset is not None or self.l1_ratio or self.penalty_factors is not None:
            raise ValueError(
                "offsets, penalty_factors and l1_ratio above 0 are for two classes: leave them out, or fit one class against "
                "the rest"
            )
        start, rows = None, cast(Place, self.rows)
        if before is not None and before.shape == (len(self.classes_), X.shape[1]):
            start = np.hstack([before, self.intercept_[:, None]]) if self.fit_intercept else before
        tasks = FitTasks(self, X, y, self._answer)
        found = fit_classes(
            X,
            y,
            len(self.classes_),
            l2=1 / self.C,
            per_weight=True,
            intercept=self.fit_intercept,
            sample_weight=weight,
            solver=self.solver,
            tol=self.tol,
            max_iter=self.max_iter,
            rows=rows,
            start=start,
            each=tasks.after,
            interruption=lambda: tasks.word,
        )
        tasks.close(found.solution.x)
        return found

    def _answer(self, x: np.ndarray) -> dict[str, Any]:
        if len(self.classes_) == 2:
            return super()._answer(x)
        coef, intercept = of_classes(x, len(self.classes_), self.fit_intercept)
        return {"coef_": coef, "intercept_": intercept, "n_features_in_": coef.shape[1]}

    def _margins(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        if len(self.classes_) == 2:
            return super()._margins(X)
        X = validate_data(self, X, accept_sparse="csr", dtype=[np.float64, np.float32], reset=False)
        return safe_sparse_dot(X, self.coef_.T, dense_output=True) + self.intercept_

    def _loss(self) -> str:
        return "logistic"

    def _penalty(self) -> dict[str, Any]:
        penalty = {"l2": (1 - self.l1_ratio) / self.C, "l1": self.l1_ratio / self.C, "per_weight": True}
        return penalty | {"penalty_factors": self.penalty_factors}

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities of the classes, (rows, classes)."""
        margins = self._margins(X)
        if margins.ndim == 2:
            return softmax(margins, axis=1)
        chance = expit(margins)
        return np.stack([1 - chance, chance], axis=1)

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Their logarithms, (rows, classes)."""
        margins = self._margins(X)
        if margins.ndim == 2:
            return log_softmax(margins, axis=1)
        return -np.stack([np.logaddexp(0, margins), np.logaddexp(0, -margins)], axis=1)


class LinearSVC(LinearClassifier):
    """Two classes by the squared hinge loss: C times the sum of the losses plus |coef|^2 / 2, the intercept not penalised."""

    def _loss(self) -> str:
        return "squared_hinge"

    def _penalty(self) -> dict[str, Any]:
        return {"l2": 1 / self.C, "per_weight": True}
