"""Sample weights and offsets: a row of weight 3 is the row three times, an offset a column whose coefficient is held at 1."""

import numpy as np
import pytest
import scipy.sparse

from mpiopt.engine.drive import solve
from mpiopt.engine.stop import Stop
from mpiopt.kernels.csr import CSR
from mpiopt.losses.labels import COUNTS
from mpiopt.losses.registry import catalogue as losses
from mpiopt.losses.registry import find as loss
from mpiopt.methods import catalogue, find
from mpiopt.problems.certificate import certify
from mpiopt.problems.linear import Linear
from mpiopt.problems.penalties import L2, ElasticNet
from mpiopt.problems.problem import Team

ROWS, FEATURES, L = 60, 6, 0.02
NAMES = [*losses(), "huber:delta=0.7"]
RANDOM = {"dcgd", "dcgd_shift", "diana", "rand_diana", "ef", "ef21", "marina", "gdci", "vr_gdci", "cocoa", "sgd_as"}
ALONE = [name for name in catalogue() if name not in RANDOM]


class Rows:
    """Rows with labels that the loss takes, weights 0 to 3 and offsets."""

    def __init__(self, text="logistic", rows=ROWS, offset=0.5, seed=0):
        rng = np.random.default_rng(seed)
        self.family = loss(text)
        self.a = scipy.sparse.random(rows, FEATURES, 0.6, "csr", rng=rng, data_rvs=rng.standard_normal)
        self.offset = offset * rng.standard_normal(rows)
        m = self.a @ rng.standard_normal(FEATURES) * 0.5 + self.offset + 0.3 * rng.standard_normal(rows)
        y = rng.poisson(np.exp(m)).astype(float) if self.family.labels is COUNTS else m
        self.y = np.where(m > 0, 1.0, -1.0) if self.family.labels.classes else y
        self.w = rng.integers(0, 4, rows).astype(float)

    def linear(self, rows, weights=None, intercept=False, offset=True, extra=False) -> Linear:
        """Some rows; ``extra`` : the offset as one more column."""
        a = scipy.sparse.hstack([self.a, self.offset[:, None]]).tocsr()[rows] if extra else self.a[rows]
        given = np.empty(0) if weights is None else weights[rows]
        shift = self.offset[rows] if offset and not extra else np.empty(0)
        return Linear(CSR.of(a.indptr, a.indices, a.data, a.shape), self.y[rows], self.family, given, intercept, shift)

    def teams(self, world, penalty):
        """The problem with weights, and with every row as often as it weighs."""
        cuts = np.linspace(0, len(self.y), world.workers + 1).astype(int)
        mine = [np.arange(cuts[w], cuts[w + 1]) for w in world.hosted]
        repeated = [np.repeat(rows, self.w[rows].astype(int)) for rows in mine]
        free = bool(penalty.free)
        return (
            Team.of(world, [self.linear(rows, self.w, free) for rows in mine], penalty),
            Team.of(world, [self.linear(rows, None, free) for rows in repeated], penalty),
        )


def told(loss, x, v, extra=()):
    """All that a solver asks of a loss at a point and along a direction, but what depends on the number of rows."""
    at, to = loss.point(x), loss.point(x + 0.3 * v)
    directions = np.stack([loss.margins(v), loss.margins(x)])
    value, gradient = loss.value_grad(at)
    return [
        np.array([value, loss.value(at), loss.bregman(at, to.margins)]),
        gradient,
        loss.hessian(at)(v),
        loss.diagonal(at),
        loss.plane(at, directions, np.array([0.3, -0.1])),
    ]


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize("intercept", [False, True])
def test_a_weight_of_3_is_the_row_three_times(text, intercept):
    rows, rng = Rows(text), np.random.default_rng(1)
    every = np.arange(ROWS)
    weighted = rows.linear(every, rows.w, intercept)
    repeated = rows.linear(np.repeat(every, rows.w.astype(int)), None, intercept)
    x, v = rng.standard_normal((2, weighted.dim))
    for one, other in zip(told(weighted, x, v), told(repeated, x, v), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
    at, again = weighted.point(x), repeated.point(x)
    scales = [np.full(loss.rows, 0.5) for loss in (weighted, repeated)]
    assert weighted.conjugate(at, scales[0]) == pytest.approx(repeated.conjugate(again, scales[1]), rel=1e-12)


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize("intercept", [False, True])
def test_an_offset_is_a_column_whose_coefficient_is_1(text, intercept):
    rows, rng = Rows(text), np.random.default_rng(1)
    every, at = np.arange(ROWS), FEATURES
    shifted = rows.linear(every, rows.w, intercept)
    column = rows.linear(every, rows.w, intercept, extra=True)
    x, v = rng.standard_normal((2, shifted.dim))
    x1, v0 = np.insert(x, at, 1.0), np.insert(v, at, 0.0)
    for one, other in zip(told(shifted, x, v)[:4], told(column, x1, v0)[:4], strict=True):
        other = np.delete(other, at) if other.size == column.dim else other
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)
    some, point = np.array([3, 3, 9, 20]), shifted.point(x)
    whole = np.array(list(map(shifted.hessian(point), np.eye(shifted.dim))))
    np.testing.assert_allclose(shifted.triangle(point), whole[np.triu_indices(shifted.dim)], rtol=1e-12, atol=1e-14)
    alone = shifted.take(some)
    assert shifted.value_grad(point, some)[0] == pytest.approx(alone.value(alone.point(x)), rel=1e-12)
    head = shifted.head(20)
    assert head.value(head.point(x)) == pytest.approx(shifted.take(np.arange(20)).value(alone.point(x)._replace(margins=None)))
    full = shifted.conjugate(point, np.ones(ROWS))  # Fenchel and Young: loss and conjugate at its slope add up to their product
    slopes = rows.family.value_residual(shifted.margins(x) + rows.offset, rows.y, rows.w)[1]
    assert shifted.value(point) + full == pytest.approx(slopes @ shifted.margins(x) / rows.w.sum(), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("text", [text for text in NAMES if loss(text).descends])
@pytest.mark.parametrize("intercept", [False, True])
def test_dual_descent_minds_weights_and_offsets(text, intercept):
    rows = Rows(text)
    linear = rows.linear(np.arange(ROWS), rows.w, intercept)
    ridge = 0.1
    alpha, q = np.full(ROWS, rows.family.dual_start), 0.1 * np.ones(linear.dim)
    z = linear.dual_point(alpha, q, ridge, ridge if intercept else 0.0)
    linear.dual_descent(alpha, z, ridge, ridge if intercept else 0.0, 7, 3000, 1e-26)
    assert abs(linear.value_grad(linear.point(z))[1] + ridge * z - q).max() <= 1e-6


@pytest.mark.parametrize("name", ALONE)
def test_the_first_round_of_a_method_minds_weights(worlds, name):
    """On one worker; the others draw at random, or visit rows one after the other."""
    entry, penalty = catalogue()[name], L2(L, free=int(not name.startswith("adom")))
    pair = Rows("logistic").teams(worlds(workers=1), penalty)
    found = [solve(entry.make(), team, np.zeros(team.dim), Stop(rounds=1)).x for team in pair]
    np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize("penalty", [L2(L), L2(L, free=1), ElasticNet(0.01, L, 1)])
def test_certificates_and_optima_mind_weights(worlds, text, penalty):
    weighted, repeated = Rows(text).teams(worlds(workers=2), penalty)
    x = 0.1 * np.random.default_rng(2).standard_normal(weighted.dim)
    one, other = certify(weighted, x, 40), certify(repeated, x, 40)
    np.testing.assert_allclose(one[:4], other[:4], rtol=1e-11)
    name = "spcg" if penalty.smooth else "fista"
    best = [
        solve(find(name).make(), team, team.zeros(), Stop(rounds=3000, gap=1e-15, gradient=1e-12))
        for team in (weighted, repeated)
    ]
    np.testing.assert_allclose(best[0].x, best[1].x, atol=1e-6 if name == "fista" else 1e-9)
    assert best[0].certificate.objective <= one.objective <= best[0].certificate.objective + one.gap + 1e-12


@pytest.mark.parametrize("name", ["spcg", "dane", "tron"])
def test_poisson_with_exposure_is_that_of_scikit_learn(worlds, name):
    """Counts y of exposure e are rates y/e of weight e."""
    from sklearn.linear_model import PoissonRegressor

    rows, world = Rows("poisson", rows=200), worlds(workers=2)
    exposure = np.exp(rows.offset)
    team = rows.teams(world, L2(L * rows.w @ exposure / rows.w.sum(), free=1))[0]
    found = solve(find(name).make(), team, team.zeros(), Stop(rounds=300, gradient=1e-11))
    theirs = PoissonRegressor(alpha=L, tol=1e-12, max_iter=1000, solver="newton-cholesky").fit(
        rows.a.toarray(), rows.y / exposure, sample_weight=rows.w * exposure
    )
    np.testing.assert_allclose(found.x, np.append(theirs.coef_, theirs.intercept_), atol=1e-7)


def test_weighted_classes_are_those_of_scikit_learn(worlds):
    from sklearn.linear_model import LogisticRegression

    rows = Rows("logistic", rows=200, offset=0.0)
    team = rows.teams(worlds(workers=2), L2(1 / rows.w.sum(), free=1))[0]
    found = solve(find("spcg").make(), team, team.zeros(), Stop(rounds=300, gradient=1e-12))
    theirs = LogisticRegression(C=1.0, tol=1e-12, max_iter=1000, solver="newton-cholesky").fit(rows.a, rows.y, rows.w)
    np.testing.assert_allclose(found.x, np.append(theirs.coef_[0], theirs.intercept_), atol=1e-7)
