"""Laws of the plane search: inner products that are carried on are those of the vectors, and the minimum is the plane's."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mpiopt.outer.plane_products import asked, carried, filled, unknown, widened


def products_of(x, directions):
    gram = np.array([[d @ e for e in directions] for d in directions]).reshape(len(directions), len(directions))
    return np.column_stack([[x @ d for d in directions], gram])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 4), st.integers(1, 9))
def test_what_is_carried_is_what_would_be_found(seed, fresh, most, rounds):
    rng = np.random.default_rng(seed)
    x, steps, known = rng.standard_normal(6), [], unknown(0)
    for k in range(rounds):
        turn = k % most
        directions = [*rng.standard_normal((fresh, 6)), *steps]
        table = widened(known, fresh)
        places = asked(table)
        assert len(places) == fresh + fresh * (fresh + 1) // 2 + fresh * len(steps)  # no product twice
        first = (x, *directions)
        table = filled(table, places, np.array([first[j] @ directions[i] for i, j in places]))
        np.testing.assert_allclose(table, products_of(x, directions), atol=1e-9)
        c = rng.standard_normal(len(directions))
        step = c @ np.array(directions)
        x = x + step
        steps[turn : turn + 1] = [step]
        known = carried(table, c, fresh, turn)
    np.testing.assert_allclose(known, products_of(x, steps), rtol=1e-7, atol=1e-7)


def test_of_a_step_that_cancels_nothing_is_taken_over():
    table = products_of(np.ones(2), np.array([[1.0, 0.0], [1.0, 1e-9]]))
    assert np.isnan(carried(table, np.array([1.0, -1.0]), 1, 0)).all()
