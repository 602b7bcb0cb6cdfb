"""SPCG reaches the optimum of every smooth problem, whatever the workers, and descends all the way."""

import numpy as np
import pytest

from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.methods import find
from mpiopt.problems.penalties import L2
from tests.problem_sets import Data

CASES = [
    (loss, intercept, weighted, l2)
    for loss in ("logistic", "least_squares")
    for intercept in (False, True)
    for weighted in (False, True)
    for l2 in (1e-1, 1e-4)
]


@pytest.mark.parametrize(("loss", "intercept", "weighted", "l2"), CASES)
@pytest.mark.parametrize("workers", [1, 4])
def test_it_finds_the_optimum(worlds, loss, intercept, weighted, l2, workers):
    data = Data(loss=loss, intercept=intercept, weighted=weighted)
    penalty = L2(l2, free=int(intercept))
    found = solve(
        find("spcg").make(), data.team(worlds(workers=workers), penalty), np.zeros(data.dim), Stop(rounds=200, gradient=1e-11)
    )
    assert found.reason is Reason.GRADIENT, found.reason_text
    np.testing.assert_allclose(found.x, data.optimum(penalty), rtol=1e-6, atol=1e-7)
    objectives = np.array([record.objective for record in found.history])
    assert (np.diff(objectives) <= 1e-14 * abs(objectives[:-1])).all()
    assert found.certificate.gradient_norm <= 1.1e-11


@pytest.mark.parametrize("parameters", [{"mu": 1e-2}, {"jacobi": True}, {"accuracy": 1e-4}, {"epochs": 1}])
def test_its_parameters_change_the_way_and_not_the_end(worlds, parameters):
    data, penalty = Data(rows=300, features=1200, density=0.01), L2(1e-2)
    team, stop = data.team(worlds(workers=3), penalty), Stop(rounds=300, gradient=1e-10)
    ends = [solve(find("spcg").make(**given), team, np.zeros(data.dim), stop) for given in ({}, parameters)]
    np.testing.assert_allclose(ends[1].x, ends[0].x, atol=1e-6)
    assert [r.objective for r in ends[1].history[1:3]] != [r.objective for r in ends[0].history[1:3]]


def test_more_workers_than_rows_just_works(worlds):
    data, penalty = Data(rows=5, features=4, density=0.9), L2(1e-2)
    team, stop = data.team(worlds(workers=9), penalty), Stop(rounds=300, gradient=1e-10)
    found = solve(find("spcg").make(), team, np.zeros(data.dim), stop)
    np.testing.assert_allclose(found.x, data.optimum(penalty), atol=1e-6)


def test_a_start_elsewhere_ends_the_same(worlds):
    data, penalty = Data(), L2(1e-2)
    start = np.random.default_rng(6).standard_normal(data.dim)
    found = solve(find("spcg").make(), data.team(worlds(workers=2), penalty), start, Stop(rounds=100, gradient=1e-10))
    np.testing.assert_allclose(found.x, data.optimum(penalty), atol=1e-6)


@pytest.mark.parametrize("l2", [1e-20, 1e-9])
@pytest.mark.parametrize("workers", [1, 3])
def test_it_descends_where_local_models_are_worth_nothing(worlds, l2, workers):
    data = Data(rows=20, features=60)
    found = solve(find("spcg").make(), data.team(worlds(workers=workers), L2(l2)), np.zeros(data.dim), Stop(rounds=15))
    objectives = np.array([record.objective for record in found.history])
    assert (np.diff(objectives) <= 1e-12 * objectives[:-1]).all() and objectives[-1] < 0.5 * objectives[0]
