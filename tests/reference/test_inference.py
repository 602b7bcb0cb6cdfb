"""Standard errors and likelihood ratios against their definitions, written out densely, and against statsmodels."""

import numpy as np
import pytest
import scipy.sparse
from scipy import stats

from mpiopt.comm.world import World
from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.errors import CapabilityError, DataError
from mpiopt.inference import panels
from mpiopt.inference.named_errors import named_errors
from mpiopt.inference.normal import Estimates, likelihood_ratio
from mpiopt.inference.standard_errors import standard_errors
from mpiopt.losses.registry import find as loss_of
from mpiopt.methods import find
from mpiopt.problems.columns import without
from mpiopt.problems.penalties import L1, L2
from tests.problem_sets import Data, balanced

KINDS = ("hessian", "sandwich", "cluster")
COVARIANCE = {"hessian": {}, "sandwich": {"cov_type": "HC0"}, "cluster": {"cov_type": "cluster"}}


def fitted(world: World, data: Data, l2: float):
    """A team, its optimum, and the clusters of its rows: 17 of them, all over the workers."""
    team = data.team(world, L2(l2, free=int(data.intercept)))
    x = solve(find("newton").make(), team, team.zeros(), Stop(rounds=100, gradient=1e-12)).x
    cuts, clusters = balanced(data.a.indptr, world.workers), np.arange(len(data.y)) % 17.0
    return team, x, [clusters[cuts[w] : cuts[w + 1]] for w in world.hosted], clusters


def dense(data: Data, x: np.ndarray, l2: float, kind: str, clusters: np.ndarray) -> np.ndarray:
    """The same by numpy, from the definition."""
    a = data.a.toarray()
    a = np.hstack([a, np.ones((len(a), 1))]) if data.intercept else a
    (n, d), m = a.shape, a @ x
    if data.family.name == "logistic":
        chance = 1 / (1 + np.exp(-m))
        bend, slope = chance * (1 - chance), chance - (data.y > 0)
    elif data.family.name == "poisson":
        bend, slope = np.exp(m), np.exp(m) - data.y
    else:
        bend, slope = np.ones(n), m - data.y
    ridge = l2 * data.w.sum() * np.ones(d)
    ridge[d - data.intercept :] = 0
    inverse = np.linalg.inv((a.T * (data.w * bend)) @ a + np.diag(ridge))
    if kind == "hessian":
        scale = data.w @ slope**2 / (n - d) if data.family.name == "least_squares" else 1.0
        return np.sqrt(scale * np.diag(inverse))
    scores = a * (data.w * slope)[:, None]
    if kind == "cluster":
        scores = np.array([scores[clusters == c].sum(0) for c in np.unique(clusters)])
    few = 1.0 if kind == "sandwich" else 17 / 16 * (n - 1) / (n - d)
    return np.sqrt(few * np.diag(inverse @ scores.T @ scores @ inverse))


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("loss", "intercept", "weighted", "l2"),
    [("logistic", True, True, 0.01), ("least_squares", True, False, 0.0), ("poisson", False, True, 0.001)],
)
def test_they_are_those_of_the_definition_whatever_the_panels(world, monkeypatch, kind, loss, intercept, weighted, l2):
    monkeypatch.setattr(panels, "WIDTH", 4)
    data = Data(loss="logistic" if loss == "logistic" else "real", intercept=intercept, weighted=weighted)
    if loss == "poisson":
        data.family, data.y = loss_of("poisson"), np.floor(np.exp(np.clip(data.y, -2, 2)))
    team, x, parts, clusters = fitted(world, data, l2)
    found = standard_errors(team, x, kind, parts)
    np.testing.assert_allclose(found, dense(data, x, l2, kind, clusters), rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
def test_they_are_statsmodels(worlds, kind, loss):
    api = pytest.importorskip("statsmodels.api")
    data = Data(rows=300, loss=loss)
    team, x, parts, clusters = fitted(worlds(workers=3), data, 0.0)
    family = api.families.Binomial() if loss == "logistic" else api.families.Gaussian()
    y = (data.y > 0).astype(float) if loss == "logistic" else data.y
    given = COVARIANCE[kind] | ({"cov_kwds": {"groups": clusters.astype(int)}} if kind == "cluster" else {})
    peer = api.GLM(y, data.a.toarray(), family).fit(tol=1e-13, maxiter=100, **given)
    ours = Estimates(x, standard_errors(team, x, kind, parts))
    np.testing.assert_allclose(ours.errors, peer.bse, rtol=1e-6)
    if loss == "logistic" or kind != "hessian":  # least squares there: Student's t
        np.testing.assert_allclose(ours.p, peer.pvalues, rtol=1e-4)
        np.testing.assert_allclose(np.transpose(ours.interval), peer.conf_int(), rtol=1e-4, atol=1e-6)


def test_a_feature_that_only_says_clusters_changes_nothing(worlds):
    data = Data(rows=300)
    team, x, parts, _ = fitted(worlds(workers=2), data, 0.01)
    wider = Data(rows=300)
    wider.a = wider.a.tolil()
    wider.a.resize(300, 16)
    wider.a[:, 15] = 1 + np.arange(300)[:, None] % 17
    wider.a, wider.dim = wider.a.tocsr(), 16
    more = without(wider.team(worlds(workers=2), L2(0.01)), 15)
    found = standard_errors(more, np.append(x, 0.0), "cluster", parts, without=(15,))
    np.testing.assert_allclose(
        found[:15], standard_errors(team, x, "cluster", parts) * np.sqrt((300 - 15) / (300 - 16)), rtol=1e-9
    )
    assert np.isnan(found[15])


@pytest.mark.ranks(1, 2)
def test_what_has_no_errors_is_said(world, monkeypatch):
    monkeypatch.setattr(panels, "WIDTH", 4)
    data = Data()
    twin, team = Data(), data.team(world, L2(0.0))
    twin.a = twin.a.tolil()
    twin.a[:, 9] = twin.a[:, 2] + twin.a[:, 4]
    twin.a = twin.a.tocsr()
    with pytest.raises(DataError, match=r"singular.*: c9 are combinations .*leave them out"):
        standard_errors(twin.team(world, L2(0.0)), np.zeros(15), name=lambda j: f"c{j}")
    with pytest.raises(DataError, match=r"singular.*: 3 never occur"):
        standard_errors(without(team, 3), np.zeros(15))
    with pytest.raises(DataError, match="one cluster"):
        standard_errors(team, np.zeros(15), "cluster", [np.zeros(site.loss.rows) for site in team.sites])
    with pytest.raises(CapabilityError, match="chooses among the features"):
        standard_errors(data.team(world, L1(0.1)), np.zeros(15))
    data.family = loss_of("huber")
    with pytest.raises(CapabilityError, match=r"no likelihood.*sandwich"):
        standard_errors(data.team(world, L2(0.0)), np.zeros(15))


def test_a_likelihood_ratio_is_a_chi_square():
    found = likelihood_ratio(0.5, 0.49, 1000.0, 3)
    assert found.statistic == pytest.approx(20) and found.p == pytest.approx(stats.chi2.sf(20, 3), rel=1e-12)
    assert likelihood_ratio(2.0, 1.0, 1.0, 1, rows=100).statistic == pytest.approx(100 * np.log(2))
    assert likelihood_ratio(0.5, 0.5 + 1e-17, 1.0, 1).p == 1


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
def test_those_of_named_coefficients_are_those_of_all(world, kind, loss):
    data = Data(loss=loss, intercept=True, weighted=True)
    data.a = data.a.multiply(np.logspace(-3, 3, 15)).tocsr()
    team, x, parts, _ = fitted(world, data, 1e-4 if loss == "logistic" else 0.0)
    all_of_them = standard_errors(team, x, kind, parts)
    found = named_errors(team, x, (0, 7, 15), kind, parts)
    np.testing.assert_allclose(found[[0, 7, 15]], all_of_them[[0, 7, 15]], rtol=1e-7)
    assert np.isnan(np.delete(found, [0, 7, 15])).all()


@pytest.mark.ranks(1, 2)
def test_a_coefficient_that_nothing_determines_is_said(world, monkeypatch):
    twin = Data()
    twin.a = twin.a.tolil()
    twin.a[:, 9] = twin.a[:, 2] + twin.a[:, 4]
    twin.a[:, 3] = 0
    twin.a = twin.a.tocsr()
    team = twin.team(world, L2(0.0))
    with pytest.raises(
        DataError, match=r"no standard error of c2, since the Hessian is singular.* such as .*c9.*leave columns"
    ):
        named_errors(team, np.zeros(15), (2,), name=lambda j: f"c{j}")
    with pytest.raises(DataError, match=r"singular.*: c3 never occur"):
        named_errors(team, np.zeros(15), (0, 3), name=lambda j: f"c{j}")
    rest = Data()
    rest.a = np.delete(twin.a.toarray(), [3, 9], 1)
    rest.a, rest.dim = scipy.sparse.csr_matrix(rest.a), 13
    expected = standard_errors(rest.team(world, L2(0.0)), np.zeros(13))
    np.testing.assert_allclose(named_errors(team, np.zeros(15), (0,))[0], expected[0], rtol=1e-8)  # which is determined
    monkeypatch.setattr("mpiopt.inference.standard_errors.MOST", 10)
    with pytest.raises(CapabilityError, match=r"up to 10 coefficients, and here are 15: name those .*`inference_of`"):
        standard_errors(team, np.zeros(15))


@pytest.mark.study
@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("loss", ["logistic", "poisson"])
def test_they_are_statsmodels_at_the_size_of_a9a(world, loss):
    """32,561 x 123, about 14 entries a row, no penalty; all three kinds."""
    api = pytest.importorskip("statsmodels.api")
    data = Data(rows=32_561, features=123, density=0.11, intercept=True)
    data.family, m = loss_of(loss), data.a @ np.linspace(-0.3, 0.3, 123) - 0.5
    draw = np.random.default_rng(1)
    data.y = (
        np.where(draw.random(m.size) < 1 / (1 + np.exp(-m)), 1.0, -1.0) if loss == "logistic" else draw.poisson(np.exp(m)) * 1.0
    )
    team, x, parts, clusters = fitted(world, data, 0.0)
    family = api.families.Binomial() if loss == "logistic" else api.families.Poisson()
    rows, y = np.hstack([data.a.toarray(), np.ones((m.size, 1))]), (data.y > 0) * 1.0 if loss == "logistic" else data.y
    for kind in KINDS:
        given = COVARIANCE[kind] | ({"cov_kwds": {"groups": clusters.astype(int)}} if kind == "cluster" else {})
        wanted = None
        if world.rank == 0:  # begun where we ended, or its steps take minutes
            wanted = api.GLM(y, rows, family).fit(start_params=x, tol=1e-13, maxiter=100, **given).bse
        wanted, some = world.tell(wanted), [0, 60, 123]
        np.testing.assert_allclose(standard_errors(team, x, kind, parts), wanted, rtol=1e-6)
        np.testing.assert_allclose(named_errors(team, x, some, kind, parts)[some], wanted[some], rtol=1e-6)
