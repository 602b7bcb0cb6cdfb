"""Local solvers: when they end, and a ridge of its own for every coordinate."""

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from mpiopt.engine.phase import PerRow
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.kernels.definite import Factor
from mpiopt.kernels.host import dual
from mpiopt.problems.penalties import L2
from mpiopt.problems.surrogate import Reference
from mpiopt.work import local_solvers
from mpiopt.work.kinked_newton import KinkedNewton
from mpiopt.work.local_solvers import Auto, CGThenFactor, DualDescent, DualMemory, Factored, NewtonCG, limit
from tests.adversarial_sets import LOGISTIC, SQUARES, dense


@pytest.mark.parametrize("loss", [LOGISTIC, SQUARES])
def test_a_local_solve_ends_where_its_gradient_is_rounding(worlds, monkeypatch, loss):
    (site,) = dense("local", 5, n=8, d=40, loss=loss).team(worlds(), 0.0, 0.0).sites
    phi, q, steps = Reference.of(site.loss, site.penalty, 0.5), np.random.default_rng(1).standard_normal(40), []
    search = local_solvers._search
    monkeypatch.setattr(local_solvers, "_search", lambda *given: steps.append(1) or search(*given))
    z = np.zeros(40)
    for _ in range(2):
        z, _ = NewtonCG(1e-8, steps=50)(phi, q, phi.loss.point(z), ())
    assert np.linalg.norm(phi.grad(phi.loss.point(z)) - q) < 1e-13
    steps.clear()
    for _ in range(10):  # each asks for 1e-8 of a gradient that is rounding already
        z, _ = NewtonCG(1e-8, steps=50)(phi, q, phi.loss.point(z), ())
    assert len(steps) < 60
    assert np.linalg.norm(phi.grad(phi.loss.point(z)) - q) < 1e-13


@pytest.mark.parametrize(
    "solver",
    [NewtonCG(1e-8, steps=50), NewtonCG(1e-8, 50).aiming(1e9), Factored(1e-8, 50), CGThenFactor(1e-8, 50), KinkedNewton()],
)
def test_the_answer_at_the_minimum_is_an_array_of_its_own(worlds, solver):
    """Or who takes the point from it would take it from the point."""
    (site,) = dense("local", 5, n=8, d=3).team(worlds(), 0.0, 0.1).sites
    phi, at = Reference.of(site.loss, site.penalty, 0.0), site.loss.point(np.ones(3))
    z, _ = solver(phi, phi.grad(at), at, solver.init(at.x, phi))
    assert z is not at.x and not np.shares_memory(z, at.x)
    np.testing.assert_allclose(z, 1.0, rtol=1e-12)


@pytest.mark.parametrize(("decades", "ratio"), [(0, 0.1), (6, 1e-6)])
def test_few_coefficients_in_units_far_apart_are_left_to_the_factor(worlds, monkeypatch, decades, ratio):
    """CG goes on for as long as that takes, and is enough where it converges soon."""
    data = dense("local", 5, n=200, d=30)
    data = replace(data, a=data.a * 10.0 ** (-decades * np.random.default_rng(0).random(30)))
    (site,) = data.team(worlds(), 0.0, 1e-12 if decades else 0.1).sites
    phi, at = Reference.of(site.loss, site.penalty, 0.0), site.loss.point(np.zeros(30))
    factors, of = [], Factor.of
    monkeypatch.setattr(Factor, "of", lambda *given: factors.append(1) or of(*given))
    g = phi.grad(at)
    found = CGThenFactor(products=500).direction(phi, at, g, ratio, 0.0)
    assert len(factors) == (decades > 0)
    left = phi.hessian(at)(found) + g
    assert np.linalg.norm(left) <= ratio * np.linalg.norm(g)


@pytest.mark.parametrize("intercept", [False, True])
def test_every_coordinate_may_have_a_ridge_of_its_own(worlds, intercept):
    rng = np.random.default_rng(2)
    (site,) = replace(dense("local", 5, n=30, d=8), intercept=intercept).team(worlds(), 0.0, 0.1).sites
    ridge = rng.uniform(0.05, 1.0, site.loss.dim)
    phi, q = Reference(site.loss, ridge, 0.3, int(intercept)), 0.1 * rng.standard_normal(site.loss.dim)
    start = phi.loss.point(np.zeros(site.loss.dim))
    exact = NewtonCG(1e-12, steps=50)(phi, q, start, ())[0]
    descent = DualDescent(0.0, 400)
    np.testing.assert_allclose(descent(phi, q, start, descent.init(start.x, phi))[0], exact, atol=1e-10)
    same = replace(phi, ridge=np.full(site.loss.dim, 0.2))
    for difficulty in (0.01, 10.0):  # a number and a vector of it are judged alike
        auto = Auto(DualDescent(), NewtonCG(), ((inf, difficulty),), features=0)
        chosen = [isinstance(auto.init(start.x, one), DualMemory) for one in (same, replace(phi, ridge=0.2))]
        assert chosen == [difficulty == 10.0] * 2


def test_a_loose_solve_ends_while_rows_rest(worlds, monkeypatch):
    """What is at rest is judged by twice what it was left with; else it has to bear that out in an epoch of its own."""
    loss, seen, l2 = team_of(from_spec("kdd2010:rows=4000,cols=9600"), worlds(), L2(1e-4)).sites[0].loss, [], 1e-4
    visit = loss.family.host().made(dual.epoch)

    def watched(*given):
        found = visit(*given)
        seen.append(found[1])
        return found

    def solved(q, alpha, number):
        a, z, gaps = loss.matrix, loss.dual_point(alpha, q, l2, 0.0), np.empty(20)
        rows = a.indptr, a.indices, a.data, loss.y, loss.weights, loss.row_squares, alpha, loss.weight, np.array([1 / l2]), 0.0
        dual.epochs(watched, *rows, z, number, gaps, 1e-2, True, ())
        left = loss.family.host().dual_gaps(loss.margins(z), loss.y, loss.weights, alpha) / loss.weight
        return left / gaps[0], alpha

    start = solved(np.zeros(loss.dim), np.full(loss.rows, 1e-3), 1)[1]
    q = 1e-6 * np.random.default_rng(1).standard_normal(loss.dim)
    seen.clear()
    assert solved(q, start.copy(), 2)[0] <= 1e-2
    assert seen[-1] < loss.rows
    monkeypatch.setattr(dual, "LOOSE", 1.0)
    assert solved(q, start.copy(), 2)[0] <= 1e-2
    assert seen[-1] == loss.rows


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_dual_variables_that_fit_a_point_need_no_pass_for_their_image(worlds, intercept, weighted):
    """Minus the slope: z and the dual variables are a pair of the dual map, as if it had been computed from the rows."""
    given = replace(dense("local", 7, n=40, d=8), intercept=intercept)
    (site,) = given.team(worlds(), 0.0, 0.1).sites
    loss, rng = site.loss, np.random.default_rng(5)
    if weighted:
        loss = replace(loss, weights=rng.uniform(0.0, 2.0, loss.rows))
    ridge = rng.uniform(0.05, 1.0, loss.dim)
    phi, q = Reference(loss, ridge, 0.3, int(intercept)), 0.1 * rng.standard_normal(loss.dim)
    at = loss.point(rng.standard_normal(loss.dim))
    at = at._replace(slope=loss.value_grad(at)[1])
    descent = DualDescent(0.0, 3, anew=True)
    z, memory = descent(phi, q, at, descent.init(at.x, phi))
    bias = 0.3 if intercept else 0.0
    np.testing.assert_allclose(z, loss.dual_point(memory.alpha[0], q, ridge, bias), atol=1e-8)
    again = descent(phi, q, at, memory._replace(alpha=PerRow((np.full(loss.rows, 0.9),)), calls=0))[0]
    np.testing.assert_array_equal(z, again)  # what was kept is not asked


def test_the_dual_is_given_up_where_its_epochs_were_not_enough(worlds):
    site = dense("local", 5, n=30, d=8).team(worlds(), 0.0, 0.1).sites[0]
    phi, start, q = (
        Reference.of(site.loss, site.penalty, 0.0),
        site.loss.point(np.zeros(site.loss.dim)),
        np.zeros(site.loss.dim),
    )
    for epochs, goes_on in ((1, False), (400, True)):
        auto = Auto(DualDescent(1e-8, epochs), NewtonCG(1e-9, steps=50), ((inf, inf),), features=0)
        first, memory = auto(phi, q, start, auto.init(start.x, phi))
        assert isinstance(memory, DualMemory) is goes_on
        again, kept = auto(phi, q, start, memory)
        assert type(kept) is type(memory)
        slopes = [np.linalg.norm(phi.grad(site.loss.point(z))) for z in (first, again)]
        assert slopes[1] <= 1e-6
        assert goes_on or slopes[0] > 1e-6


def test_how_hard_the_dual_may_be_follows_from_features_and_rows():
    limits = ((1.0, 2.0), (6.0, 15.0), (inf, 100.0))
    assert [limit(limits, features, 10) for features in (0, 10, 11, 60, 61, 10**7)] == [2.0, 2.0, 15.0, 15.0, 100.0, 100.0]
    assert limit(limits, 5, 0) == 15.0  # a worker without rows


@pytest.mark.parametrize(
    ("met", "ratio", "enough", "asked"),
    [
        ((8.0, 4.0), 0.01, 0.0, 0.08),  # nothing is enough but the ratio
        ((1e6, 2e5), 0.001, 1.0, 1000.0),  # what is enough is far: the caller comes back
        ((50.0,), 0.001, 1.0, 1.0),  # nothing tells how the next would fall
        ((50.0, 5.0), 0.001, 1.0, 5.0),  # a tenth an epoch: the next meets 0.1 of it, and twice that is left
        ((5.0, 50.0), 0.001, 1.0, 1.0),  # it rises
        ((5.0, 0.0), 0.001, 1.0, 1.0),
    ],
)
def test_epochs_end_when_the_next_would_meet_enough(met, ratio, enough, asked):
    assert dual._target(np.array(met), ratio, enough) == pytest.approx(asked)
