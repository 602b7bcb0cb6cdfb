"""Laws of the search for coefficients: it never ends above where it could have stayed, and finds minima where there are."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mpiopt.errors import NumericalError
from mpiopt.numerics.newton import newton, unpack

numbers = st.floats(-1e3, 1e3, allow_subnormal=False)
planes = st.tuples(arrays(float, (2, 7), elements=numbers), arrays(float, 7, elements=numbers), st.floats(0, 1e-3))


def logistic(rows, margins, ridge):
    def evaluate(c):
        t = margins + c @ rows
        p = 1 / (1 + np.exp(np.clip(t, -700, 700)))
        value = np.logaddexp(0, -t).sum() + ridge / 2 * c @ c
        return float(value), -rows @ p + ridge * c, (rows * (p * (1 - p))) @ rows.T + ridge * np.eye(len(c))

    return evaluate


@given(planes, arrays(float, 2, elements=st.floats(-10, 10)))
def test_the_answer_is_never_above_standing_still(plane, start):
    evaluate = logistic(*plane)
    assert evaluate(newton(evaluate, start))[0] <= evaluate(np.zeros(2))[0] * (1 + 1e-13)


@given(arrays(float, (3, 3), elements=st.floats(-3, 3)), arrays(float, 3, elements=st.floats(-3, 3)))
def test_a_quadratic_takes_one_step(a, b):
    hessian = a @ a.T + np.eye(3)
    found = newton(lambda c: (0.5 * c @ hessian @ c - b @ c, hessian @ c - b, hessian), np.ones(3))
    np.testing.assert_allclose(hessian @ found, b, atol=1e-7 * (1 + abs(b).max()))


def test_no_value_at_the_start_is_an_error():
    with pytest.raises(NumericalError, match="not finite"):
        newton(lambda c: (np.inf, np.zeros(1), np.eye(1)), np.ones(1))


def test_no_value_ahead_is_no_reason_to_go_there():
    def evaluate(c):
        return (np.inf if c[0] > 0.5 else (c[0] - 0.25) ** 2), 2 * (c - 0.25), 2 * np.eye(1)

    assert newton(evaluate, np.ones(1))[0] == pytest.approx(0.25)


@given(planes, arrays(float, 2, elements=st.floats(-10, 10)))
def test_to_ask_for_values_alone_where_they_do_changes_no_bit(plane, start):
    evaluate, asked = logistic(*plane), []

    def whole(c):
        asked.append("whole")
        return evaluate(c)

    def value(c):
        asked.append("value")
        return evaluate(c)[0]

    plain = newton(whole, start)
    before, asked[:] = len(asked), []
    np.testing.assert_array_equal(newton(whole, start, value=value), plain)
    assert asked[0] == "value" and asked.count("whole") <= before


def test_a_quadratic_is_asked_for_its_hessian_twice():
    asked = []

    def whole(c):
        asked.append("whole")
        return (c[0] - 0.25) ** 2, 2 * (c - 0.25), 2 * np.eye(1)

    def value(c):
        asked.append("value")
        return (c[0] - 0.25) ** 2

    assert newton(whole, np.full(1, 0.5), value=value)[0] == pytest.approx(0.25)
    assert asked == ["value", "whole", "whole", "value"]


def test_sums_unpack_to_a_symmetric_hessian():
    value, gradient, hessian = unpack(np.arange(6.0), 2)
    assert value == 0 and gradient.tolist() == [1, 2] and hessian.tolist() == [[3, 4], [4, 5]]
