"""Estimators keep scikit-learn's contract, alone in their process as well."""

import pickle

import numpy as np
import pytest
import scipy.sparse
from sklearn import linear_model
from sklearn.utils.estimator_checks import check_estimator

import mpiopt
from mpiopt.comm.alone import SelfComm
from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.errors import UsageError
from mpiopt.methods import find
from mpiopt.problems.penalties import L2
from tests.problem_sets import Data

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")  # separable rows have no optimum
NAMES = ["LogisticRegression", "Ridge", "PoissonRegressor", "LinearSVC", "HuberRegressor", "LogisticRegressionCV"]


@pytest.mark.parametrize("name", NAMES)
def test_scikit_learn_finds_nothing_amiss(name):
    given = {"Cs": 2, "cv": 2} if name.endswith("CV") else {}
    checked = check_estimator(getattr(mpiopt, name)(**given), on_fail=None, on_skip=None)
    failed = [one for one in checked if one["status"] == "failed"]
    assert not failed, [(one["check_name"], one["exception"]) for one in failed]


def test_a_process_alone_finds_the_same_bits_without_mpi(world):
    data, stop = Data(weighted=True), Stop(rounds=6)
    for name in ("spcg", "dane", "lbfgs", "disco"):
        found = [
            solve(find(name).make(), data.team(each, L2(0.1)), np.zeros(data.dim), stop)
            for each in (world, World(SelfComm()), World(SelfComm(), workers=1, deterministic=True))
        ]
        np.testing.assert_array_equal(found[0].x, found[1].x)
        np.testing.assert_array_equal(found[0].x, found[2].x)
        sent = [np.diff([one.bytes_sent for one in each.history]).tolist() for each in found]
        assert sent[0] == sent[1]


def test_a_process_alone_moves_what_it_sends_to_itself():
    alone = World(SelfComm(), workers=3)
    parts = [np.arange(4.0)]
    np.testing.assert_array_equal(alone.alltoall(parts)[0], parts[0])
    np.testing.assert_array_equal(alone.gather(parts[0])[0], parts[0])
    np.testing.assert_array_equal(alone.sum([parts[0]] * 3), 3 * parts[0])
    assert (alone.best([3.0, 1.0, 2.0]), alone.tell_all("x"), alone.by_node().size) == (1, ["x"], 1)
    alone.barrier()
    alone.rest()
    alone.free()


def test_what_was_fitted_is_told_and_kept():
    rng = np.random.default_rng(0)
    X = scipy.sparse.random(80, 7, 0.5, "csr", rng=rng)
    y = np.where(X @ rng.standard_normal(7) + 0.1 * rng.standard_normal(80) > 0, "yes", "no")
    model = mpiopt.LogisticRegression(C=10, warm_start=True).fit(X, y)
    assert (
        model.certificate_.gap <= 1e-14 and model.n_iter_ == len(model.history_) - 1 and list(model.classes_) == ["no", "yes"]
    )
    assert pickle.loads(pickle.dumps(model)).predict(X).tolist() == model.predict(X).tolist()
    assert model.fit(X, y).n_iter_ <= 1
    for solver in ("spcg", "lbfgs"):
        other = mpiopt.LogisticRegression(C=10, solver=solver).fit(X.tocsc().astype(np.float32), y)
        np.testing.assert_allclose(other.coef_, model.coef_, atol=1e-4)
    sparse = mpiopt.LogisticRegression(C=0.3, l1_ratio=1.0, tol=1e-9).fit(X, y)
    assert 0 < (sparse.coef_ == 0).sum()
    offset = rng.standard_normal(80)
    found = mpiopt.fit(X, np.where(y == "yes", 1.0, -1.0), l2=0.1, offset=offset)
    base = mpiopt.fit(scipy.sparse.hstack([X, offset[:, None]]), np.where(y == "yes", 1.0, -1.0), l2=0.1)
    assert found.coef.shape == (7,) and abs(found.coef - base.coef[:7]).max() > 1e-6  # there the offset has a coefficient


@pytest.mark.parametrize("intercept", [False, True])
def test_several_classes_are_scikit_learns(intercept):
    rng = np.random.default_rng(0)
    X = scipy.sparse.random(120, 8, 0.5, "csr", rng=rng, data_rvs=rng.standard_normal)
    y = np.array(["a", "b", "c"])[(X @ rng.standard_normal((8, 3)) + rng.gumbel(size=(120, 3))).argmax(1)]
    weight = rng.integers(1, 4, 120).astype(float)
    ours = mpiopt.LogisticRegression(C=2.0, fit_intercept=intercept, warm_start=True).fit(X, y, weight)
    theirs = linear_model.LogisticRegression(C=2.0, fit_intercept=intercept, tol=1e-10, max_iter=5000).fit(X, y, weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-6)
    np.testing.assert_allclose(np.exp(ours.predict_log_proba(X)), ours.predict_proba(X), rtol=1e-12)
    assert (ours.predict(X) == theirs.predict(X)).all() and ours.decision_function(X).shape == (120, 3)
    assert ours.fit(X, y, weight).n_iter_ <= 1
    with pytest.raises(ValueError, match="for two classes"):
        mpiopt.LogisticRegression(l1_ratio=0.5).fit(X, y)


def test_penalty_factors_are_other_units_and_0_is_no_penalty():
    data, p = Data(weighted=True), np.tile([0.5, 1.0, 3.0], 5)
    X, given = data.a.toarray(), {"C": 0.2, "l1_ratio": 1.0, "tol": 1e-13}
    found = mpiopt.LogisticRegression(**given, penalty_factors=p).fit(X, data.y, data.w)
    plain = mpiopt.LogisticRegression(**given).fit(X / p, data.y, data.w)
    assert 0 < (found.coef_ == 0).sum() < 15
    np.testing.assert_allclose(found.coef_ * p, plain.coef_, atol=1e-5)
    free = mpiopt.LogisticRegression(**given | {"tol": 1e-9}, penalty_factors=p * (p < 3)).fit(X, data.y, data.w)
    slope = (data.w / (1 + np.exp(data.y * free.decision_function(X))) * data.y) @ X
    assert abs(slope[p == 3]).max() < 1e-6 and (free.coef_ == 0).any()
    for wrong, told in ((p[:3], "give one a feature"), (-p, "at least 0")):
        with pytest.raises(UsageError, match=told):
            mpiopt.LogisticRegression(penalty_factors=wrong).fit(X, data.y)


def test_bad_input_is_told_in_a_sentence():
    X, y = np.eye(3), np.array([1.0, -1.0, 1.0])
    for given, said in (
        ({"X": X, "y": y[:2]}, "y has 2 entries, and X 3 rows"),
        ({"X": X}, "y is missing"),
        ({"X": X, "y": y, "sample_weight": -y}, "sample_weight has values that are not finite or negative"),
        ({"X": X * np.nan, "y": y}, "X has values that are not finite"),
        ({"X": X, "y": y, "rows": "yours"}, "rows='yours': give .same."),
        ({"X": "there.h5", "y": y}, r"there.h5 has its own y"),
    ):
        with pytest.raises(UsageError, match=said):
            mpiopt.fit(**given)


def test_every_kind_of_table_is_taken():
    """Frames, Arrow tables and tensors hold the same rows, and those with names give them."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 3))
    y = x @ [1, -1, 0.5] + rng.standard_normal(60) > 0
    wanted = mpiopt.LogisticRegression().fit(x, y)
    of = {
        "pandas": lambda lib: lib.DataFrame(x, columns=list("abc")),
        "polars": lambda lib: lib.DataFrame(x, schema=list("abc")),
        "pyarrow": lambda lib: lib.table({name: x[:, k] for k, name in enumerate("abc")}),
        "torch": lambda lib: lib.from_dlpack(x),
    }
    for name, made in of.items():
        try:
            table = made(__import__(name))
        except ImportError:
            continue
        model = mpiopt.LogisticRegression().fit(table, y)
        np.testing.assert_array_equal(model.coef_, wanted.coef_)
        np.testing.assert_array_equal(model.predict(table), wanted.predict(x))
        assert name == "torch" or model.feature_names_in_.tolist() == list("abc")
        assert len(mpiopt.fit(table, np.where(y, 1.0, -1.0), l2=0.1).coef) == 3


def test_they_are_parts_of_pipelines_and_are_calibrated():
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(1)
    x = rng.standard_normal((90, 3))
    y = x @ [1, -1, 0.5] + rng.standard_normal(90) > 0
    chances = CalibratedClassifierCV(mpiopt.LinearSVC(), cv=3).fit(x, y).predict_proba(x)
    assert ((chances[:, 1] > 0.5) == y).mean() > 0.7
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    chain = make_pipeline(StandardScaler(), mpiopt.LogisticRegression()).set_output(transform="pandas")
    assert chain.fit(pandas.DataFrame(x, columns=list("abc")), y)[-1].feature_names_in_.tolist() == list("abc")


def test_callbacks_are_told_of_every_round_and_may_end_a_fit():
    callback = pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")

    class Watching:
        """Counts rounds, and ends the fit after so many."""

        def __init__(self, most: int) -> None:
            self.most, self.losses, self.calls = most, [], []

        def setup(self, estimator, context):
            self.calls.append("setup")

        def teardown(self, estimator, context):
            self.calls.append("teardown")

        def on_fit_task_begin(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
            pass

        def on_fit_task_end(self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None):
            if context.task_name == "round" and fitted_estimator is not None:
                self.losses.append(float(np.logaddexp(0, -fitted_estimator.decision_function(x) * y).mean()))
                return len(self.losses) >= self.most
            return False

    assert isinstance(Watching(1), callback.FitCallback)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((90, 3))
    y = np.where(x @ [1, -1, 0.5] + rng.standard_normal(90) > 0, 1.0, -1.0)
    plain, watching = mpiopt.LogisticRegression(solver="lbfgs").fit(x, y), Watching(999)
    watched = mpiopt.LogisticRegression(solver="lbfgs").set_callbacks(watching).fit(x, y)
    np.testing.assert_array_equal(watched.coef_, plain.coef_)
    assert len(watching.losses) == plain.n_iter_ and watching.losses[-1] < watching.losses[0]
    assert watching.calls == ["setup", "teardown"]
    ended = mpiopt.LogisticRegression(solver="lbfgs").set_callbacks(Watching(2)).fit(x, y)
    assert ended.n_iter_ == 3  # the rules had looked at round 2 before the callback did
