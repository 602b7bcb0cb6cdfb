"""What is screened off is 0 at the minimum, wherever it was found out, and a solve without it is that on all features."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.phase import PerWorker
from mpiopt.engine.stop import Stop
from mpiopt.methods import prox_newton as module
from mpiopt.outer.intercept import centred
from mpiopt.problems.penalties import ElasticNet
from mpiopt.problems.per_feature import PerFeature
from mpiopt.problems.screening import slopes, spreads, surviving
from tests.problem_sets import Data


def problem(world, seed: int, loss: str, intercept: bool, factors: bool):
    rng = np.random.default_rng(seed)
    data = Data(60, 40, seed, loss, intercept, weighted=bool(seed % 2))
    steepest = abs(data.objective(np.zeros(data.dim), ElasticNet())[1][:40]).max()
    l1, l2 = steepest * 10.0 ** rng.uniform(-2, 0), rng.choice([0.0, 1e-3, 0.3]) * steepest
    penalty = ElasticNet(l1, l2, int(intercept))
    if factors:
        penalty = PerFeature(l1, l2, rng.uniform(0.2, 2.0, 40), int(intercept))
    return data.team(world, penalty), rng


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["logistic", "least_squares"]), st.booleans(), st.booleans())
def test_nothing_of_the_support_is_screened_off(seed, loss, intercept, factors):
    team, rng = problem(World(workers=2), seed, loss, intercept, factors)
    best = solve(module.prox_newton(), team, team.zeros(), Stop(rounds=40, gradient=1e-12)).x
    gone = 0
    for share in (0.0, 0.3, 0.9, 0.999, 1.0):
        noise = (1 - share) * 0.1 * rng.standard_normal(best.size) * (best != 0)
        for shift in (0.0, 0.1 * (1 - share)):  # away from the intercept's minimum too
            points = centred(team, PerWorker(site.loss.point(share * best + noise) for site in team.sites))
            if intercept and shift:
                x = points[0].x + shift * (np.arange(best.size) == best.size - 1)
                points = PerWorker(site.loss.point(x) for site in team.sites)
            left = surviving(team, points, slopes(team, points), spreads(team))
            assert left[best[: left.size] != 0].all()
            gone = max(gone, int((~left).sum()))
    assert gone >= np.count_nonzero(best[:40] == 0) - 5  # at the minimum nearly all others are


def test_a_solve_on_what_is_left_is_that_on_all_features(worlds, monkeypatch):
    monkeypatch.setattr(module, "FEW", 5)
    data = Data(rows=200, features=1500, density=0.02, intercept=True)
    for penalty in (ElasticNet(0.004, 0.0, 1), PerFeature(0.004, 1e-4, np.linspace(0.5, 2, 1500), 1)):
        team, found = data.team(worlds(workers=3), penalty), []
        for worth in (0.7, 0.0):
            monkeypatch.setattr(module, "WORTH", worth)
            found.append(solve(module.prox_newton(), team, team.zeros(), Stop(rounds=40, gap=1e-11)))
        less, all_ = found
        assert less.certificate.gap <= 1e-11 and less.final.round <= all_.final.round
        assert less.final.bytes_sent < all_.final.bytes_sent and less.run.states.kept.size < 400
        np.testing.assert_array_equal(less.x != 0, all_.x != 0)
        np.testing.assert_allclose(less.x, all_.x, atol=1e-9)


def test_a_run_goes_on_to_the_same_bits_from_what_it_kept(worlds, monkeypatch):
    monkeypatch.setattr(module, "FEW", 5)
    team = Data(rows=200, features=1500, density=0.02).team(worlds(workers=2), ElasticNet(0.008))
    walk = rounds(module.prox_newton(), team, team.zeros())
    runs = [next(walk) for _ in range(7)]
    assert len({run.states.kept.size for run in runs}) > 2
    for k in range(6):  # by a method that has made no part of the rows yet
        other = next(rounds(module.prox_newton(), team, runs[k]))
        np.testing.assert_array_equal(other.points[0].x, runs[k + 1].points[0].x)
        np.testing.assert_array_equal(other.states.kept, runs[k + 1].states.kept)
