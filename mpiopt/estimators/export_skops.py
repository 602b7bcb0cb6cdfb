"""A linear model as an estimator of scikit-learn in a file of skops, which runs no code when it is read (extra: skops)."""

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from mpiopt.errors import CapabilityError
from mpiopt.io.dataset.class_team import MULTINOMIAL
from mpiopt.io.runs.class_coefficients import ClassCoefficients
from mpiopt.io.runs.coefficients import Coefficients


def write_skops(found: Coefficients | ClassCoefficients, file: BinaryIO) -> None:
    """Write the model for ``skops.io.load``. Raises CapabilityError without skops, or where scikit-learn has no such model."""
    try:
        from skops.io import dumps
    except ImportError as error:
        raise CapabilityError(f"models are kept by skops, which is not here ({error}): pip install 'mpiopt[skops]'") from error
    file.write(dumps(as_scikit_learn(found) if isinstance(found, Coefficients) else of_several(found)))


def as_scikit_learn(found: Coefficients) -> Any:
    """An estimator of scikit-learn that predicts what the model does, of the features as they were. Raises CapabilityError."""
    from sklearn import linear_model, svm

    model = found.model
    kinds = {
        "logistic": linear_model.LogisticRegression,
        "squared_hinge": svm.LinearSVC,
        "least_squares": linear_model.LinearRegression,
        "huber": linear_model.LinearRegression,
        "poisson": linear_model.PoissonRegressor,
    }
    if model.family.name not in kinds:
        raise CapabilityError(f"scikit-learn has no model of the {model.family.name} loss: export to csv or json")
    made = kinds[model.family.name](fit_intercept=found.intercept)
    made.n_features_in_ = len(model.x)
    if found.names is not None:
        made.feature_names_in_ = np.array(found.names, object)
    if model.classes is None:
        made.coef_, made.intercept_ = np.array(model.x), float(model.intercept)
        if model.family.name == "poisson":
            made._base_loss = made._get_loss()
        return made
    made.classes_ = _called(model.classes[::-1])
    made.coef_, made.intercept_ = np.array(model.x)[None], np.array([model.intercept])
    return made


def of_several(found: ClassCoefficients) -> Any:
    """The same of several classes: multinomial, or one against the rest by the squared hinge. Raises CapabilityError."""
    from sklearn import linear_model, svm

    model, two = found.model, len(found.model.classes) == 2
    if model.kind != MULTINOMIAL and (model.family.name != "squared_hinge" or two):
        raise CapabilityError(f"scikit-learn has no such model of the {model.family.name} loss: export to csv or json")
    kind = linear_model.LogisticRegression if model.kind == MULTINOMIAL else svm.LinearSVC
    made = kind(fit_intercept=found.intercept)
    x, intercept = (np.diff(model.x), np.diff(model.intercept)) if two else (model.x, model.intercept)  # it keeps a difference
    made.coef_, made.intercept_, made.classes_ = np.ascontiguousarray(x.T), np.array(intercept), _called(model.classes)
    made.n_features_in_ = len(model.x)
    if found.names is not None:
        made.feature_names_in_ = np.array(found.names, object)
    return made


def _called(names: Sequence[str]) -> np.ndarray:
    """The names of classes as numbers, where all are."""
    labels = np.array(names)
    try:
        return labels.astype(float)
    except ValueError:
        return labels
