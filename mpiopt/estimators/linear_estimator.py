"""Linear models in scikit-learn's manner: fitted by any method of the catalogue, with a certificate, on all ranks alike.

Under ``mpiexec -n 4 python fit.py`` the same lines run on every rank; see `estimators.fit` for what ``rows`` says.
"""

import warnings
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.extmath import safe_sparse_dot
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from mpiopt.engine.stop import Reason
from mpiopt.estimators.callbacks import CallbackSupportMixin, FitTasks, with_callbacks
from mpiopt.estimators.fit import ClassesSolution, LinearSolution, fit


class LinearEstimator(CallbackSupportMixin, BaseEstimator):
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

    def _class_words(self, X: Any) -> str | None:
        """What `fit` is told of the weights of classes: only of a data set, whose rows have not been seen."""
        return None

    @with_callbacks
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, offset: Any = None) -> "LinearEstimator":
        """Fit the model. Collective: every rank gets the same.

        X : (rows, features), dense or sparse, or the path of a data set, which has labels, weights and offsets of its own.
        y : (rows,). sample_weight, offset : (rows,), if any. Callbacks of scikit-learn (`set_callbacks`) are told of every
        round; the word of one ends the fit after the round that follows.
        """
        before = getattr(self, "coef_", None) if self.warm_start else None
        if isinstance(X, str | Path):
            self._name_classes()
            return self._found(self._solved(X, y, sample_weight, offset, before))
        X, y = validate_data(self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], y_numeric=self._numeric)
        weight = None if sample_weight is None else _check_sample_weight(sample_weight, X, dtype=np.float64)
        if weight is not None and (weight < 0).any():
            raise ValueError("Negative values in data passed to sample_weight")
        targets = self._targets(y)
        return self._found(self._solved(X, targets, self._class_weight(y, weight), offset, before))

    _numeric = False

    def _name_classes(self) -> None:
        """Of a data set, whose labels are its own."""

    def _solved(self, X: Any, y: Any, weight: Any, offset: Any, before: np.ndarray | None) -> LinearSolution | ClassesSolution:
        start = None
        if before is not None:
            start = np.append(before, self.intercept_) if self.fit_intercept else np.ravel(before)
        tasks = FitTasks(self, X, y, self._answer)
        found = fit(
            X,
            y,
            loss=self._loss(),
            **self._penalty(),
            intercept=self.fit_intercept,
            sample_weight=weight,
            offset=offset,
            class_weight=self._class_words(X),
            solver=self.solver,
            tol=self.tol,
            max_iter=self.max_iter,
            rows=self.rows,
            start=start,
            each=tasks.after,
            interruption=lambda: tasks.word,
        )
        tasks.close(found.solution.x)
        return found

    def _answer(self, x: np.ndarray) -> dict[str, Any]:
        """The attributes of a model at a point x (dim,)."""
        coef, intercept = (x[:-1], float(x[-1])) if self.fit_intercept else (x, 0.0)
        return {"coef_": coef, "intercept_": intercept, "n_features_in_": len(coef)}

    def _found(self, found: LinearSolution | ClassesSolution) -> "LinearEstimator":
        solution = found.solution
        self.coef_: Any = found.coef
        self.intercept_: Any = found.intercept
        self.n_features_in_ = np.shape(found.coef)[-1]
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
