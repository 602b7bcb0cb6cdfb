"""Problems abreast: each has the minimum that it has alone, and is no further from it than is proved."""

from functools import partial

import numpy as np
import pytest

from mpiopt.engine.stop import Stop
from mpiopt.methods import find
from mpiopt.paths import newton_abreast
from mpiopt.paths.fitting import UNSEEN, Fitting, ahead, onward
from mpiopt.paths.folds import folds, without_fold
from mpiopt.paths.lambdas import steepest
from mpiopt.paths.newton_abreast import minimised
from mpiopt.paths.possible import reach
from mpiopt.paths.preconditioner import HeaviestColumns
from mpiopt.paths.screened import proved
from mpiopt.problems.abreast import Abreast
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.problem import Team
from tests.problem_sets import Data

L2 = 1e-3


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("few", [0, 300])
def test_answers_are_those_of_each_alone(world, loss, intercept, few, monkeypatch):
    monkeypatch.setattr(newton_abreast, "FEW", few)  # Hessians are summed up to it
    penalty = ElasticNet(0.0, L2, free=int(intercept))
    parts = [Data(loss=loss, intercept=intercept, weighted=True) for _ in range(3)]
    for k, data in enumerate(parts):
        data.w = data.w * (np.arange(120) % 3 != k)
    teams = [data.team(world, penalty) for data in parts]
    problem, ridge = Abreast.of(teams), penalty.grad(np.ones(teams[0].dim))
    for tolerance in (1e-2, 1e-4, 1e-13):
        found = minimised(problem, ridge, partial(HeaviestColumns.of, problem, 5), np.zeros((teams[0].dim, 3)), tolerance, 50)
        for k, data in enumerate(parts):
            x, best = found.x[:, k], data.optimum(penalty)
            value, least = data.objective(x, penalty)[0], data.objective(best, penalty)[0]
            assert value == pytest.approx(found.values[k], rel=1e-12)
            assert value - least <= found.gaps[k] + 1e-14 and found.gaps[k] <= tolerance
    np.testing.assert_allclose(found.x, np.array([data.optimum(penalty) for data in parts]).T, atol=1e-5)


def test_what_rows_weigh_is_all_that_differs(worlds):
    data, penalty = Data(rows=50), ElasticNet(0.0, L2)
    team = data.team(worlds(workers=3), penalty)
    twice = Team.of(team.world, [site.loss for site in team.sites], penalty)
    problem = Abreast.of([team, twice])
    found = minimised(problem, np.full(15, L2), partial(HeaviestColumns.of, problem), np.zeros((15, 2)), 1e-10, 50)
    np.testing.assert_array_equal(found.x[:, 0], found.x[:, 1])


def test_a_parabola_leads_on():
    penalties = [0.4, 0.2, 0.1, 0.05]
    at = np.array(penalties) ** 0.125
    xs = np.stack([2 - at, at * at, np.ones(4)], axis=1)[:, None]
    for known in (1, 2, 3):
        found = ahead(xs[3 - known : 3], penalties[3 - known :])[0]
        assert np.isclose(found, xs[3, 0])[[2, 0, 1][:known]].all()
    np.testing.assert_array_equal(ahead(xs[:3], [0.4, 0.2, 0.1, 1e-3]), xs[2])  # too far


def test_a_line_leads_on_and_keeps_signs():
    penalties = [0.4, 0.2, 0.1]
    at = np.array(penalties) ** 0.125
    xs = np.stack([3 - 2 * at, np.zeros(3), at - 0.8 * at[1], np.array([1.0, 0.1, -1.0]), at - 0.9], axis=1)[:, None]
    free = np.arange(5) == 4
    found = onward(xs[:2], penalties, free)[0]
    np.testing.assert_allclose(found[[0, 1, 2, 4]], xs[2, 0][[0, 1, 2, 4]], atol=1e-12)
    assert found[3] == 0  # it would have changed its sign
    for few, steps in ((xs[:1], penalties[1:]), (xs[:2], [0.4, 0.2, 1e-3]), (xs[:2], [0.0, 0.0, 0.0])):
        np.testing.assert_array_equal(onward(few, steps, free), few[-1])


@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_screened_fits_are_those_on_all_features(worlds, loss, share):
    data, world = Data(rows=150, features=300, loss=loss, intercept=True, weighted=True, density=0.05), worlds(workers=2)
    team = data.team(world, ElasticNet(free=1))
    of, top = folds(team, 2), steepest(team) / share
    teams = (team, *(without_fold(team, of, k) for k in range(2)))
    fitting = Fitting(find("spcg").make(), teams, Stop(rounds=200, gap=1e-12), False)
    penalties = [ElasticNet(share * top * each, (1 - share) * top * each, free=1) for each in (1.0, 0.8, 0.65)]
    before = np.zeros((1, 3, team.dim))
    for k, penalty in enumerate(penalties):
        plain = fitting._each(penalty, before[-1])
        found = fitting._screened(fitting.together, penalty, before[-1], penalties[max(k - 1, 0)], UNSEEN, before[-1])
        assert found is not None and 1 <= (found.xs[0] != 0).sum() < 100
        np.testing.assert_allclose(found.xs, plain.xs, atol=1e-5)
        assert found.proved[0] == pytest.approx(plain.proved[0], abs=1e-11) and 0 < found.proved[2] <= 1e-11
        np.testing.assert_allclose(found.margins[0], plain.margins[0], atol=1e-5)
        before = found.xs[None]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_what_is_proved_of_loose_fits_is_true(worlds, share):
    data, world = Data(rows=100, features=40, intercept=True, density=0.2), worlds(workers=2)
    team = data.team(world, ElasticNet(free=1))
    penalty = ElasticNet(share * 0.01, (1 - share) * 0.01, free=1)
    best = Fitting(find("spcg").make(), (team,), Stop(rounds=200, gap=1e-13), False)._each(penalty, np.zeros((1, team.dim)))
    problem, rng = Abreast.of([team]), np.random.default_rng(0)
    for size in (1.0, 1e-2, 1e-4):
        x = (best.xs * (1 + size * rng.standard_normal(best.xs.shape))).T.copy()
        values, gaps, _ = proved(problem, penalty, problem.margins(x), x)
        assert 0 <= values[0] - best.proved[0] <= gaps[0] + 1e-13 and gaps[0] < 10


@pytest.mark.parametrize("signed", [False, True])
def test_features_out_of_reach_stay_at_0(worlds, signed):
    data, world = Data(rows=150, features=300, intercept=True, weighted=True, density=0.02), worlds(workers=2)
    rare = np.where(np.arange(300) % 3, 0.05, 1.0)  # two of three features
    data.a = (data.a if signed else abs(data.a)).multiply(rare).tocsr()
    team = data.team(world, ElasticNet(free=1))
    teams, least = (team, without_fold(team, folds(team, 2), 0)), 0.5 * steepest(team)
    bound = reach(Abreast.of(teams))
    penalty, before = ElasticNet(least, free=1), np.zeros((1, 2, team.dim))
    fitting = Fitting(find("spcg").make(), teams, Stop(rounds=200, gap=1e-11), False, penalty)
    part, where = fitting.possible
    assert 20 < where.size <= 150 and part.total == 300
    plain, found = fitting._each(penalty, before[-1]), fitting.at(penalty, before, ())
    assert (plain.xs[:, :300][:, bound < least] == 0).all() and (plain.xs != 0).sum() > 4
    np.testing.assert_allclose(found.xs, plain.xs, atol=1e-5)
    for x in np.random.default_rng(0).standard_normal((3, team.dim)) * 30:  # residuals of all kinds
        slope = sum(site.share * site.loss.value_grad(site.loss.point(x))[1] for site in team.sites)
        assert (abs(slope[:300]) <= bound).all()
