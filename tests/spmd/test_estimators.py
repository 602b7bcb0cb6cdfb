"""The same three lines on any number of ranks: every rank has the same fitted object."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression as Theirs
from sklearn.model_selection import GridSearchCV

from mpiopt import LogisticRegression, PoissonRegressor, UsageError, fit
from mpiopt.io.text.convert import convert
from mpiopt.io.text.options import TextOptions


def rows(seed=0, count=300):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((count, 8)) * (rng.random((count, 8)) < 0.5)
    y = np.where(X @ rng.standard_normal(8) + 0.5 + rng.standard_normal(count) > 0, 3, 1)
    return X, y, rng.integers(1, 4, count).astype(float)


@pytest.mark.ranks(1, 2, 3)
def test_all_ranks_fit_what_scikit_learn_does(world):
    X, y, w = rows()
    theirs = Theirs(C=1.0, tol=1e-12, solver="newton-cholesky").fit(X, y, w)
    same = LogisticRegression(C=1.0).fit(X, y, sample_weight=w)
    mine = slice(*np.linspace(0, len(y), world.size + 1).astype(int)[world.rank : world.rank + 2])
    own = LogisticRegression(C=1.0, rows="mine").fit(X[mine], y[mine], sample_weight=w[mine])
    balanced = LogisticRegression(C=1.0, rows="mine", class_weight="balanced").fit(X[mine], y[mine], sample_weight=w[mine])
    other = Theirs(C=1.0, tol=1e-12, solver="newton-cholesky", class_weight="balanced").fit(X, y, w)
    for ours, wanted in ((same, theirs), (own, theirs), (balanced, other)):
        np.testing.assert_allclose(ours.coef_, wanted.coef_, atol=1e-7)
        np.testing.assert_allclose(ours.intercept_, wanted.intercept_, atol=1e-7)
        np.testing.assert_allclose(ours.predict_proba(X), wanted.predict_proba(X), atol=1e-6)
        found = world.gather(np.append(ours.coef_, ours.intercept_))
        assert all((each == found[0]).all() for each in found)


@pytest.mark.ranks(1, 3)
def test_several_classes_of_which_a_rank_may_lack_one(world):
    X, _, w = rows(count=150)
    y = np.sort(np.argmax(X[:, :3] + np.random.default_rng(1).gumbel(size=(150, 3)), axis=1))  # class by class
    theirs = Theirs(C=1.0, tol=1e-12, solver="newton-cholesky").fit(X, y, w)
    mine = slice(*np.linspace(0, len(y), world.size + 1).astype(int)[world.rank : world.rank + 2])
    assert world.size == 1 or len(set(y[mine])) < 3
    for ours in (LogisticRegression().fit(X, y, w), LogisticRegression(rows="mine").fit(X[mine], y[mine], w[mine])):
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
        assert (ours.predict(X) == theirs.predict(X)).all() and list(ours.classes_) == [0, 1, 2]


@pytest.mark.ranks(1, 2)
def test_a_data_set_on_disk_is_fitted_where_it_lies(world, shared_tmp):
    X, y, w = rows()
    if world.rank == 0:
        lines = [f"{a} " + " ".join(f"{j + 1}:{v!r}" for j, v in enumerate(x.tolist()) if v) for a, x in zip(y, X, strict=True)]
        (shared_tmp / "a.svm").write_text("\n".join(lines))
        (shared_tmp / "w.txt").write_text("\n".join(map(str, w)))
    world.barrier()
    convert(world, [shared_tmp / "a.svm"], shared_tmp / "a.h5", TextOptions(values="float64", weights=shared_tmp / "w.txt"))
    found = LogisticRegression(C=1.0).fit(shared_tmp / "a.h5")
    arrays = LogisticRegression(C=1.0).fit(X, y, sample_weight=w)
    np.testing.assert_allclose(found.coef_, arrays.coef_, atol=1e-8)
    assert list(found.classes_) == [-1, 1] and found.n_features_in_ == 8
    low, high = arrays.classes_
    for here, there in (("balanced", "balanced"), ({1: 3.0}, {low: 1.0, high: 3.0})):
        found = LogisticRegression(class_weight=here).fit(shared_tmp / "a.h5")
        arrays = LogisticRegression(class_weight=there).fit(X, y, sample_weight=w)
        np.testing.assert_allclose(found.coef_, arrays.coef_, atol=1e-8)
    with pytest.raises(UsageError, match="has its own sample_weight"):
        LogisticRegression().fit(shared_tmp / "a.h5", sample_weight=w)
    with pytest.raises(ValueError, match="the classes of a data set are -1 and 1"):
        LogisticRegression(class_weight={7: 2.0}).fit(shared_tmp / "a.h5")


@pytest.mark.ranks(2)
def test_ranks_that_bring_unlike_rows_say_so(world):
    X, y, w = rows(count=40)
    for given in ((X + world.rank, y), (X[: 40 - world.rank], y[: 40 - world.rank])):
        with pytest.raises(UsageError, match="ranks were given other rows: give every rank all of them"):
            LogisticRegression().fit(*given)
    with pytest.raises(UsageError, match="ranks have rows of other features, or some have weights"):
        fit(X, np.sign(y - 2.0), l2=0.1, rows="mine", sample_weight=w if world.rank else None)


@pytest.mark.ranks(2)
def test_a_grid_is_searched_on_all_ranks(world):
    X, y, _ = rows(count=60)
    found = GridSearchCV(LogisticRegression(), {"C": [0.01, 1.0]}, cv=2).fit(X, y)
    theirs = GridSearchCV(Theirs(solver="newton-cholesky", tol=1e-10), {"C": [0.01, 1.0]}, cv=2).fit(X, y)
    np.testing.assert_allclose(found.cv_results_["mean_test_score"], theirs.cv_results_["mean_test_score"])
    assert found.best_params_ == theirs.best_params_


@pytest.mark.ranks(1, 2)
def test_counts_have_exposures(world):
    X, _, w = rows()
    rng = np.random.default_rng(3)
    exposure = rng.uniform(0.5, 3, len(X))
    y = rng.poisson(exposure * np.exp(0.3 * X[:, 0]))
    found = PoissonRegressor(alpha=0.0).fit(X, y, sample_weight=w, offset=np.log(exposure))
    slope = w * (exposure * found.predict(X) - y)
    assert abs(X.T @ slope).max() <= 1e-8 and abs(slope.sum()) <= 1e-8


GRID = """
import numpy as np
from sklearn.model_selection import GridSearchCV
from mpiopt import LogisticRegression
if __name__ == "__main__":
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 4))
    y = X @ np.ones(4) + rng.standard_normal(80) > 0
    found = GridSearchCV(LogisticRegression(), {"C": [0.01, 1.0]}, cv=2, n_jobs=2).fit(X, y)
    print("best", found.best_params_["C"], found.best_score_)
"""


@pytest.mark.study
@pytest.mark.parametrize("ranks", [None, 2])
def test_workers_of_joblib_compute_alone(launch, ranks):
    done = launch(ranks, GRID)
    assert done.returncode == 0 and len(set(done.stdout.split("best")[1:])) == 1, done.stderr
