"""Problems in fewer, renumbered coordinates: margins and penalty stay, and the way back is exact, on any ranks and workers."""

import numpy as np
import pytest

from mpiopt.engine.drive import Standing, solve
from mpiopt.engine.stop import Stop
from mpiopt.io.dataset.linear_team import team_of
from mpiopt.io.dataset.synthetic import from_spec
from mpiopt.kernels.host import reduction
from mpiopt.methods import find
from mpiopt.methods.dual_search import DualSearch
from mpiopt.methods.reducing import Reducing
from mpiopt.problems import reduced as module
from mpiopt.problems.penalties import L1, L2, Box, ElasticNet
from mpiopt.problems.problem import gradient
from mpiopt.problems.reduced import reduced

TEXT = "text12:rows=60,cols=900,per_row=20,own=0.6,topics=4"


@pytest.fixture
def few(monkeypatch):
    """Problems of few features are reduced, too."""
    monkeypatch.setattr(module, "MANY", 0)


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("intercept", [False, True])
def test_margins_penalty_and_gradient_stay(worlds, few, intercept):
    source, alone = from_spec(TEXT), None
    for workers in (worlds().size, 6):
        world = worlds(workers=workers)
        team = team_of(source, world, L2(0.1, free=int(intercept)), values="float64")
        small = reduced(team)
        assert small is not None
        assert small.team.dim < 0.5 * team.dim
        z = np.random.default_rng(1).standard_normal(small.team.dim)
        x = small.outward(z)
        np.testing.assert_allclose(small.inward(x), z, atol=1e-14)
        assert team.penalty.value(x) == pytest.approx(team.penalty.value(z), rel=1e-13)
        for site, other in zip(team.sites, small.team.sites, strict=True):
            np.testing.assert_allclose(site.loss.margins(x), other.loss.margins(z), atol=1e-13)
            assert other.loss.matrix.nnz < site.loss.matrix.nnz
        slopes = [gradient(one, [site.loss.point(at) for site in one.sites]).vector for one, at in ((team, x), (small.team, z))]
        np.testing.assert_allclose(small.outward(slopes[1]), slopes[0], atol=1e-15)
        alone = small.columns if alone is None else alone
        np.testing.assert_array_equal(small.columns, alone)


def test_columns_are_numbered_by_how_often_they_occur():
    counts, places = np.array([1, 5, 0, 2, 5, 3, 1], np.int32), np.empty(7, np.int32)
    assert reduction.popularity(counts, places) == 4
    single, nowhere = reduction.SINGLE, reduction.NOWHERE
    assert places.tolist() == [single, 0, nowhere, 3, 1, 2, single]


def test_only_where_it_is_exact_and_pays(worlds, few):
    source, world = from_spec(TEXT), worlds()
    for penalty in (L1(0.1), ElasticNet(0.1, 0.1), Box(-1.0, 1.0, 0.1)):
        assert reduced(team_of(source, world, penalty)) is None
    dense = team_of(from_spec("default:rows=300,cols=40,per_row=10"), world, L2(0.1))
    assert reduced(dense) is None


@pytest.mark.ranks(1, 2, 3)
@pytest.mark.parametrize("inner", [find("giant").make(), find("lbfgs").make(), DualSearch()])
def test_a_method_in_fewer_coordinates(worlds, few, inner):
    source = from_spec(TEXT)
    for intercept in (0, 1):
        world = worlds()
        if isinstance(inner, DualSearch) and world.workers > 1:
            return
        team = team_of(source, world, L2(0.01, free=intercept))
        plain = solve(inner, team, team.zeros(), Stop(rounds=200, gradient=1e-9))
        sent = [plain.final.bytes_sent - plain.history[0].bytes_sent]
        found = solve(Reducing(inner), team, team.zeros(), Stop(rounds=200, gradient=1e-9))
        sent.append(found.final.bytes_sent - found.history[0].bytes_sent)
        assert found.x.shape == plain.x.shape
        np.testing.assert_allclose(found.x, plain.x, atol=1e-6)
        assert found.certificate.objective == pytest.approx(plain.certificate.objective, abs=1e-12)
        assert isinstance(inner, DualSearch) or sent[1] < 0.6 * sent[0] * (found.final.round / plain.final.round)
        part = solve(Reducing(inner), team, plain.x, Stop(rounds=3))  # warm, and then from where that stood
        again = solve(Reducing(inner), team, Standing(part.run, part.history, (True,) * len(part.history)), Stop(rounds=6))
        assert again.certificate.objective <= part.certificate.objective + 1e-12
