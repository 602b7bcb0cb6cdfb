"""LogisticRegressionCV: scikit-learn's choice on the same folds, on any number of ranks, and what it refuses."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.linear_model import LogisticRegressionCV as TheirsCV
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, ShuffleSplit, StratifiedKFold

from mpiopt import LogisticRegressionCV

CS = [1e-3, 1e-2, 1e-1, 1.0, 10.0]


def rows(count=150):
    rng = np.random.default_rng(1)
    X = np.round(rng.standard_normal((count, 10)), 3)
    return X, X @ rng.standard_normal(10) + 0.5 + 3 * rng.standard_normal(count) > 0


@pytest.mark.ranks(1, 2)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_choice_and_the_coefficients_are_scikit_learns(world):
    X, y = rows()
    folds = StratifiedKFold(4, shuffle=True, random_state=0)
    ours = LogisticRegressionCV(CS, cv=folds, tol=1e-12).fit(X, y)
    theirs = TheirsCV(Cs=CS, cv=folds, scoring="neg_log_loss", tol=1e-10, max_iter=5000).fit(X, y)
    assert ours.C_ == np.ravel(theirs.C_)[0] and CS[0] < ours.C_ < CS[-1]
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    assert ours.losses_.shape == ours.areas_.shape == (1, 5, 4) and ours.coefs_paths_.shape == (1, 5, 11)
    wide = LogisticRegressionCV(CS, cv=folds, choose="1se").fit(X, y)
    assert wide.C_ <= ours.C_


@pytest.mark.ranks(1, 2)
def test_l1_is_scored_as_scikit_learn_scores_it(world):
    X, y = rows(80)
    ours = LogisticRegressionCV(CS[1:4], (1.0,), cv=KFold(2), tol=1e-10, fit_intercept=False).fit(X, y)
    for i, C in enumerate(CS[1:4]):
        for k, (some, held) in enumerate(KFold(2).split(X)):
            one = Theirs(C=C, l1_ratio=1.0, solver="liblinear", fit_intercept=False, tol=1e-8, max_iter=5000)
            one.fit(X[some], y[some])
            assert ours.losses_[0, i, k] == pytest.approx(log_loss(y[held], one.predict_proba(X[held])), abs=1e-6)


def test_what_cannot_be_is_said():
    X, y = rows(30)
    for given, told in (
        ({"Cs": [1, -1]}, "finite numbers above 0"),
        ({"l1_ratios": (2,)}, "shares of l1"),
        ({"cv": 20}, "20 folds cannot be made of"),
        ({"cv": ShuffleSplit(3, random_state=0)}, "once"),
        ({"cv": KFold(2), "rows": "mine"}, "say how many"),
    ):
        with pytest.raises(ValueError, match=told):
            LogisticRegressionCV(**given).fit(X, y)
