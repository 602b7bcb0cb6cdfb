"""Surrogate likelihoods and weighted averages against the papers' formulas on dense matrices, written apart."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from mpiopt.comm.alone import SelfComm
from mpiopt.comm.world import World
from mpiopt.engine.drive import rounds, solve
from mpiopt.engine.stop import Stop
from mpiopt.errors import CapabilityError, UsageError
from mpiopt.kernels.kinked import Kinks
from mpiopt.losses.registry import find as loss_of
from mpiopt.methods import find
from mpiopt.methods.linked import linked
from mpiopt.methods.weighted_average import MERGES, leniency
from mpiopt.problems.feasible import Simplex
from mpiopt.problems.landscapes import Quadratic
from mpiopt.problems.penalties import L1, L2, Box, ElasticNet
from mpiopt.problems.problem import Team
from mpiopt.work import kinked_newton
from tests.problem_sets import Data, balanced

ROWS, DIM, WORKERS, ALPHA = 120, 8, 3, 0.3
PENALTIES = {"l1": (0.02, 0.0), "both": (0.02, 0.05), "l2": (0.0, 0.05)}


class Part:
    """sum w_i loss_i / sum w_i on dense rows, of classes -1 and +1 or real labels."""

    def __init__(self, a, y, w, logistic=True):
        self.a, self.y, self.w, self.logistic = a, y, w, logistic

    def grad(self, x):
        m = self.a @ x
        return self.a.T @ (self.w * (-self.y / (1 + np.exp(self.y * m)) if self.logistic else m - self.y)) / self.w.sum()

    def value(self, x):
        m = self.a @ x
        return self.w @ (np.logaddexp(0, -self.y * m) if self.logistic else (m - self.y) ** 2 / 2) / self.w.sum()

    def hessian(self, x):
        p = 1 / (1 + np.exp(-self.a @ x))
        return (self.a.T * (self.w * (p * (1 - p) if self.logistic else 1.0) / self.w.sum())) @ self.a

    def minimiser(self, l1, l2, linear=0.0, mu=0.0, near=0.0):
        """argmin f(z) + linear.z + |l1 z|_1 + l2/2 |z|^2 + mu/2 |z - near|^2: Newton's models, each by coordinates."""
        z = np.zeros(self.a.shape[1])
        l1 = np.broadcast_to(l1, z.shape)
        for _ in range(40):
            h = self.hessian(z) + (l2 + mu) * np.eye(z.size)
            b, v = h @ z - self.grad(z) - linear - l2 * z - mu * (z - near), z.copy()
            for _ in range(40):
                for j in range(z.size):
                    r = b[j] - h[j] @ v + h[j, j] * v[j]
                    v[j] = np.sign(r) * max(abs(r) - l1[j], 0) / h[j, j]
            s = v != 0  # of these signs, the minimiser to the last digit
            v[s] = np.linalg.solve(h[np.ix_(s, s)], (b - l1 * np.sign(v))[s])
            moved, z = abs(v - z).max(), v
            if moved <= 1e-14 * abs(z).max():
                break
        return z


class Whole:
    """All rows, the workers' parts, and what they count for."""

    def __init__(self, loss="logistic"):
        self.data = Data(ROWS, DIM, loss=loss, weighted=True, density=0.6)
        given = self.data.a.toarray(), self.data.y, self.data.w
        self.f = Part(*given, loss == "logistic")
        ends = balanced(self.data.a.indptr, WORKERS)
        self.parts = [Part(*(each[a:b] for each in given), loss == "logistic") for a, b in pairwise(ends)]
        self.shares = np.array([part.w.sum() for part in self.parts]) / self.data.w.sum()

    def mean(self, vectors):
        return sum(share * each for share, each in zip(self.shares, vectors, strict=True))


def surrogate(on, l1, l2, alpha):
    """The mean of the workers' minimisers, then minimisers of worker 0's shifted likelihood."""
    x = on.mean([part.minimiser(l1, l2) for part in on.parts])
    while True:
        yield x
        x = on.parts[0].minimiser(l1, l2, on.f.grad(x) - on.parts[0].grad(x), alpha, x)


def average(on, l1, l2, gain, centred):
    """Models of all workers, of their rows and the centres of all, and the best combination on worker 0's rows."""
    parts, weights = on.parts, np.ones(DIM)
    if centred:
        rows = [
            (part.w[part.y == s] @ part.a[part.y == s] / part.w[part.y == s].sum(), s, part.w[part.y == s].sum())
            for part in parts
            for s in (1.0, -1.0)
        ]
        more = [np.array(each) for each in zip(*rows, strict=True)]
        parts = [Part(*(np.concatenate(two) for two in zip((p.a, p.y, p.w), more, strict=True))) for p in parts]
    while True:
        models = np.array([part.minimiser(l1 * weights, l2) for part in parts])
        server = on.parts[0]
        inner = Part(server.a @ models.T, server.y, server.w)
        tried = [inner.minimiser(0.0, ridge) @ models for ridge in MERGES]
        yield min(tried, key=lambda x: server.value(x) + l1 * abs(x).sum() + l2 / 2 * x @ x)
        s = 1 + gain * np.mean(models != 0, 0)
        weights = (1 / s) * DIM / (1 / s).sum()


CASES = {
    "csl": lambda on, l1, l2: surrogate(on, l1, l2, 0.0),
    "prox_csl": lambda on, l1, l2: surrogate(on, l1, l2, ALPHA),
    "owa": lambda on, l1, l2: average(on, l1, l2, 0.0, False),
    "acowa": lambda on, l1, l2: average(on, l1, l2, 10.0, True),
}


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("case", CASES)
def test_every_round_leads_where_the_paper_says(worlds, case, penalty):
    on, (l1, l2) = Whole(), PENALTIES[penalty]
    team = on.data.team(worlds(workers=WORKERS), ElasticNet(l1, l2))
    method = find(case).make(accuracy=1e-15, **({"alpha": ALPHA} if case == "prox_csl" else {}))
    walk, paper = rounds(method, team, team.zeros()), CASES[case](on, l1, l2)
    next(walk)
    for _ in range(4 if "csl" in case else 3):
        expected = next(paper)
        np.testing.assert_allclose(method.answer(next(walk), team).x, expected, rtol=0, atol=1e-10 * abs(expected).max())
    assert abs(expected).max() > 0.1


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("penalty", [ElasticNet(0.01, 0.01), Box(-0.3, 0.2, 0.01)], ids=["both", "box"])
def test_surrogate_likelihoods_find_the_optimum(world, penalty):
    data = Data(rows=2000, loss="least_squares", intercept=True, weighted=True)
    penalty = replace(penalty, free=1)
    team = data.team(world, penalty)
    best = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=40, gradient=1e-11)).x
    for name in ("csl", "prox_csl"):
        found = solve(find(name).make(), team, team.zeros(), Stop(rounds=60, gradient=1e-8))
        assert found.reason.converged, (name, found.reason_text)
        np.testing.assert_allclose(found.x, best, atol=1e-6)
        assert ((found.x != 0) == (best != 0)).all()


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("name", CASES)
def test_rounds_are_those_of_as_many_workers_on_any_ranks(worlds, name):
    data, method, ways = Data(rows=200, weighted=True, intercept=True), find(name).make(), []
    for world in (World(SelfComm(), workers=3), worlds(workers=3)):
        team = data.team(world, ElasticNet(0.01, 0.01, free=1))
        walk = rounds(method, team, team.zeros())
        ways.append([method.answer(next(walk), team).x for _ in range(3)])
    assert abs(ways[0][-1]).max() > 0.1
    np.testing.assert_allclose(*ways, rtol=1e-9, atol=1e-12)


def test_l1_is_lenient_where_models_agree():
    found = leniency(np.array([[1.0, 0, 0, 2], [1, 0, 3, 0]]), 10.0)
    np.testing.assert_allclose(found / found[1], [1 / 11, 1, 1 / 6, 1 / 6])
    assert found.mean() == pytest.approx(1) and (leniency(np.ones((2, 3)), 0.0) == 1).all()


@pytest.mark.parametrize("most", [4000, 40])
def test_a_local_solve_of_more_features_than_a_working_set_holds(worlds, monkeypatch, most):
    """One worker that knows all needs one round; in turns it comes as near as its steps allow."""
    monkeypatch.setattr(kinked_newton, "MOST", most)
    monkeypatch.setattr(kinked_newton, "LEAST", 10)
    data = Data(rows=100, features=400, density=0.1)
    team = data.team(worlds(workers=1), ElasticNet(0.005, 0.01))
    best = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=60, gap=1e-12))
    found = solve(find("csl").make(), team, team.zeros(), Stop(rounds=1))
    assert np.count_nonzero(best.x) > 40
    assert found.final.objective - best.final.objective <= (1e-9 if most == 4000 else 1e-2 * (np.log(2) - best.final.objective))


def test_shortest_subgradients_of_kinks_and_walls():
    kinks = Kinks(np.array([1.0, 1, 1, 0, 0, 0]), np.array([-np.inf, -np.inf, -np.inf, 0, 0, -1]), np.full(6, 2.0))
    x, slope = np.array([0.0, 0, 3, 0, 0, 2]), np.array([0.5, -3, 2, 1, -1, -4])
    np.testing.assert_array_equal(kinks.shortest(x, slope), [0, -2, 3, 0, -1, 0])


@pytest.mark.ranks(1, 2)
def test_what_they_do_not_take_is_said(world):
    data = Data(loss="least_squares")
    with pytest.raises(
        CapabilityError, match="acowa adds the centres of two classes, and the least_squares loss has none: use"
    ):
        solve(find("acowa").make(), data.team(world, L1(0.1)), np.zeros(15), Stop(rounds=1))
    with pytest.raises(CapabilityError, match="owa combines models, and a combination does not stay within a Box: use"):
        solve(find("owa").make(), data.team(world, Box(0.0, 1.0)), np.zeros(15), Stop(rounds=1))
    with pytest.raises(CapabilityError, match="smooth local problem"):
        solve(find("csl").make(), data.team(world, Simplex()), np.zeros(15), Stop(rounds=1))
    with pytest.raises(UsageError, match=r"server sample of 5,000 rows .* give `server_rows` between 1 and"):
        solve(find("csl").make(server_rows=5000), data.team(world, L1(0.1)), np.zeros(15), Stop(rounds=1))
    with pytest.raises(CapabilityError, match="csl does not end its rounds with a mean"):
        linked(find("csl").make(), "csl", "qsgd:bits=4")


def test_losses_without_columns_take_smooth_penalties_alone(worlds):
    world = worlds(workers=2)
    team = Team.of(world, [Quadratic((2.0, 0.5), (1.0, 1.0))] * 2, L2(0.1))
    assert solve(find("csl").make(), team, np.ones(2), Stop(rounds=3, gradient=1e-6)).reason.converged
    with pytest.raises(CapabilityError, match="fista"):
        solve(find("csl").make(), Team.of(world, [Quadratic((2.0, 0.5), (1.0, 1.0))] * 2, L1(0.1)), np.ones(2), Stop(rounds=3))


def test_counts(worlds):
    data = Data(rows=400)
    data.family, data.y = loss_of("poisson"), np.maximum(data.y, 0)
    team = data.team(worlds(workers=2), L1(0.02))
    best = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=60, gradient=1e-9)).final.objective
    found = solve(find("prox_csl").make(), team, team.zeros(), Stop(rounds=40, gradient=1e-8))
    assert found.final.objective - best <= 1e-4 * (found.history[0].objective - best)
