"""First-order methods and L-BFGS: they reach the optimum or keep to their rate, whatever the workers and the penalty."""

from itertools import product

import numpy as np
import pytest

from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.stop import Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.methods.first_order import fista, gradient, heavy_ball, lbfgs, nesterov, prox_gradient
from mpiopt.outer.steps import Forward
from mpiopt.problems.certificate import duality_gap
from mpiopt.problems.penalties import L1, L2, Box, ElasticNet
from tests.problem_sets import Data

SMOOTH = {
    "gradient": gradient,
    "heavy_ball": heavy_ball,
    "nesterov": nesterov,
    "lbfgs": lbfgs,
    "prox_gradient": prox_gradient,
    "fista": fista,
    "jacobi": lambda: lbfgs(jacobi=True),
}
KINDS = list(product(("logistic", "least_squares"), (False, True), (False, True)))


def violation(data: Data, penalty, x: np.ndarray) -> float:
    """The length of the shortest subgradient, straight from the definition of the loss."""
    slope = data.objective(x, L2(0.0, free=penalty.free))[1]
    return float(np.linalg.norm(penalty.residual(x, slope)))


@pytest.mark.parametrize(("loss", "intercept", "weighted"), KINDS)
@pytest.mark.parametrize("name", SMOOTH)
def test_they_find_the_smooth_optimum(worlds, name, loss, intercept, weighted):
    data, penalty = Data(loss=loss, intercept=intercept, weighted=weighted), L2(0.05, free=int(intercept))
    found = solve(SMOOTH[name](), data.team(worlds(workers=3), penalty), np.zeros(data.dim), Stop(rounds=400, gradient=1e-9))
    assert found.final.gradient_norm <= 1e-9, found.reason_text
    np.testing.assert_allclose(found.x, data.optimum(penalty), atol=1e-7)
    assert violation(data, penalty, found.x) == pytest.approx(found.final.gradient_norm, abs=1e-12)
    assert found.final.vector_rounds == found.final.round + 1 + (name == "jacobi")


PENALTIES = [L1(0.02), ElasticNet(0.02, 0.01), Box(-0.3, 0.2, 0.01), Box(0.0, np.inf)]


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("method", [prox_gradient, fista, lambda: fista(active_set=False)], ids=["prox", "active", "plain"])
def test_they_find_the_optimum_at_kinks_and_walls(worlds, method, penalty, intercept):
    data = Data(intercept=intercept, weighted=True)
    penalty = type(penalty)(**{**penalty.__dict__, "free": int(intercept)})
    team = data.team(worlds(workers=3), penalty)
    found = solve(method(), team, np.zeros(data.dim), Stop(rounds=1500, gradient=1e-10))
    assert found.final.gradient_norm <= 1e-10, found.reason_text
    assert violation(data, penalty, found.x) <= 1.1e-10
    assert found.final.objective == pytest.approx(data.objective(found.x, L2(0.0))[0] + penalty.value(found.x), rel=1e-12)
    if isinstance(penalty, ElasticNet):
        assert 0 < np.count_nonzero(found.x) < data.dim
        assert duality_gap(team, [site.loss.point(found.x) for site in team.sites]) <= 1e-9
    else:
        assert (penalty.prox(found.x, 0.0) == found.x).all()


@pytest.mark.parametrize("penalty", [L2(1e-2), L1(0.02), ElasticNet(0.01, 0.1), Box(-0.2, 0.3)])
@pytest.mark.parametrize("lipschitz", [None, 3.0])
def test_proximal_gradient_descends_at_its_rate(worlds, penalty, lipschitz):
    """Beck and Teboulle, A fast iterative shrinkage-thresholding algorithm for linear inverse problems, 2009."""
    data = Data(rows=60, features=10)
    team = data.team(worlds(workers=2), penalty)
    best = solve(fista(active_set=False), team, np.zeros(data.dim), Stop(rounds=3000, gradient=1e-12))
    found = solve(prox_gradient(lipschitz), team, np.zeros(data.dim), Stop(rounds=100))
    objectives = np.array([record.objective for record in found.history])
    assert (np.diff(objectives) <= 1e-14).all()
    top = 0.25 * np.linalg.norm(data.a.toarray(), 2) ** 2 / 60
    assert lipschitz is None or top <= lipschitz
    allowed = max(2 * top, lipschitz or 0.0) * best.x @ best.x / (2 * np.arange(1, objectives.size))  # ibid., theorem 3.1
    assert (objectives[1:] - best.final.objective <= allowed + 1e-12).all()


def test_fista_keeps_to_its_rate_until_its_first_restart(worlds):
    data, penalty = Data(rows=60, features=40), L1(1e-3)
    team = data.team(worlds(), penalty)
    top = 0.25 * np.linalg.norm(data.a.toarray(), 2) ** 2 / 60
    best = solve(fista(), team, np.zeros(data.dim), Stop(rounds=100, gradient=1e-11))
    runs = rounds(fista(top, active_set=False), team, np.zeros(data.dim))
    next(runs)
    for k, run in zip(range(1, 60), runs, strict=False):
        if run.states.outer.t < 1 + k / 2:
            break
        p = run.states.outer.p
        reached = data.objective(p, L2(0.0))[0] + penalty.value(p)
        assert reached - best.final.objective <= 2 * top * best.x @ best.x / (k + 1) ** 2 + 1e-12  # ibid., theorem 4.4
    assert k > 10


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_optimum_is_a_fixed_point(worlds, penalty):
    data = Data()
    team = data.team(worlds(workers=2), penalty)
    best = solve(fista(active_set=False), team, np.zeros(data.dim), Stop(rounds=3000, gradient=1e-13)).x
    for method in (prox_gradient(), fista(active_set=False), fista()):
        runs = rounds(method, team, best)
        next(runs)
        for run, _ in zip(runs, range(3), strict=False):
            np.testing.assert_allclose(run.points[0].x, best, atol=1e-12)
    moved = solve(prox_gradient(), team, penalty.prox(best + 0.1, 0.0), Stop(rounds=1)).x
    assert abs(moved - best).max() > 1e-6


def test_many_features_give_the_support_of_liblinear(worlds):
    data, penalty = Data(rows=80, features=400, density=0.05, seed=3), L1(0.01)
    team = data.team(worlds(workers=4), penalty)
    found = solve(fista(), team, np.zeros(data.dim), Stop(rounds=100, gradient=1e-12))
    from sklearn.linear_model import LogisticRegression  # here: every rank imports this file

    theirs = LogisticRegression(l1_ratio=1, solver="liblinear", fit_intercept=False, C=1 / (0.01 * 80), tol=1e-8)
    theirs = theirs.set_params(max_iter=10000).fit(data.a, data.y).coef_[0]
    np.testing.assert_array_equal(found.x != 0, theirs != 0)
    np.testing.assert_allclose(found.x, theirs, atol=1e-6)
    plain = solve(fista(active_set=False), team, np.zeros(data.dim), Stop(rounds=20000, gradient=1e-10))
    np.testing.assert_allclose(found.x, plain.x, atol=1e-7)
    assert found.final.bytes_sent < plain.final.bytes_sent


def test_where_nothing_matters_zero_is_the_answer(worlds):
    data, penalty = Data(), L1(10.0)
    found = solve(fista(), data.team(worlds(workers=2), penalty), np.ones(data.dim), Stop(rounds=20, gradient=0.0))
    assert not found.x.any()


def test_lbfgs_is_conjugate_gradients_on_a_quadratic(worlds):
    data, penalty = Data(rows=60, features=12, loss="least_squares", density=0.8), L2(0.1)
    a = data.a.toarray()
    h, b = a.T @ a / 60 + 0.1 * np.eye(12), a.T @ data.y / 60
    x, r = np.zeros(12), b.copy()
    p = r.copy()
    runs = rounds(lbfgs(memory=12), data.team(worlds(workers=2), penalty), x.copy())
    next(runs)
    for _ in range(8):
        step = (r @ r) / (p @ h @ p)
        x, before = x + step * p, r @ r
        r = r - step * (h @ p)
        p = r + (r @ r) / before * p
        np.testing.assert_allclose(next(runs).points[0].x, x, atol=1e-8)
    for _ in range(6):
        end = next(runs)
    np.testing.assert_allclose(end.points[0].x, np.linalg.solve(h, b), atol=1e-9)


@pytest.mark.parametrize("method", [gradient, heavy_ball, nesterov, lbfgs])
@pytest.mark.parametrize("penalty", [L1(0.1), Box(-1.0, 1.0)])
def test_smooth_methods_refuse_kinks_and_walls_and_name_fista(worlds, method, penalty):
    data = Data()
    with pytest.raises(CapabilityError, match="fista"):
        solve(method(), data.team(worlds(workers=2), penalty), np.zeros(data.dim), Stop(rounds=1))


@pytest.mark.parametrize("given", [0.0, -1.0, np.nan])
def test_a_step_size_must_make_sense(worlds, given):
    data = Data()
    with pytest.raises(UsageError, match="positive"):
        solve(gradient(lipschitz=given), data.team(worlds(), L2(0.1)), np.zeros(data.dim), Stop(rounds=1))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_the_search_for_the_step_ends_whatever_the_gradient(worlds, value):
    team = Data().team(worlds(workers=2), L2(0.1))
    points = [site.loss.point(np.zeros(15)) for site in team.sites]
    with np.errstate(all="ignore"):
        ahead, (length, ceiling), _ = Forward()(np.full(15, value), points, Forward().init(np.zeros(15), team), team)
    assert len(ahead) == 2 and not length > ceiling


@pytest.mark.ranks(3)
@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("name", [*SMOOTH, "kink"])
def test_ranks_do_not_matter(worlds, world, name, deterministic):
    data, penalty = Data(intercept=True), ElasticNet(0.02, 0.01, free=1) if name == "kink" else L2(0.05, free=1)
    method = fista() if name == "kink" else SMOOTH[name]()
    options = {"workers": 6, "deterministic": deterministic}
    ends = [data.team(made, penalty) for made in (worlds(**options), type(world)(_itself(), **options))]
    found, alone = (solve(method, team, np.zeros(data.dim), Stop(rounds=15)) for team in ends)
    if deterministic:
        np.testing.assert_array_equal(found.x, alone.x)
        assert [r.objective for r in found.history] == [r.objective for r in alone.history]
    else:
        np.testing.assert_allclose(found.x, alone.x, rtol=0, atol=1e-12)


def _itself():
    from mpi4py import MPI

    return MPI.COMM_SELF
