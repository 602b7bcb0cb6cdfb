"""Local solvers: when they end."""

import numpy as np
import pytest

from mpiopt.problems.surrogate import Reference
from mpiopt.work import local_solvers
from mpiopt.work.local_solvers import NewtonCG
from tests.adversarial_sets import LOGISTIC, SQUARES, dense


@pytest.mark.parametrize("loss", [LOGISTIC, SQUARES])
def test_a_local_solve_ends_where_its_gradient_is_rounding(worlds, monkeypatch, loss):
    (site,) = dense("local", 5, n=8, d=40, loss=loss).team(worlds(), 0.0, 0.0).sites
    phi, q, steps = Reference.of(site.loss, site.penalty, 0.5), np.random.default_rng(1).standard_normal(40), []
    search = local_solvers._search
    monkeypatch.setattr(local_solvers, "_search", lambda *given: steps.append(1) or search(*given))
    z = np.zeros(40)
    for _ in range(2):
        z, _ = NewtonCG(1e-8, steps=50)(phi, q, phi.loss.point(z), ())
    assert np.linalg.norm(phi.grad(phi.loss.point(z)) - q) < 1e-13
    steps.clear()
    for _ in range(10):  # each asks for 1e-8 of a gradient that is rounding already
        z, _ = NewtonCG(1e-8, steps=50)(phi, q, phi.loss.point(z), ())
    assert len(steps) < 60
    assert np.linalg.norm(phi.grad(phi.loss.point(z)) - q) < 1e-13
