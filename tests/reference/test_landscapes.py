"""The landscapes: slopes and curvatures by difference quotients, minima, and the engine's own methods on them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpiopt.engine.drive import solve
from mpiopt.engine.method import Composed
from mpiopt.engine.stop import Stop
from mpiopt.errors import UsageError
from mpiopt.methods.first_order import gradient
from mpiopt.problems.landscapes import LANDSCAPES, Beale, DoubleWell, Quadratic
from mpiopt.problems.penalties import Zero
from mpiopt.problems.problem import Point, Team
from mpiopt.problems.surrogate import Reference
from mpiopt.work.local_solvers import NewtonCG

ALL = list(LANDSCAPES.values())


def inside(box, u):
    return np.array([low + (high - low) * t for (low, high), t in zip(box, u, strict=True)])


@given(st.sampled_from(ALL), *[st.tuples(*[st.floats(0, 1)] * 2)] * 2)
def test_slopes_and_curvatures(landscape, u, v):
    x, v, h = inside(landscape.box, u), np.array(v) - 0.5, 1e-5
    value, slope = landscape.value_grad(Point(x))
    (up, up_slope), (down, down_slope) = (landscape.value_grad(Point(x + s * h * v)) for s in (1, -1))
    size = 1 + abs(value)
    assert slope @ v == pytest.approx((up - down) / (2 * h), abs=1e-5 * size)
    curved = landscape.hessian(Point(x))(v)
    np.testing.assert_array_equal(
        landscape.diagonal(Point(x)), [landscape.hessian(Point(x))(e)[k] for k, e in enumerate(np.eye(2))]
    )
    np.testing.assert_allclose(curved, (up_slope - down_slope) / (2 * h), atol=1e-4 * (1 + abs(curved).max()))


@pytest.mark.parametrize("landscape", ALL, ids=LANDSCAPES)
def test_minima_are_flat_low_and_in_the_box(landscape):
    for minimum in landscape.minima:
        at = Point(np.array(minimum))
        value, slope = landscape.value_grad(at)
        assert value == 0 and not slope.any()
        matrix = np.column_stack([landscape.hessian(at)(e) for e in np.eye(2)])
        assert np.linalg.eigvalsh(matrix).min() > 0
    for point in (*landscape.minima, landscape.start):
        assert all(low <= c <= high for c, (low, high) in zip(point, landscape.box, strict=True))


def test_only_the_saddle_has_no_minimum():
    assert {name for name, landscape in LANDSCAPES.items() if not landscape.minima} == {"saddle"}


def test_values_by_hand():
    assert Beale().value_grad(Point(np.zeros(2)))[0] == 1.5**2 + 2.25**2 + 2.625**2
    assert Beale().value_grad(Point(np.array([1.0, 2.0])))[0] == 2.5**2 + 5.25**2 + 9.625**2
    assert DoubleWell().value_grad(Point(np.zeros(2)))[0] == 1
    assert LANDSCAPES["saddle"].value_grad(Point(np.array([3.0, 2.0])))[0] == 5
    assert LANDSCAPES["valley"].value_grad(Point(np.array([10.0, 2.0])))[0] == 5


@pytest.mark.parametrize("landscape", ALL, ids=LANDSCAPES)
def test_types_are_kept(landscape):
    at = landscape.point(np.array(landscape.start, np.float32))
    assert landscape.value_grad(at)[1].dtype == landscape.hessian(at)(at.x).dtype == np.float32


def test_quadratics_of_any_length():
    bowl = Quadratic((1.0, 2.0, 3.0), (1.0, 1.0, 1.0))
    assert bowl.dim == 3 and len(bowl.box) == 3 and bowl.minima == ((0.0, 0.0, 0.0),)
    np.testing.assert_array_equal(bowl.value_grad(Point(np.ones(3)))[1], [2, 4, 6])
    for a, start in [((), ()), ((1.0,), (1.0, 2.0)), ((float("nan"),), (0.0,))]:
        with pytest.raises(UsageError, match="one finite number per coordinate"):
            Quadratic(a, start)


def test_the_engine_descends_beale(worlds):
    method = gradient(lipschitz=60.0)
    assert isinstance(method, Composed)
    found = solve(method, Team.of(worlds(workers=2), [Beale()] * 2, Zero()), np.zeros(2), Stop(rounds=2000, gradient=1e-4))
    np.testing.assert_allclose(found.x, Beale().minima[0], atol=1e-3)
    assert 1300 < found.final.round < 1500


def test_truncated_newton_steps_down_a_well(worlds):
    team = Team.of(worlds(), [DoubleWell()], Zero())
    phi, x = Reference.of(team.sites[0].loss, team.penalty, 0.0), np.array([1.4, -0.7])
    for _ in range(6):
        x, _ = NewtonCG(ratio=1e-8)(phi, np.zeros(2), phi.loss.point(x), ())
    np.testing.assert_allclose(x, [1, 0], atol=1e-8)
