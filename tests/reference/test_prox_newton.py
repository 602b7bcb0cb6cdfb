"""Proximal Newton on the face, which is spcg's form for kinks and walls: optima, rounds whatever the workers, bytes."""

import numpy as np
import pytest

from mpiopt.comm.world import World
from mpiopt.engine.drive import Solution, solve
from mpiopt.engine.stop import Reason, Stop
from mpiopt.errors import CapabilityError
from mpiopt.losses.registry import find as loss_of
from mpiopt.methods import find
from mpiopt.methods.linked import linked
from mpiopt.methods.prox_newton import prox_newton
from mpiopt.problems.certificate import certify
from mpiopt.problems.feasible import Simplex
from mpiopt.problems.penalties import L1, L2, Box, ElasticNet
from mpiopt.problems.problem import Team
from tests.problem_sets import Data

PENALTIES = [L1(0.02), ElasticNet(0.02, 0.01), Box(-0.3, 0.2, 0.01), Box(0.0, np.inf)]
WIDE = {"rows": 300, "features": 3000, "density": 0.02}


def violation(data: Data, penalty, x: np.ndarray) -> float:
    """The length of the shortest subgradient, straight from the definition of the loss."""
    return float(np.linalg.norm(penalty.residual(x, data.objective(x, L2(0.0, free=penalty.free))[1])))


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("loss", ["logistic", "least_squares"])
def test_it_finds_the_optimum_in_few_rounds_and_descends(world, loss, penalty, intercept):
    data = Data(loss=loss, intercept=intercept, weighted=True)
    penalty = type(penalty)(**{**penalty.__dict__, "free": int(intercept)})
    found = solve(find("spcg").make(), data.team(world, penalty), np.zeros(data.dim), Stop(rounds=12, gradient=1e-11))
    assert found.reason is Reason.GRADIENT, found.reason_text
    assert violation(data, penalty, found.x) <= 1.1e-11
    objectives = np.array([record.objective for record in found.history])
    assert (np.diff(objectives) <= 1e-14 * abs(objectives[:-1])).all()
    if isinstance(penalty, Box):
        assert (penalty.prox(found.x, 0.0) == found.x).all()
    else:
        assert 0 < np.count_nonzero(found.x) < data.dim and found.certificate.gap <= 1e-12


def wide(world: World, ratio: float, method: str = "prox_newton", **given) -> Solution:
    """More features than rows, l1 a share of the one at which nothing is left."""
    data = Data(**WIDE)
    steepest = abs(data.objective(np.zeros(data.dim), L2(0.0))[1]).max()
    team = data.team(world, L1(ratio * steepest))
    return solve(find(method).make(**given), team, team.zeros(), Stop(rounds=100, gap=1e-8))


def test_rounds_do_not_depend_on_the_workers(worlds):
    ways = [wide(worlds(workers=workers), 0.03) for workers in (1, 8)]
    assert all(way.reason is Reason.GAP and way.final.round <= 10 for way in ways)
    assert ways[0].final.round == ways[1].final.round
    np.testing.assert_allclose(ways[0].x, ways[1].x, atol=1e-9)


def test_it_sends_a_fraction_of_what_plain_fista_does(worlds):
    world = worlds(workers=2)
    ours, plain = wide(world, 0.1), wide(world, 0.1, "fista", active_set=False)
    assert ours.final.bytes_sent < plain.final.bytes_sent / 2 and ours.final.vector_rounds < 25
    assert ours.reason is Reason.GAP and ours.final.objective < plain.final.objective + 1e-8  # after 100 rounds


@pytest.mark.ranks(1, 2)
@pytest.mark.parametrize("penalty", [L1(0.02), ElasticNet(0.02, 0.01), L2(0.01)])
@pytest.mark.parametrize("intercept", [False, True])
def test_owlqn_comes_to_the_same_from_orthant_to_orthant(world, penalty, intercept):
    data = Data(intercept=intercept, weighted=True)
    penalty = type(penalty)(**{**penalty.__dict__, "free": int(intercept)})
    team = data.team(world, penalty)
    found = solve(find("owlqn").make(), team, team.zeros(), Stop(rounds=150, gradient=1e-7))
    assert found.reason is Reason.GRADIENT and found.final.vector_rounds == found.final.round + 1, found.reason_text
    best = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=30, gradient=1e-11))
    np.testing.assert_allclose(found.x, best.x, atol=1e-5)
    assert ((found.x == 0) == (best.x == 0)).all()
    with pytest.raises(CapabilityError, match="knows no walls"):
        find("owlqn").make().init(team.zeros(), data.team(world, Box(0.0, 1.0)))


def test_its_support_is_liblinears(worlds):
    sklearn = pytest.importorskip("sklearn.linear_model")
    data = Data(rows=200, features=80)
    team = data.team(worlds(workers=2), L1(0.01))
    ours = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=20, gap=1e-12)).x
    peer = sklearn.LogisticRegression(l1_ratio=1, C=1 / 2.0, solver="liblinear", fit_intercept=False, tol=1e-8)
    theirs = peer.fit(data.a, data.y).coef_[0]
    np.testing.assert_array_equal(ours != 0, theirs != 0)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_faces_that_are_too_large_take_turns(worlds):
    whole, turns = wide(worlds(workers=2), 0.1), wide(worlds(workers=2), 0.1, most=120, least=5)
    way = np.array([record.objective for record in turns.history])
    assert np.count_nonzero(whole.x) > 120 and (np.diff(way) <= 0).all()
    assert way[-1] - whole.final.objective < 0.2 * (way[0] - whole.final.objective)


@pytest.mark.parametrize("loss", ["squared_hinge", "huber", "poisson"])
def test_every_loss(worlds, loss):
    data, family = Data(), loss_of(loss)
    data.family, data.y = family, data.y if family.labels.classes else np.maximum(data.y, 0)
    team = data.team(worlds(workers=2), L1(0.02))
    found = solve(prox_newton(), team, team.zeros(), Stop(rounds=40, gradient=1e-10))
    assert found.reason is Reason.GRADIENT and found.certificate.gradient_norm <= 1.1e-10, found.reason_text


@pytest.mark.parametrize("l2", [1e-6, 1e-3])
def test_the_gap_of_an_elastic_net_is_at_most_that_of_its_parts(worlds, l2):
    """Where l2 is small the dual is all but that of l1 alone, and residuals have to be shrunk as for that."""
    data = Data(**WIDE)
    world, x = worlds(workers=2), wide(worlds(workers=2), 0.1).x
    away = x + 1e-4 * np.random.default_rng(0).standard_normal(x.size)
    l1 = 0.1 * abs(data.objective(np.zeros(data.dim), L2(0.0))[1]).max()
    alone, both = (certify(data.team(world, ElasticNet(l1, part)), away, 10) for part in (0.0, l2))
    assert 0 < both.gap <= 1.01 * alone.gap + l2 * float(away @ away)


def test_what_it_does_not_take_is_said(worlds):
    data, world = Data(), worlds(workers=2)
    team = Team.of(world, [data.linear(0, 60), data.linear(60, 120)], Simplex())
    with pytest.raises(CapabilityError, match=r"spcg takes penalties .* a Simplex is not: use `method=prox_gradient`"):
        solve(find("spcg").make(), team, team.zeros(), Stop(rounds=1))
    with pytest.raises(CapabilityError, match="fista"):
        solve(linked(find("spcg").make(), "spcg", "qsgd:bits=4"), data.team(world, L1(0.1)), team.zeros(), Stop(rounds=1))
