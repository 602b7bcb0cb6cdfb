"""Distributed Newton methods: the optimum, their counts of vector rounds, and Newton's own speed."""

from itertools import pairwise, product

import numpy as np
import pytest

from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.stop import Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.methods.cg_rules import ModelDecrease, SmallResidual
from mpiopt.methods.newton import TruncatedNewton, disco, giant, newton, tron
from mpiopt.methods.preconditioners import Jacobi, Server
from mpiopt.numerics.krylov import begin
from mpiopt.problems.penalties import L1, L2, Box
from tests.problem_sets import Data

METHODS = {
    "newton": newton,
    "tron": tron,
    "liblinear": lambda: tron(jacobi=0.01),
    "disco": disco,
    "damped": lambda: disco(damped=True),
    "sample": lambda: disco(server_rows=20, mu=0.05),
    "giant": giant,
}
KINDS = list(product(("logistic", "least_squares"), (False, True), (False, True)))


def runs_of(method, data, penalty, world):
    return rounds(method, data.team(world, penalty), np.zeros(data.dim))


@pytest.mark.parametrize(("loss", "intercept", "weighted"), KINDS)
@pytest.mark.parametrize("name", METHODS)
def test_they_find_the_optimum(worlds, name, loss, intercept, weighted):
    data, penalty = Data(loss=loss, intercept=intercept, weighted=weighted), L2(0.02, free=int(intercept))
    found = solve(METHODS[name](), data.team(worlds(workers=3), penalty), np.zeros(data.dim), Stop(rounds=300, gradient=1e-10))
    assert found.final.gradient_norm <= 1e-10, found.reason_text
    np.testing.assert_allclose(found.x, data.optimum(penalty), atol=1e-7)
    value, slope = data.objective(found.x, penalty)
    assert found.final.objective == pytest.approx(value, rel=1e-12)
    assert found.final.gradient_norm == pytest.approx(np.linalg.norm(slope), abs=1e-12)


def test_a_step_of_tron_is_one_product_or_one_arrival(worlds):
    data, penalty = Data(rows=200, features=30), L2(1e-3)
    world = worlds(workers=2)
    counts = []
    for run, _ in zip(runs_of(tron(), data, penalty, world), range(40), strict=False):
        counts.append((world.tally.vector_rounds, run.states.cg.products, run.points[0].x.copy()))
    for (before, _, x), (now, products, y) in pairwise(counts):
        arrived = products == 0
        assert now - before == (2 if arrived else 1)  # an arrival: the gradient and the diagonal
        assert arrived or (x == y).all()
    assert sum(products == 0 for _, products, _ in counts) > 3


def test_jacobi_solves_a_diagonal_hessian_at_once(worlds):
    data, penalty = Data(rows=12, features=12, loss="least_squares"), L2(0.1)
    data.a = type(data.a)(np.diag(np.arange(1.0, 13.0)))
    runs = runs_of(TruncatedNewton(Jacobi(), SmallResidual(1e-10)), data, penalty, worlds(workers=2))
    first, after_product, arrived = next(runs), next(runs), next(runs)
    assert (first.states.cg.products, after_product.states.cg.products, arrived.states.cg.products) == (0, 1, 0)
    np.testing.assert_allclose(arrived.points[0].x, data.optimum(penalty), atol=1e-10)


def test_cg_needs_no_more_products_than_there_are_coordinates(worlds):
    data, penalty = Data(rows=90, features=9, loss="least_squares", density=0.9), L2(0.1)
    runs = runs_of(TruncatedNewton(Jacobi(), SmallResidual(1e-9)), data, penalty, worlds(workers=3))
    steps = next(k for k, run in enumerate(runs) if k and run.states.cg.products == 0)
    assert steps <= 10


def test_a_server_that_holds_everything_needs_one_product_a_newton_step(worlds):
    data, penalty = Data(rows=100, features=10), L2(0.01)
    runs = runs_of(disco(mu=0.0, solve=1e-10), data, penalty, worlds(workers=1))
    sizes = [np.linalg.norm(data.objective(next(runs).points[0].x, penalty)[1]) for _ in range(11)]
    assert sizes[1] == sizes[0] and sizes[2] < sizes[0]
    assert sizes[10] < 1e-13  # five Newton steps of two


def test_giant_is_newtons_method_on_one_worker(worlds):
    data, penalty = Data(rows=100, features=10), L2(0.01)
    runs = runs_of(giant(accuracy=1e-10), data, penalty, worlds(workers=1))
    x = next(runs).points[0].x
    a = data.a.toarray()
    for _ in range(4):
        p = 1 / (1 + np.exp(data.y * (a @ x)))
        h = a.T @ ((p * (1 - p))[:, None] * a) / 100 + 0.01 * np.eye(10)
        step = -np.linalg.solve(h, data.objective(x, penalty)[1])
        run = next(runs)
        np.testing.assert_allclose(run.points[0].x, x + step, atol=1e-8)
        x = run.points[0].x


def newton_on(world, unit=1.0, l2=1e-6):
    data = Data(rows=90, features=12, density=0.8)
    data.a = type(data.a)(data.a.toarray() * np.where(np.arange(12) % 2, 1.0, unit))
    return solve(newton(), data.team(world, L2(l2)), np.zeros(data.dim), Stop(rounds=30, gap=1e-9, gradient=1e-15)).final


def test_newton_needs_as_many_rounds_whatever_the_workers(worlds):
    rounds = [newton_on(worlds(workers=workers)).round for workers in (1, 2, 7, 40)]
    assert len(set(rounds)) == 1 and rounds[0] <= 8


def test_newton_does_not_mind_the_units_of_features(worlds):
    plain, large = (newton_on(worlds(workers=3), unit, l2=0.0) for unit in (1.0, 1e8))
    assert abs(plain.round - large.round) <= 2
    assert large.objective == pytest.approx(plain.objective, rel=1e-12)


def test_margins_stay_those_of_the_point_however_long_it_hovers_there(worlds):
    rng = np.random.default_rng(0)
    data = Data(rows=40, features=6, density=0.9, loss="least_squares")
    a = rng.standard_normal((40, 6))
    a[:, 5] = a[:, 0] * (1 + 1e-6 * rng.standard_normal(40))
    data.a = type(data.a)(a)
    team = data.team(worlds(workers=1), L2(0.0))
    for run, _ in zip(rounds(newton(), team, np.zeros(6)), range(80), strict=False):
        at = run.points[0]
        known = team.sites[0].loss.margins(at.x)
        assert abs(known - at.margins).max() <= 1e-13 * abs(at.x).max()  # rounding of A x


def test_newton_refuses_many_features(worlds):
    data = Data()
    with pytest.raises(CapabilityError, match="use `method=spcg`"):
        solve(newton(most=data.dim - 1), data.team(worlds(workers=2), L2(0.1)), np.zeros(data.dim), Stop(rounds=1))


def test_giant_backs_off_where_local_steps_are_too_long(worlds):
    """Many workers with few rows: the mean of their Newton steps overshoots by far."""
    data, penalty = Data(rows=24, features=40, density=0.6), L2(1e-4)
    found = solve(giant(), data.team(worlds(workers=12), penalty), np.zeros(data.dim), Stop(rounds=40))
    objectives = np.array([record.objective for record in found.history])
    assert (np.diff(objectives) <= 0).all()
    assert objectives[-1] < 0.5 * objectives[0]


def test_the_rule_of_liblinear():
    cg = begin(np.array([3.0, 4.0]), lambda r: r / 2.0)
    team = type("Team", (), {"penalty": L2(1e-2)})
    assert ModelDecrease(0.5).target(cg, team) == 0.5
    assert ModelDecrease(0.5).target(begin(1e-6 * cg.r, lambda r: r / 2.0), team) == pytest.approx((12.5e-12 / 1e-2) ** 0.25)
    assert not ModelDecrease().holds(cg, 0.0, 0.5)
    third = cg._replace(products=3, bx=1.0)
    assert ModelDecrease().holds(third, 0.9, 0.5) and not ModelDecrease().holds(third, 0.8, 0.5)


@pytest.mark.parametrize("method", [newton, tron, disco, giant])
@pytest.mark.parametrize("penalty", [L1(0.1), Box(-1.0, 1.0)])
def test_they_refuse_kinks_and_walls_and_name_fista(worlds, method, penalty):
    data = Data()
    with pytest.raises(CapabilityError, match="fista"):
        solve(method(), data.team(worlds(workers=2), penalty), np.zeros(data.dim), Stop(rounds=1))


@pytest.mark.ranks(1, 2, 3)
def test_a_server_sample_beyond_worker_0_is_refused_everywhere(worlds):
    data = Data()
    for mu in (None, 0.1):
        with pytest.raises(UsageError, match="server sample of 100 rows"):
            solve(disco(server_rows=100, mu=mu), data.team(worlds(workers=3), L2(0.1)), np.zeros(data.dim), Stop(rounds=1))


def test_the_servers_preconditioner_is_the_inverse_of_its_matrix(worlds):
    data, penalty = Data(rows=60, features=8, density=0.8), L2(0.1)
    team = data.team(worlds(workers=2), penalty)
    run = TruncatedNewton(server := Server(15, 0.3, 1e-12), SmallResidual()).init(np.zeros(8), team)
    a = data.a.toarray()[:15]
    r = np.random.default_rng(2).standard_normal(8)
    found = server(r, run.states.kept, run.points, team)
    np.testing.assert_allclose(found, np.linalg.solve(a.T @ a / 60 + 0.4 * np.eye(8), r), atol=1e-9)


@pytest.mark.ranks(3)
@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_ranks_do_not_matter(worlds, world, name, deterministic):
    data, penalty = Data(intercept=True), L2(0.02, free=1)
    ends = []
    for comm in (None, _itself()):
        options = {"workers": 6, "deterministic": deterministic}
        made = worlds(**options) if comm is None else type(world)(comm, **options)
        ends.append(solve(METHODS[name](), data.team(made, penalty), np.zeros(data.dim), Stop(rounds=20)))
    if deterministic:
        np.testing.assert_array_equal(ends[0].x, ends[1].x)
        assert [r.objective for r in ends[0].history] == [r.objective for r in ends[1].history]
    else:
        np.testing.assert_allclose(ends[0].x, ends[1].x, rtol=0, atol=1e-11)


def _itself():
    from mpi4py import MPI

    return MPI.COMM_SELF
