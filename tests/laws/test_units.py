"""Units do not matter: columns in other units, and l2 with them, lead a method along the same path."""

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from mpiopt.engine.drive import rounds
from mpiopt.methods import catalogue, find
from tests.adversarial_sets import LOGISTIC, SQUARES, Case, dense

KNOWING = {"tron"}  # LIBLINEAR's rule for the end of CG takes the root of |g|
TWO_CLASSES = {"acowa"}  # of which it takes the centres
CLOSE = 1e-3  # the ends of local solves and of searches know the units a little


def path(world, method: str, case: Case) -> list[float]:
    """F round by round."""
    made, team = find(method).make(), case.team(world, 0.0, case.l2)
    return [made.measure(run, team).objective for run in islice(rounds(made, team, team.zeros()), 8)]


@pytest.mark.parametrize(
    ("loss", "method"),
    [
        (loss, name)
        for loss in (LOGISTIC, SQUARES)
        for name in catalogue()
        if name not in KNOWING and not (loss is SQUARES and name in TWO_CLASSES)
    ],
)
def test_units_do_not_matter(worlds, method, loss):
    world, case = worlds(workers=2), dense("units", 3, n=24, d=3, loss=loss, l2=0.02)
    with np.errstate(all="ignore"):
        known = path(world, method, case)
        for power in (-480, 480):  # of 2: values of 1e144 at most, whose squares have room, but not those of a gradient's
            scaled = replace(case, a=np.ldexp(case.a, power), l2=float(np.ldexp(case.l2, 2 * power)))
            np.testing.assert_allclose(path(world, method, scaled), known, rtol=CLOSE)
