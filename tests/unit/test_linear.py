"""Linear models: derivatives, planes and weights agree with the definition."""

import numpy as np
import pytest

from mpiopt.comm.world import World
from mpiopt.problems.model import ScoreSums
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Point
from tests.problem_sets import Data

KINDS = [(loss, intercept, weighted) for loss in ("logistic", "least_squares") for intercept in (0, 1) for weighted in (0, 1)]


@pytest.mark.parametrize(("loss", "intercept", "weighted"), KINDS)
class TestDerivatives:
    def data(self, loss, intercept, weighted):
        data = Data(loss=loss, intercept=bool(intercept), weighted=bool(weighted))
        x = np.random.default_rng(1).standard_normal(data.dim)
        return data, data.linear(0, 120), x

    def test_value_and_gradient(self, loss, intercept, weighted):
        data, linear, x = self.data(loss, intercept, weighted)
        value, gradient = linear.value_grad(linear.point(x))
        expected = data.objective(x, Zero(intercept))
        assert value == pytest.approx(expected[0], rel=1e-13)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-11, atol=1e-14)
        assert linear.value_grad(Point(x))[0] == value

    def test_hessian_and_its_diagonal(self, loss, intercept, weighted):
        data, linear, x = self.data(loss, intercept, weighted)
        product = linear.hessian(linear.point(x))
        v = np.random.default_rng(2).standard_normal(data.dim)
        ahead, behind = (data.objective(x + s * v, Zero(intercept))[1] for s in (1e-5, -1e-5))
        np.testing.assert_allclose(product(v), (ahead - behind) / 2e-5, rtol=1e-5, atol=1e-8)
        full = np.array([product(e) for e in np.eye(data.dim)])
        np.testing.assert_allclose(linear.diagonal(linear.point(x)), np.diag(full), rtol=1e-12)
        np.testing.assert_allclose(linear.triangle(linear.point(x)), full[np.triu_indices(data.dim)], atol=1e-15)

    def test_plane(self, loss, intercept, weighted):
        data, linear, x = self.data(loss, intercept, weighted)
        directions = np.random.default_rng(3).standard_normal((2, data.dim))
        rows = np.array([linear.margins(d) for d in directions])
        c = np.array([0.4, -0.2])
        sums = linear.plane(linear.point(x), rows, c)
        moved = linear.point(x + c @ directions)
        value, gradient = linear.value_grad(moved)
        product = linear.hessian(moved)
        hessian = [directions[i] @ product(directions[j]) for i, j in ((0, 0), (0, 1), (1, 1))]
        np.testing.assert_allclose(sums, [value, *(directions @ gradient), *hessian], rtol=1e-10, atol=1e-13)

    def test_bregman_and_head(self, loss, intercept, weighted):
        data, linear, x = self.data(loss, intercept, weighted)
        z = x + 0.1 * np.random.default_rng(4).standard_normal(data.dim)
        value, gradient = linear.value_grad(linear.point(x))
        expected = linear.value(linear.point(z)) - value - gradient @ (z - x)
        assert linear.bregman(linear.point(x), linear.margins(z)) == pytest.approx(expected, rel=1e-8)
        head, alone = linear.head(50), data.linear(0, 50)
        np.testing.assert_allclose(head.value_grad(head.point(x))[1], alone.value_grad(alone.point(x))[1], rtol=1e-12)


@pytest.mark.parametrize(("loss", "intercept", "weighted"), KINDS)
def test_a_minibatch_is_the_loss_of_its_rows(loss, intercept, weighted):
    data = Data(loss=loss, intercept=bool(intercept), weighted=bool(weighted))
    linear, x = data.linear(0, 120), np.random.default_rng(1).standard_normal(data.dim)
    rows = np.arange(30, 70)
    for at in (linear.point(x), Point(x)):
        value, gradient = linear.value_grad(at, rows)
        alone = data.linear(30, 70)
        expected = alone.value_grad(alone.point(x))
        assert value == pytest.approx(expected[0], rel=1e-13)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-12, atol=1e-15)
    twice = linear.value_grad(Point(x), np.array([4, 4, 9]))[0] * linear.take(np.array([4, 4, 9])).weight
    each = [linear.take(np.array([i])) for i in (4, 4, 9)]
    assert twice == pytest.approx(sum(one.value_grad(Point(x))[0] * one.weight for one in each), rel=1e-12)
    nothing = linear.value_grad(Point(x), np.arange(0))
    assert nothing[0] == 0 and not nothing[1].any()


def test_scores_and_start():
    data = Data(weighted=True, intercept=True)
    linear, x = data.linear(0, 120), np.random.default_rng(1).standard_normal(data.dim)
    score = linear.evaluate(x)
    assert score.loss == pytest.approx(linear.value(Point(x)) * linear.weight, rel=1e-12)
    assert (score.correct, score.rows) == ((np.sign(linear.margins(x)) == data.y).sum(), 120)
    parts = [linear.evaluate(x, rows) for rows in (np.arange(50), np.arange(50, 120))]
    assert ScoreSums.total(parts)[:3] == pytest.approx(score[:3], rel=1e-12)
    assert [block.shape for block in linear.blocks] == [(15,), (1,)] and not linear.initial(np.random.default_rng(0)).any()
    squares = Data(loss="least_squares").linear(0, 120)
    assert squares.evaluate(np.zeros(15)).correct == (abs(squares.y) < 0.5).sum()


def test_an_empty_share_weighs_nothing():
    data = Data()
    empty, x = data.linear(7, 7), np.ones(data.dim)
    value, gradient = empty.value_grad(empty.point(x))
    assert value == 0 and not gradient.any() and empty.weight == 0
    assert not empty.hessian(empty.point(x))(x).any()


def test_shares_make_the_mean_over_all_rows(worlds):
    data = Data(weighted=True)
    team = data.team(worlds(workers=7), Zero())
    assert sum(site.share for site in team.sites) == pytest.approx(1)
    assert team.weight == data.w.sum() and team.rows == 120
    assert isinstance(team.world, World)
