"""Group lasso: optima of solvers that are not ours, the largest lambda, and certificates that hold."""

from dataclasses import replace

import numpy as np
import pytest

from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError
from mpiopt.methods import find
from mpiopt.problems.certificate import certify, duality_gap
from mpiopt.problems.grouped import GroupLasso
from mpiopt.problems.penalties import L1, ElasticNet
from mpiopt.problems.problem import gradient
from tests.adversarial_sets import cases
from tests.problem_sets import Data

METHODS = ("spcg", "fista", "prox_gradient")
GROUPS = np.arange(15) % 6  # of 3, 3, 3, 2, 2 and 2 features, none of them neighbours


def largest(data: Data, groups: np.ndarray) -> float:
    """The least lambda at which all coefficients are 0: the dual norm of the slope there, the intercept at its best."""
    x = np.zeros(data.dim)
    if data.intercept:
        x[-1] = intercept(data)
    return float(GroupLasso.of(1.0, groups, free=int(data.intercept)).steepness(data.objective(x, ElasticNet())[1]).max())


def intercept(data: Data) -> float:
    mean = float(data.w @ data.y / data.w.sum())
    return float(np.log((1 + mean) / (1 - mean))) if data.family.name == "logistic" else mean


def reference(data: Data, penalty: GroupLasso) -> np.ndarray:
    """Plain accelerated proximal gradient on dense rows, restarted, until nothing moves."""
    a = np.hstack([data.a.toarray(), np.ones((data.a.shape[0], int(data.intercept)))])
    weights, labels = data.w / data.w.sum(), data.y

    def slope(x):
        m = a @ x
        return a.T @ (weights * (m - labels if data.family.name == "least_squares" else -labels / (1 + np.exp(labels * m))))

    step = 1 / np.linalg.eigvalsh(a.T @ (weights[:, None] * a))[-1]
    x = y = np.zeros(data.dim)
    t = 1.0
    for _ in range(20000):
        before, x = x, penalty.prox(y - step * slope(y), step)
        if abs(x - before).max() < 1e-15:
            break
        t = 1.0 if (y - x) @ (x - before) > 0 else t
        grown = (1 + np.sqrt(1 + 4 * t * t)) / 2
        y, t = x + (t - 1) / grown * (x - before), grown
    return x


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("loss", "l2"), [("logistic", 0.0), ("logistic", 0.01), ("least_squares", 0.0)])
def test_optima_are_those_of_dense_rows(world, loss, l2, intercept):
    data = Data(loss=loss, intercept=intercept, weighted=True)
    penalty = GroupLasso.of(0.5 * largest(data, GROUPS), GROUPS, l2, int(intercept))
    team, best = data.team(world, penalty), reference(data, penalty)
    lengths = penalty.lengths(best)
    assert 0 < (lengths > 0).sum() < lengths.size
    for method in METHODS:
        found = solve(find(method).make(), team, team.zeros(), Stop(rounds=3000, gap=1e-12))
        assert found.reason is Reason.GAP, found.reason_text
        np.testing.assert_allclose(found.x, best, atol=1e-5)
        assert ((penalty.lengths(found.x) > 0) == (lengths > 0)).all()
        assert found.certificate.objective == pytest.approx(data.objective(best, penalty)[0], abs=1.1e-12)


@pytest.mark.study  # skglm compiles for a minute
@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
def test_it_is_skglms(worlds, loss):
    skglm = pytest.importorskip("skglm")
    from skglm.datafits import LogisticGroup, QuadraticGroup
    from skglm.penalties import WeightedGroupL2
    from skglm.solvers import GroupBCD, GroupProxNewton
    from skglm.utils.data import grp_converter

    data = Data(rows=200, features=40, loss=loss)
    groups = np.arange(40) // 5
    penalty = GroupLasso.of(0.5 * largest(data, groups), groups)
    indices, ends = grp_converter(5, 40)
    theirs = WeightedGroupL2(penalty.group_l1, np.full(8, np.sqrt(5)), ends, indices)
    fit, solver = (LogisticGroup, GroupProxNewton) if loss == "logistic" else (QuadraticGroup, GroupBCD)
    peer = skglm.GeneralizedLinearEstimator(fit(ends, indices), theirs, solver(tol=1e-12, fit_intercept=False))
    peer.fit(np.asfortranarray(data.a.toarray()), data.y)
    team = data.team(worlds(workers=2), penalty)
    found = solve(find(METHODS[0]).make(), team, team.zeros(), Stop(rounds=3000, gap=1e-13))
    assert found.reason is Reason.GAP and 0 < (penalty.lengths(found.x) > 0).sum() < 8
    np.testing.assert_allclose(found.x, np.ravel(peer.coef_), atol=1e-6)


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("intercept", [False, True])
def test_nothing_is_left_from_the_largest_lambda_on(world, intercept):
    data = Data(intercept=intercept, weighted=True)
    edge = largest(data, GROUPS)
    for factor, empty in ((1 + (1e-3 if intercept else 1e-12), True), (1 - 1e-3, False)):
        team = data.team(world, GroupLasso.of(factor * edge, GROUPS, free=int(intercept)))
        for method in METHODS:
            found = solve(find(method).make(), team, team.zeros(), Stop(rounds=2000, gap=1e-12))
            assert found.reason.converged and (found.x[:15] != 0).any() == (not empty), (method, factor)


@pytest.mark.ranks(1, 3)
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("l2", [0.0, 1e-6, 0.01])
def test_certificates_hold_and_are_close(world, intercept, l2):
    """The gap is no less than what is lost, and of the size of it near the optimum."""
    data = Data(intercept=intercept, weighted=True)
    penalty = GroupLasso.of(0.2 * largest(data, GROUPS), GROUPS, l2, int(intercept))
    team = data.team(world, penalty)
    best = solve(find(METHODS[0]).make(), team, team.zeros(), Stop(rounds=3000, gap=1e-13))
    assert best.certificate.gap <= 1e-13
    rng = np.random.default_rng(0)
    for size in (1e-4, 1e-2, 1.0):
        far = certify(team, best.x + size * rng.standard_normal(best.x.size), 10)
        lost = far.objective - best.certificate.objective
        assert lost <= far.gap < np.inf and (size > 1e-3 or far.gap < 1e-2)


@pytest.mark.ranks(1, 2)
def test_groups_of_one_are_certified_as_l1(world):
    data = Data(intercept=True, weighted=True)
    x = 0.1 * np.random.default_rng(1).standard_normal(data.dim)
    for l2 in (0.0, 0.01):
        ones = data.team(world, GroupLasso.of(0.02, np.arange(15), l2, 1))
        teams = ones, data.team(world, ElasticNet(0.02, l2, 1))
        one, other = (duality_gap(team, [site.loss.point(x) for site in team.sites]) for team in teams)
        assert one == pytest.approx(other, rel=1e-12)
    grouped, plain = (data.team(world, each) for each in (GroupLasso.of(0.02, np.arange(15), free=1), L1(0.02, 1)))
    found = [solve(find(METHODS[0]).make(), team, team.zeros(), Stop(rounds=2000, gap=1e-13)) for team in (grouped, plain)]
    np.testing.assert_allclose(found[0].x, found[1].x, atol=1e-5)


def test_rounds_do_not_depend_on_the_workers(worlds):
    data, groups = Data(rows=300, features=1000, density=0.05), np.arange(1000) // 5
    penalty = GroupLasso.of(0.2 * largest(data, groups), groups)
    ways = []
    for workers in (1, 8):
        team = data.team(worlds(workers=workers), penalty)
        ways.append(solve(find("spcg").make(), team, team.zeros(), Stop(rounds=100, gap=1e-8)))
    assert all(way.reason is Reason.GAP and way.final.round <= 10 for way in ways)
    assert ways[0].final.round == ways[1].final.round
    np.testing.assert_allclose(ways[0].x, ways[1].x, atol=1e-9)
    objectives = np.array([record.objective for record in ways[1].history])
    assert (np.diff(objectives) <= 1e-14 * abs(objectives[:-1])).all()


def test_groups_that_are_too_large_take_turns_or_are_refused(worlds):
    data, groups, world = Data(rows=300, features=1000, density=0.05), np.arange(1000) // 5, worlds(workers=2)
    penalty = GroupLasso.of(0.1 * largest(data, groups), groups)
    team = data.team(world, penalty)
    turns = solve(find("prox_newton").make(most=60, least=5), team, team.zeros(), Stop(rounds=100, gap=1e-8))
    way = np.array([record.objective for record in turns.history])
    assert (penalty.lengths(turns.x) > 0).sum() > 12 and (np.diff(way) <= 0).all()
    one = np.zeros(1000)
    whole = data.team(world, GroupLasso.of(0.3 * largest(data, one), one))
    with pytest.raises(CapabilityError, match="at most 60 features, and there is a group of 1,000: use `method=fista`"):
        find("prox_newton").make(most=60).init(whole.zeros(), whole)
    best = [solve(find(name).make(), whole, whole.zeros(), Stop(rounds=3000, gap=1e-10)) for name in ("spcg", "fista")]
    assert all(each.reason is Reason.GAP and each.x.all() for each in best)
    np.testing.assert_allclose(best[0].x, best[1].x, atol=1e-4)


@pytest.mark.ranks(1, limit=300)
def test_hard_problems_end_right(worlds):
    """Those of `tests.reference.test_adversarial`, in groups of two: certified, but where nothing is to be found."""
    world, ends = worlds(workers=3), {}
    with np.errstate(all="ignore"):
        for case in cases():
            free, groups = int(case.intercept), np.arange(case.a.shape[1]) // 2
            base = case.team(world, 0.0, 0.0)
            slope = gradient(base, [site.loss.point(base.zeros()) for site in base.sites]).vector
            if edge := float(GroupLasso.of(1.0, groups, free=free).steepness(slope).max()):
                for l2 in (0.0, case.l2):
                    penalty = GroupLasso.of(0.2 * edge, groups, l2, free)
                    team = replace(base, sites=tuple(replace(site, penalty=penalty) for site in base.sites))
                    ends[case.name, l2] = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=300, gap=1e-8)).reason
    assert len(ends) > 100
    wrong = {key for key, reason in ends.items() if reason not in (Reason.GAP, Reason.EXACT, Reason.HIDDEN)}
    assert {name for name, _ in wrong} == {"one class"} and {ends[key] for key in wrong} == {Reason.SEPARABLE}
